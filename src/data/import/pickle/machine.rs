//! The instructions of a pickle, one after another.

use std::borrow::Cow;
use std::collections::HashMap;

use super::globals::{self, Global};
use super::{Id, MOST_VALUES, NO_PICKLE, Node, PickleError, text};

/// Most instructions; each makes or moves one value at most but for those that close a list.
const MOST_STEPS: usize = 4 * MOST_VALUES;

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack at its marks.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    /// Bytes of strings that names made of others.
    made_bytes: usize,
}

/// The values of a pickle and the one that it is.
pub(super) fn run(bytes: &[u8]) -> Result<(Vec<Node<'_>>, Id), PickleError> {
    let mut machine = Machine {
        bytes,
        at: 0,
        nodes: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        made_bytes: 0,
    };
    for _ in 0..MOST_STEPS {
        let offset = machine.at;
        let failed = |problem| PickleError { offset, problem };
        let stepped = machine.step();
        if stepped.is_err() && machine.nodes.len() < FEW_VALUES && !begins_as_pickle(bytes) {
            return Err(failed(NO_PICKLE.into()));
        }
        let more = stepped.map_err(failed)?;
        if machine.nodes.len() > MOST_VALUES {
            return Err(failed(format!("holds more than {MOST_VALUES} values")));
        }
        if more {
            continue;
        }
        let root = machine.pop().map_err(failed)?;
        let after = bytes.len() - machine.at;
        return match after {
            0 => Ok((machine.nodes, root)),
            _ => Err(failed(format!("ends, but {after} bytes follow"))),
        };
    }
    let offset = machine.at;
    let problem = format!("has more than {MOST_STEPS} instructions");
    Err(PickleError { offset, problem })
}

/// Any letter is an instruction: what makes fewer values before the first wrong one may be any file.
const FEW_VALUES: usize = 3;

/// Whether a file begins as pickles do: with a protocol, or, of those without one, with a container or a name.
fn begins_as_pickle(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(0x80 | b'(' | b']' | b'}' | b'c'))
}

impl<'a> Machine<'a> {
    /// One instruction; false at the end.
    fn step(&mut self) -> Result<bool, String> {
        let code = self.byte()?;
        match code {
            b'.' => return Ok(false),
            0x80 => {
                let protocol = self.byte()?;
                if protocol > 5 {
                    return Err(format!("is of protocol {protocol}, which is not known"));
                }
            }
            0x95 => self.take(8).map(drop)?,
            b'(' => self.marks.push(self.stack.len()),
            b'N' => self.push(Node::None),
            0x88 => self.push(Node::Bool(true)),
            0x89 => self.push(Node::Bool(false)),
            b'K' | b'M' | b'J' | 0x8a | 0x8b | b'I' | b'L' | b'F' | b'G' => self.number(code)?,
            b'U' | b'T' | b'B' | b'C' | 0x8e | 0x96 | b'X' | 0x8c | 0x8d | b'S' | b'V' => {
                self.string(code)?;
            }
            b']' => self.push(Node::List(Vec::new())),
            b')' => self.push(Node::Tuple(Vec::new())),
            b'}' => self.push(Node::Dict(Vec::new())),
            b'l' => self.push_marked(Node::List)?,
            b't' => self.push_marked(Node::Tuple)?,
            0x85..=0x87 => {
                let items = self.pop_last(usize::from(code - 0x84))?;
                self.push(Node::Tuple(items));
            }
            b'd' | b'u' | b's' | b'a' | b'e' => self.fill(code)?,
            b'g' | b'h' | b'j' | b'p' | b'q' | b'r' | 0x94 => self.memo(code)?,
            b'c' | 0x93 | b'R' | b'b' => self.call(code)?,
            _ => {
                return Err(format!(
                    "has the instruction 0x{code:02x}, which no array, list, dictionary, string or \
                     number needs"
                ));
            }
        }
        Ok(true)
    }

