//! Python's pickles as far as they hold arrays, lists, dictionaries, strings and numbers, of protocols 0 to
//! 5, as Python 2 and 3 and numpy write them. Nothing is executed: a name that stands for anything else is
//! refused.
//!
//! Values lie in one list and name each other by their index, so that no depth of nesting and no sharing
//! costs more than the bytes that say so.

mod globals;
mod machine;
mod text;

use std::borrow::Cow;

/// Most values in a pickle. The published files have 250,000 at most.
const MOST_VALUES: usize = 1_000_000;

/// Most bytes of a list of strings; the names of the published classes have 1,000.
const MOST_STRING_BYTES: usize = 1 << 16;

/// Why a pickle is not read.
#[derive(Debug, thiserror::Error)]
#[error("{}", in_words(*offset, problem))]
pub struct PickleError {
    /// Where in the file.
    pub offset: usize,
    /// What is wrong, and what to do.
    pub problem: String,
}

/// What is wrong with what begins as no pickle.
const NO_PICKLE: &str = "is no pickle";

fn in_words(offset: usize, problem: &str) -> String {
    match problem {
        NO_PICKLE => problem.into(),
        _ => format!("byte {offset}: {problem}"),
    }
}

/// A value, by its index.
type Id = usize;

/// One value of a pickle.
#[derive(Clone, Debug)]
enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float,
    /// A string of Python 2, or bytes of Python 3.
    Bytes(Cow<'a, [u8]>),
    /// UTF-8.
    Text(Cow<'a, [u8]>),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(globals::Global),
    Type(ElementType),
    /// An array that numpy has begun and not yet given its state.
    NoArray,
    Array(Box<NodeArray>),
}

/// An array: `data` is a string.
#[derive(Clone, Debug)]
struct NodeArray {
    shape: Vec<usize>,
    element: ElementType,
    data: Id,
}

/// What the elements of an array are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElementType {
    /// `u`, `i`, `b`, or `f`.
    pub kind: u8,
    /// 1, 2, 4 or 8.
    pub bytes: usize,
    /// Whether the highest byte comes first.
    pub big_endian: bool,
}

/// A pickle that has been read.
#[derive(Debug)]
pub struct Pickle<'a> {
    nodes: Vec<Node<'a>>,
    root: Id,
}

/// An array in a pickle.
#[derive(Clone, Debug)]
pub struct Array<'a> {
    /// Its sizes, the slowest first.
    pub shape: &'a [usize],
    /// What its elements are.
    pub element: ElementType,
    /// Its elements, as long as the sizes say.
    pub data: &'a [u8],
}

impl<'a> Pickle<'a> {
    /// Reads a whole pickle; bytes after its end are an error.
    ///
    /// # Errors
    /// Names the byte and what is there.
    pub fn read(bytes: &'a [u8]) -> Result<Pickle<'a>, PickleError> {
        let (nodes, root) = machine::run(bytes)?;
        Ok(Pickle { nodes, root })
    }

    /// The value by a key of the dictionary that the pickle is.
    ///
    /// # Errors
    /// In words where it is no dictionary, or has no such key.
    fn get(&self, key: &str) -> Result<&Node<'a>, String> {
        let Node::Dict(pairs) = &self.nodes[self.root] else {
            return Err("is a pickle, but not of a dictionary".into());
        };
        // Of a key that is set twice the last value counts.
        let is_key = |id: &Id| match &self.nodes[*id] {
            Node::Bytes(name) | Node::Text(name) => name[..] == *key.as_bytes(),
            _ => false,
        };
        let value = pairs.iter().rev().find(|(name, _)| is_key(name));
        let value = value.ok_or_else(|| format!("has no `{key}`"))?;
        Ok(&self.nodes[value.1])
    }

    /// Whether the pickle is a dictionary with this key.
    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_ok()
    }

    /// The array by a key.
    ///
    /// # Errors
    /// In words where there is none.
    pub fn array(&self, key: &str) -> Result<Array<'_>, String> {
        match self.get(key)? {
            Node::Array(array) => Ok(self.view(array)),
            _ => Err(format!("`{key}` is no array")),
        }
    }

    fn view<'s>(&'s self, array: &'s NodeArray) -> Array<'s> {
        let data = match &self.nodes[array.data] {
            Node::Bytes(data) => &data[..],
            _ => &[],
        };
        Array {
            shape: &array.shape,
            element: array.element,
            data,
        }
    }

    /// The whole numbers of a list or an array by a key.
    ///
    /// # Errors
    /// In words where there is none, or something else is in it.
    pub fn numbers(&self, key: &str) -> Result<Vec<i64>, String> {
        let wrong = || format!("`{key}` is no list of whole numbers");
        match self.get(key)? {
            Node::List(items) | Node::Tuple(items) => items
                .iter()
                .map(|&item| match self.nodes[item] {
                    Node::Int(number) => Ok(number),
                    _ => Err(wrong()),
                })
                .collect(),
            Node::Array(array) if array.shape.len() == 1 => {
                self.view(array).numbers().ok_or_else(wrong)
            }
            _ => Err(wrong()),
        }
    }

    /// The strings of a list by a key, `most` of them at most, and no more than 64 KiB.
    ///
    /// # Errors
    /// In words where there is none, something else is in it, or more.
    pub fn strings(&self, key: &str, most: usize) -> Result<Vec<String>, String> {
        let wrong = || format!("`{key}` is no list of strings");
        let (Node::List(items) | Node::Tuple(items)) = self.get(key)? else {
            return Err(wrong());
        };
        if items.len() > most {
            return Err(format!(
                "`{key}` holds {} strings, more than {most}",
                items.len()
            ));
        }
        let mut left = MOST_STRING_BYTES;
        let mut strings = Vec::new();
        for &item in items {
            let (Node::Bytes(string) | Node::Text(string)) = &self.nodes[item] else {
                return Err(wrong());
            };
            // Counted before they are copied: all may be the same one.
            left = left.checked_sub(string.len()).ok_or_else(|| {
                format!("`{key}` holds strings of more than {MOST_STRING_BYTES} bytes")
            })?;
            strings.push(String::from_utf8_lossy(string).into_owned());
        }
        Ok(strings)
    }
}

impl Array<'_> {
    /// Its elements, where they are whole numbers.
    fn numbers(&self) -> Option<Vec<i64>> {
        let ElementType {
            kind,
            bytes,
            big_endian,
        } = self.element;
        if !matches!(kind, b'u' | b'i') {
            return None;
        }
        let number = |element: &[u8]| {
            let mut low_first: Vec<u8> = element.to_vec();
            if big_endian {
                low_first.reverse();
            }
            let is_negative = kind == b'i' && low_first.last().is_some_and(|&byte| byte >= 128);
            let mut whole = [if is_negative { 0xff } else { 0 }; 8];
            whole[..bytes].copy_from_slice(&low_first);
            i64::from_le_bytes(whole)
        };
        Some(self.data.chunks_exact(bytes).map(number).collect())
    }
}

#[cfg(test)]
mod tests;
