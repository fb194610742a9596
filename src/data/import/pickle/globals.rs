//! The names that a pickle may call, and what each makes of its arguments: no more than numpy and Python
//! need for arrays and bytes.

use std::borrow::Cow;

use super::text::latin_1;
use super::{ElementType, Id, Node, NodeArray};

/// Most arguments that a name has.
const MOST_ARGUMENTS: usize = 4;

/// A name that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    /// numpy's empty array, which then gets its state.
    Reconstruct,
    /// The type of arrays, an argument of that.
    Ndarray,
    /// The type of the elements.
    Dtype,
    /// numpy's array of protocol 5.
    FromBuffer,
    /// How Python 3 writes bytes for Python 2.
    Encode,
    /// Empty bytes, written so.
    Bytes,
}

impl Global {
    /// What a name stands for, or in words that it is refused.
    pub(super) fn of(module: &[u8], name: &[u8]) -> Result<Global, String> {
        match (module, name) {
            (b"numpy.core.multiarray" | b"numpy._core.multiarray", b"_reconstruct") => {
                Ok(Global::Reconstruct)
            }
            (b"numpy.core.numeric" | b"numpy._core.numeric", b"_frombuffer") => {
                Ok(Global::FromBuffer)
            }
            (b"numpy", b"ndarray") => Ok(Global::Ndarray),
            (b"numpy", b"dtype") => Ok(Global::Dtype),
            (b"_codecs", b"encode") => Ok(Global::Encode),
            (b"__builtin__" | b"builtins", b"bytes") => Ok(Global::Bytes),
            _ => {
                let shown = |name: &[u8]| {
                    let cut = &name[..name.len().min(60)];
                    cut.escape_ascii().to_string()
                };
                Err(format!(
                    "names {}.{}, which is no array, list, dictionary, string or number; nothing of a pickle \
                     is executed, and this one is not read",
                    shown(module),
                    shown(name)
                ))
            }
        }
    }

    /// What it makes of its arguments, or in words that they are not its. Takes no longer for many.
    pub(super) fn call<'a>(self, nodes: &[Node<'a>], arguments: &[Id]) -> Result<Node<'a>, String> {
        // One more than any has: a tuple that is remembered may be handed over a million times.
        let arguments = arguments.iter().take(MOST_ARGUMENTS + 1);
        let arguments: Vec<(Id, &Node)> = arguments.map(|&id| (id, &nodes[id])).collect();
        match (self, &arguments[..]) {
            (Global::Reconstruct, [(_, Node::Global(Global::Ndarray)), ..]) => Ok(Node::NoArray),
            (Global::Dtype, [(_, Node::Bytes(name) | Node::Text(name)), ..]) => {
                element_type(name).map(Node::Type)
            }
            (Global::FromBuffer, [(data, _), (_, Node::Type(element)), (_, shape), (_, order)]) => {
                let shape = numbers(nodes, shape)?;
                let in_order =
                    matches!(order, Node::Bytes(order) | Node::Text(order) if order[..] == *b"C");
                array(nodes, shape, *element, *data, !in_order)
            }
            (
                Global::Encode,
                [
                    (_, Node::Text(text)),
                    (_, Node::Bytes(code) | Node::Text(code)),
                ],
            ) if matches!(&code[..], b"latin1" | b"latin-1") => {
                let bytes =
                    latin_1(text).ok_or("holds a text that is not Latin-1 in place of bytes")?;
                Ok(Node::Bytes(Cow::Owned(bytes)))
            }
            (Global::Bytes, []) => Ok(Node::Bytes(Cow::Borrowed(&[]))),
            _ => Err(format!(
                "calls {self:?} with arguments that it does not have in an array"
            )),
        }
    }
}