    fn number(&mut self, code: u8) -> Result<(), String> {
        let number = match code {
            b'K' => i64::from(self.byte()?),
            b'M' => self.little_endian(2)?,
            b'J' => self.little_endian(4)? as i32 as i64,
            0x8a | 0x8b => {
                let n = self.little_endian(if code == 0x8a { 1 } else { 4 })?;
                let bytes = match n {
                    0..=8 => self.take(n as usize)?,
                    _ => return Err(format!("holds a number of {n} bytes")),
                };
                let is_negative = bytes.last().is_some_and(|&byte| byte >= 128);
                let mut whole = [if is_negative { 0xff } else { 0 }; 8];
                whole[..bytes.len()].copy_from_slice(bytes);
                i64::from_le_bytes(whole)
            }
            b'G' => {
                self.take(8)?;
                self.push(Node::Float);
                return Ok(());
            }
            _ => return self.written_number(code),
        };
        self.push(Node::Int(number));
        Ok(())
    }

    /// A number in letters, of protocol 0.
    fn written_number(&mut self, code: u8) -> Result<(), String> {
        let line = self.line()?;
        let node = match (code, line) {
            (b'I', b"00") => Node::Bool(false),
            (b'I', b"01") => Node::Bool(true),
            (b'F', _) => Node::Float,
            _ => {
                let digits = line.strip_suffix(b"L").unwrap_or(line).trim_ascii();
                let digits = std::str::from_utf8(digits).ok();
                let number = digits.and_then(|digits| digits.parse().ok());
                Node::Int(number.ok_or("holds a number that is none")?)
            }
        };
        self.push(node);
        Ok(())
    }

    fn string(&mut self, code: u8) -> Result<(), String> {
        let no_string = || "holds a string that is none".to_string();
        let n_bytes = match code {
            b'S' => {
                let string = text::quoted(self.line()?).ok_or_else(no_string)?;
                self.push(Node::Bytes(Cow::Owned(string)));
                return Ok(());
            }
            b'V' => {
                let string = text::unicode(self.line()?).ok_or_else(no_string)?;
                self.push(Node::Text(Cow::Owned(string)));
                return Ok(());
            }
            b'U' | b'C' | 0x8c => 1,
            b'T' | b'B' | b'X' => 4,
            _ => 8,
        };
        let length = self.little_endian(n_bytes)?;
        let string = match usize::try_from(length) {
            Ok(length) => Cow::Borrowed(self.take(length)?),
            Err(_) => return Err(no_string()),
        };
        self.push(match code {
            b'X' | 0x8c | 0x8d => Node::Text(string),
            _ => Node::Bytes(string),
        });
        Ok(())
    }

    /// Puts values into a list or a dictionary that lies below them.
    fn fill(&mut self, code: u8) -> Result<(), String> {
        if code == b'd' {
            let items = self.pop_marked()?;
            let pairs = pairs(&items)?;
            self.push(Node::Dict(pairs));
            return Ok(());
        }
        let items = match code {
            b'a' => self.pop_last(1)?,
            b's' => self.pop_last(2)?,
            _ => self.pop_marked()?,
        };
        let below = *self.stack.last().ok_or("fills what is not there")?;
        match (&mut self.nodes[below], code) {
            (Node::List(list), b'a' | b'e') => list.extend(items),
            (Node::Dict(dictionary), b's' | b'u') => dictionary.extend(pairs(&items)?),
            _ => return Err("fills what is no list and no dictionary".into()),
        }
        Ok(())
    }

    /// Remembers the uppermost value, or takes one that is remembered.
    fn memo(&mut self, code: u8) -> Result<(), String> {
        let index = match code {
            b'g' | b'p' => {
                let line = self.line()?;
                let line = std::str::from_utf8(line).ok();
                line.and_then(|line| line.trim().parse().ok())
                    .ok_or("remembers at no number")?
            }
            b'h' | b'q' => u64::from(self.byte()?),
            b'j' | b'r' => self.little_endian(4)? as u64,
            _ => self.memo.len() as u64,
        };
        match code {
            b'g' | b'h' | b'j' => {
                let id = *self
                    .memo
                    .get(&index)
                    .ok_or("takes what was not remembered")?;
                self.stack.push(id);
            }
            _ => {
                let id = *self.stack.last().ok_or("remembers what is not there")?;
                self.memo.insert(index, id);
            }
        }
        Ok(())
    }

