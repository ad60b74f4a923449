//! JSON that two parties read alike (RFC 8725 §2.6, RFC 8259 §4): an object in UTF-8, no member twice at any
//! depth, nothing after it, nesting and numbers bounded. Stricter than RFC 7519 §4, which lets a parser keep
//! the last of two equal claims: programs differ in which one they keep.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How deep objects and arrays may nest, the outermost counted. Headers and keys need 2, claims with four
/// actors 5; the rest is room for what relying parties add.
pub const MAX_DEPTH: usize = 16;

/// Why a text is not accepted as a JSON object. Does not contain any part of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not UTF-8.
    #[error("is not UTF-8")]
    NotUtf8,
    /// Not JSON: syntax, trailing bytes, a lone surrogate, a number too large for a double.
    #[error("is not valid JSON")]
    Syntax,
    /// JSON, but an array, a string, a number or a literal.
    #[error("is not a JSON object")]
    NotAnObject,
    /// A member name occurs twice in one object.
    #[error("has a member twice")]
    DuplicateMember,
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

/// Parses `bytes` as one JSON object.
///
/// # Errors
/// When it is not one, or two parsers could read it differently.
pub fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|_| JsonError::NotUtf8)?;
    let fault = Cell::new(None);
    let seed = StrictValue {
        levels: MAX_DEPTH,
        fault: &fault,
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = seed
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|_| fault.get().unwrap_or(JsonError::Syntax))?;
    match value {
        Value::Object(members) => Ok(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(JsonError::NotAnObject)
        }
    }
}

/// Reads one value; `fault` carries the reason past serde's own error, which is only a text.
#[derive(Clone, Copy)]
struct StrictValue<'a> {
    levels: usize,
    fault: &'a Cell<Option<JsonError>>,
}

impl StrictValue<'_> {
    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.levels.checked_sub(1) {
            Some(levels) => Ok(Self { levels, ..self }),
            None => Err(self.refuse(JsonError::TooDeep)),
        }
    }

    fn refuse<E: serde::de::Error>(self, fault: JsonError) -> E {
        self.fault.set(Some(fault));
        E::custom("refused")
    }
}

impl<'de> DeserializeSeed<'de> for StrictValue<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictValue<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.inner::<A::Error>()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(self.refuse(JsonError::DuplicateMember));
            }
            let value = members.next_value_seed(inner)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_two_parsers_could_read_differently_is_refused() {
        for (text, expected) in [
            (&b"{\"a\":1,\"a\":1}"[..], JsonError::DuplicateMember),
            (b"{\"a\":1,\"\\u0061\":2}", JsonError::DuplicateMember),
            (
                b"{\"a\":{\"b\":[{\"c\":1,\"c\":2}]}}",
                JsonError::DuplicateMember,
            ),
            (b"{\"a\":1}{}", JsonError::Syntax),
            (b"{\"a\":1} x", JsonError::Syntax),
            (b"{\"a\":1}\0", JsonError::Syntax),
            (b"\xef\xbb\xbf{}", JsonError::Syntax),
            (b"{\"a\":1e400}", JsonError::Syntax),
            (b"{\"a\":-1e400}", JsonError::Syntax),
            (b"{\"a\":NaN}", JsonError::Syntax),
            (b"{\"a\":01}", JsonError::Syntax),
            (b"{\"a\":1,}", JsonError::Syntax),
            (b"{'a':1}", JsonError::Syntax),
            (b"{\"a\":\"\\ud800\"}", JsonError::Syntax),
            (b"{\"a\":\"\n\"}", JsonError::Syntax),
            (b"{", JsonError::Syntax),
            (b"", JsonError::Syntax),
            (b"{\"a\":\"\xff\"}", JsonError::NotUtf8),
            (b"[]", JsonError::NotAnObject),
            (b"\"x\"", JsonError::NotAnObject),
            (b"1", JsonError::NotAnObject),
            (b"null", JsonError::NotAnObject),
            (b"true", JsonError::NotAnObject),
        ] {
            assert_eq!(parse_object(text), Err(expected), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn nesting_is_bounded_exactly() {
        let nested = |levels: usize| {
            format!(
                "{{\"a\":{}{}}}",
                "[".repeat(levels - 1),
                "]".repeat(levels - 1)
            )
        };
        assert!(parse_object(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(
            parse_object(nested(MAX_DEPTH + 1).as_bytes()),
            Err(JsonError::TooDeep)
        );
        assert_eq!(
            parse_object(nested(100_000).as_bytes()),
            Err(JsonError::TooDeep)
        );
        let objects = "{\"a\":".repeat(100_000);
        assert_eq!(parse_object(objects.as_bytes()), Err(JsonError::TooDeep));
    }

    #[test]
    fn an_object_is_read_as_serde_json_reads_it() {
        let text = "{\"s\":\"\\u00e9\\n\",\"n\":-3,\"u\":18446744073709551615,\"f\":1.5,\"b\":true,\"z\":null,\
                    \"a\":[1,{\"x\":{}}],\"o\":{\"a\":1}}";
        let expected: Value = serde_json::from_str(text).unwrap();
        assert_eq!(
            Value::Object(parse_object(text.as_bytes()).unwrap()),
            expected
        );
        assert_eq!(parse_object(b" {} \n").unwrap(), Map::new());
        assert_eq!(json!({}), Value::Object(Map::new()));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_object(&bytes);
        }

        #[test]
        fn whatever_it_reads_serde_json_reads_the_same(text in r#"\{("[ab]":([0-9]{1,3}|"x"|\[\]|\{\}),?){0,3}\}"#) {
            if let Ok(object) = parse_object(text.as_bytes()) {
                let plain: Value = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(Value::Object(object), plain);
            }
        }
    }
}
