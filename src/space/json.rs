//! JSON values that keep repeated keys, for strict reading, and how an error message shows them.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON value that keeps repeated keys, which `serde_json::Value` would silently drop.
pub(super) enum Json {
    Null,
    Bool(bool),
    Whole(usize),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// The whole number it is, if it is one.
    pub(super) fn whole(&self) -> Option<usize> {
        match self {
            Json::Whole(x) => Some(*x),
            _ => None,
        }
    }
}

/// As it would be written, shortened to what an error message can hold.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => write!(f, "null"),
            Json::Bool(x) => write!(f, "{x}"),
            Json::Whole(x) => write!(f, "{x}"),
            Json::Number(x) if *x == 0.0 => write!(f, "0"),
            // With a point, also where it is whole: that is what is wrong with it then.
            Json::Number(x) if x.abs() < 1e9 => write!(f, "{x:?}"),
            Json::Number(x) => write!(f, "{x:e}"),
            Json::Text(text) => write!(f, "\"{}\"", shortened(text)),
            Json::List(list) if list.len() > 8 => write!(f, "a list of {} items", list.len()),
            Json::List(list) => {
                write!(f, "[")?;
                for (i, item) in list.iter().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    match item {
                        Json::List(_) => write!(f, "{comma}[…]")?,
                        _ => write!(f, "{comma}{item}")?,
                    }
                }
                write!(f, "]")
            }
            Json::Object(_) => write!(f, "an object"),
        }
    }
}

/// A key from outside, fit for a message.
pub(super) fn quoted(key: &str) -> String {
    format!("`{}`", shortened(key))
}

fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(40).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short.escape_debug().to_string()
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: de::Error>(self, x: bool) -> Result<Json, E> {
        Ok(Json::Bool(x))
    }

    fn visit_u64<E: de::Error>(self, x: u64) -> Result<Json, E> {
        Ok(usize::try_from(x).map_or(Json::Number(x as f64), Json::Whole))
    }

    fn visit_i64<E: de::Error>(self, x: i64) -> Result<Json, E> {
        Ok(usize::try_from(x).map_or(Json::Number(x as f64), Json::Whole))
    }

    fn visit_f64<E: de::Error>(self, x: f64) -> Result<Json, E> {
        Ok(Json::Number(x))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = entries.next_entry()? {
            fields.push(field);
        }
        Ok(Json::Object(fields))
    }
}