/// An array by its state as numpy keeps it: (version,) shape, type, whether columns come first, elements.
pub(super) fn array_of_state<'a>(nodes: &[Node<'a>], state: &[Id]) -> Result<Node<'a>, String> {
    let state = match state {
        [_, rest @ ..] if state.len() == 5 => rest,
        _ => state,
    };
    let [shape, element, columns_first, data] = *state else {
        return Err("gives an array a state of other than 4 or 5 parts".into());
    };
    let Node::Type(element) = nodes[element] else {
        return Err("gives an array no type".into());
    };
    let columns_first = match nodes[columns_first] {
        Node::Bool(columns_first) => columns_first,
        Node::Int(columns_first) => columns_first != 0,
        _ => return Err("does not say in which order the elements of an array are".into()),
    };
    array(
        nodes,
        numbers(nodes, &nodes[shape])?,
        element,
        data,
        columns_first,
    )
}

fn array<'a>(
    nodes: &[Node],
    shape: Vec<usize>,
    element: ElementType,
    data: Id,
    columns_first: bool,
) -> Result<Node<'a>, String> {
    let Node::Bytes(bytes) = &nodes[data] else {
        return Err("gives an array elements that are no string of bytes".into());
    };
    if columns_first && shape.len() > 1 {
        return Err("holds an array whose columns come first, not one in the order of C".into());
    }
    let product = |product: usize, &size: &usize| product.checked_mul(size);
    let wanted = shape.iter().try_fold(element.bytes, product);
    if wanted != Some(bytes.len()) {
        return Err(format!(
            "holds an array of {shape:?} elements of {} bytes, but {} bytes for it",
            element.bytes,
            bytes.len()
        ));
    }
    Ok(Node::Array(Box::new(NodeArray {
        shape,
        element,
        data,
    })))
}

fn numbers(nodes: &[Node], list: &Node) -> Result<Vec<usize>, String> {
    let wrong = || "gives an array sizes that are no whole numbers".to_string();
    let (Node::Tuple(sizes) | Node::List(sizes)) = list else {
        return Err(wrong());
    };
    if sizes.len() > 32 {
        return Err("gives an array more than 32 dimensions".into());
    }
    let size = |&size: &Id| match nodes[size] {
        Node::Int(size) => usize::try_from(size).map_err(|_| wrong()),
        _ => Err(wrong()),
    };
    sizes.iter().map(size).collect()
}

/// A type by its name, such as `u1` or `<i8`.
fn element_type(name: &[u8]) -> Result<ElementType, String> {
    let shown = name[..name.len().min(60)].escape_ascii();
    let (big_endian, code) = match name {
        [b'>', code @ ..] => (true, code),
        [b'<' | b'|' | b'=', code @ ..] => (false, code),
        code => (false, code),
    };
    match code {
        [
            kind @ (b'u' | b'i' | b'b' | b'f'),
            bytes @ (b'1' | b'2' | b'4' | b'8'),
        ] => Ok(ElementType {
            kind: *kind,
            bytes: usize::from(bytes - b'0'),
            big_endian,
        }),
        _ => Err(format!("holds an array of `{shown}`, not of numbers")),
    }
}

/// A type with the byte order of its state: (version, order, …, names of fields, …).
pub(super) fn type_of_state<'a>(
    nodes: &[Node<'a>],
    element: ElementType,
    state: &[Id],
) -> Result<Node<'a>, String> {
    let order = state.get(1).map(|&id| &nodes[id]);
    let big_endian = match order {
        Some(Node::Bytes(order) | Node::Text(order)) => match &order[..] {
            b">" => true,
            b"<" | b"|" | b"=" => false,
            _ => return Err("gives a type of elements an order of bytes that is none".into()),
        },
        _ => return Err("gives a type of elements no order of bytes".into()),
    };
    let plain = |&id: &Id| matches!(nodes[id], Node::None);
    match state.get(2..5).is_some_and(|parts| parts.iter().all(plain)) {
        true => Ok(Node::Type(ElementType {
            big_endian,
            ..element
        })),
        false => Err("holds an array with fields, not of numbers".into()),
    }
}
