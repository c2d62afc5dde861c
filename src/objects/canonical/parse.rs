//! JSON text to a value, with the two things that serde's own values hide: duplicate keys, and how deep the text nests.

use std::cell::RefCell;
use std::fmt::{self, Write as _};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{WARNINGS_MAX, Warning};

/// How deep objects and lists may nest: no kind comes near it, and a parser on a small stack survives it.
pub const DEPTH_MAX: usize = 512;

/// Reads JSON text; of duplicate keys the last counts, and each is reported.
///
/// # Errors
/// What is wrong with the text, in the parser's words, or that it nests too deep.
pub fn parse(text: &[u8]) -> Result<(Value, Vec<Warning>), String> {
    if let Some(at) = too_deep(text) {
        return Err(format!("the text nests deeper than {DEPTH_MAX} levels at byte {at}"));
    }
    let state = RefCell::new(State::default());
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    // The scan above is the limit; serde's own of 128 is below what custom resources may need.
    deserializer.disable_recursion_limit();
    let value = Seed(&state).deserialize(&mut deserializer).map_err(|error| error.to_string())?;
    deserializer.end().map_err(|error| error.to_string())?;
    Ok((value, state.into_inner().warnings))
}

/// How deep a value nests; scalars count 0. Stops counting just past [`DEPTH_MAX`].
pub(super) fn depth_of(value: &Value) -> usize {
    let mut deepest = 0;
    let mut open = vec![(value, 0)];
    while let Some((value, depth)) = open.pop() {
        deepest = deepest.max(depth);
        if depth > DEPTH_MAX {
            return depth;
        }
        match value {
            Value::Array(list) => open.extend(list.iter().map(|element| (element, depth + 1))),
            Value::Object(map) => open.extend(map.values().map(|element| (element, depth + 1))),
            _ => {}
        }
    }
    deepest
}

/// The head of a body for error texts, as upstream shows it: text for JSON, hexadecimal for anything else.
pub(super) fn summary(body: &[u8]) -> String {
    const SHOWN: usize = 30;
    let head = &body[..body.len().min(SHOWN)];
    let more = if body.len() > SHOWN { " ..." } else { "" };
    match body.first() {
        None => "<empty>".into(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(head)),
        Some(_) => {
            let mut hex = String::with_capacity(SHOWN * 2);
            for byte in head {
                // Writing to a String cannot fail.
                let _ = write!(hex, "{byte:02x}");
            }
            hex + more
        }
    }
}

/// Where brackets outside strings first open more than [`DEPTH_MAX`] levels; text that is no JSON is the parser's affair.
fn too_deep(text: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let (mut quoted, mut escaped) = (false, false);
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Some(at);
                }
            }
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

#[derive(Default)]
struct State {
    path: Vec<Step>,
    warnings: Vec<Warning>,
}

enum Step {
    Key(String),
    Index(usize),
}

fn path_of(steps: &[Step], last: &str) -> String {
    let mut path = String::new();
    for step in steps {
        match step {
            Step::Key(key) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
            }
            // Writing to a String cannot fail.
            Step::Index(index) => {
                let _ = write!(path, "[{index}]");
            }
        }
    }
    if !path.is_empty() {
        path.push('.');
    }
    path + last
}

struct Seed<'a>(&'a RefCell<State>);

impl Seed<'_> {
    fn within<T>(&self, step: Step, read: impl FnOnce(Seed<'_>) -> T) -> T {
        self.0.borrow_mut().path.push(step);
        let result = read(Seed(self.0));
        self.0.borrow_mut().path.pop();
        result
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Value, E> {
        Number::from_f64(number).map(Value::Number).ok_or_else(|| E::custom("the number is not finite"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = self.within(Step::Index(list.len()), |seed| elements.next_element_seed(seed))? {
            list.push(element);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if key.len() > 64 * 1024 {
                return Err(A::Error::custom("a key is longer than 64 KiB"));
            }
            if map.contains_key(&key) {
                let mut state = self.0.borrow_mut();
                if state.warnings.len() < WARNINGS_MAX {
                    let path = path_of(&state.path, &key);
                    state.warnings.push(Warning::Duplicate(path));
                }
            }
            let value = self.within(Step::Key(key.clone()), |seed| entries.next_value_seed(seed))?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}