    /// Names that are known, what they make of arguments, and the state of what they made.
    fn call(&mut self, code: u8) -> Result<(), String> {
        match code {
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                let global = Global::of(module, name)?;
                self.push(Node::Global(global));
            }
            0x93 => {
                let names = self.pop_last(2)?;
                let [Node::Text(module), Node::Text(name)] = [0, 1].map(|i| &self.nodes[names[i]])
                else {
                    return Err("names something by what is no text".into());
                };
                let global = Global::of(module, name)?;
                self.push(Node::Global(global));
            }
            b'R' => {
                let ids = self.pop_last(2)?;
                let [Node::Global(global), Node::Tuple(arguments)] =
                    [0, 1].map(|i| &self.nodes[ids[i]])
                else {
                    return Err("calls what is no name".into());
                };
                let made = global.call(&self.nodes, arguments)?;
                self.count_made(&made)?;
                self.push(made);
            }
            _ => {
                let state = self.pop()?;
                let object = *self
                    .stack
                    .last()
                    .ok_or("gives a state to what is not there")?;
                let Node::Tuple(state) = &self.nodes[state] else {
                    return Err("gives a state that is none of numpy's".into());
                };
                let made = match self.nodes[object] {
                    Node::NoArray => globals::array_of_state(&self.nodes, state)?,
                    Node::Type(element) => globals::type_of_state(&self.nodes, element, state)?,
                    _ => return Err("gives a state to what is no array".into()),
                };
                self.nodes[object] = made;
            }
        }
        Ok(())
    }

    /// That strings made of others are no longer together than the pickle: one that is remembered may be
    /// copied again and again by five bytes.
    fn count_made(&mut self, made: &Node) -> Result<(), String> {
        if let Node::Bytes(Cow::Owned(string)) = made {
            self.made_bytes += string.len();
        }
        match self.made_bytes <= self.bytes.len() {
            true => Ok(()),
            false => Err("makes more bytes of its strings than it has itself".into()),
        }
    }

    fn push(&mut self, node: Node<'a>) {
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
    }

    fn push_marked(&mut self, node: fn(Vec<Id>) -> Node<'a>) -> Result<(), String> {
        let items = self.pop_marked()?;
        self.push(node(items));
        Ok(())
    }

    fn pop(&mut self) -> Result<Id, String> {
        self.pop_last(1).map(|ids| ids[0])
    }

    /// The last `n` values, the uppermost last.
    fn pop_last(&mut self, n: usize) -> Result<Vec<Id>, String> {
        let least = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(n) {
            Some(height) if height >= least => Ok(self.stack.split_off(height)),
            _ => Err("takes more values than there are".into()),
        }
    }

    /// The values above the last mark.
    fn pop_marked(&mut self) -> Result<Vec<Id>, String> {
        let mark = self
            .marks
            .pop()
            .ok_or("takes the values after a mark that is not there")?;
        Ok(self.stack.split_off(mark))
    }

    fn byte(&mut self) -> Result<u8, String> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn little_endian(&mut self, n: usize) -> Result<i64, String> {
        let mut whole = [0; 8];
        whole[..n].copy_from_slice(self.take(n)?);
        Ok(i64::from_le_bytes(whole))
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        let bytes = self.bytes.get(self.at..).and_then(|rest| rest.get(..n));
        let bytes = bytes.ok_or_else(|| {
            format!(
                "ends early: {n} bytes are to follow, the file has {}",
                self.bytes.len() - self.at
            )
        })?;
        self.at += n;
        Ok(bytes)
    }

    fn line(&mut self) -> Result<&'a [u8], String> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|&byte| byte == b'\n');
        let line = &rest[..end.ok_or("ends early, within a line")?];
        self.at += line.len() + 1;
        Ok(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, String> {
    match items.as_chunks() {
        (pairs, []) => Ok(pairs.iter().map(|&[key, value]| (key, value)).collect()),
        _ => Err("gives a dictionary a key without a value".into()),
    }
}
