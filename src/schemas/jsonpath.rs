//! JSONPath, as far as printed columns need it.
//!
//! A subset of upstream's template language (`client-go/util/jsonpath`): fields (`.a`, `.a\.b`, `['a']`), all fields
//! (`.*`, `[*]`), elements (`[0]`, `[-1]`, `[0,2]`), ranges (`[1:3]`, `[::2]`) and filters
//! (`[?(@.type=="Ready")]`, `[?(@.type)]`). Missing keys give nothing. What is outside is refused when it is read;
//! upstream would store it and show no columns.

use serde_json::Value;

use crate::Error;

/// Longest path, in bytes.
const LENGTH_MAX: usize = 4096;

/// Most values that one path finds: columns print the first.
const FOUND_MAX: usize = 1000;

/// A path that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPath {
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    All,
    Elements(Vec<i64>),
    Range { from: Option<i64>, to: Option<i64>, by: i64 },
    Filter(Filter),
}

#[derive(Debug, Clone, PartialEq)]
struct Filter {
    left: Operand,
    /// Operator and right side; existence without.
    compared: Option<(Operator, Operand)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    /// From the element, `@`.
    Path(JsonPath),
    Constant(Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl JsonPath {
    /// Reads a path: `.spec.a`, `.status.conditions[?(@.type=="Ready")].status`.
    ///
    /// # Errors
    /// [`Error::Path`] for what is outside the subset.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > LENGTH_MAX {
            return Err(Error::Path(format!("the path is longer than {LENGTH_MAX} bytes")));
        }
        Reader { rest: text.trim(), depth: 0 }.path(true).map_err(Error::Path)
    }

    /// What the path finds, in order.
    pub fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![value];
        for step in &self.steps {
            let mut next = Vec::new();
            for value in found {
                step.follow(value, &mut next);
                next.truncate(FOUND_MAX);
            }
            found = next;
        }
        found
    }
}

impl Step {
    fn follow<'a>(&self, value: &'a Value, found: &mut Vec<&'a Value>) {
        match (self, value) {
            (Self::Field(name), Value::Object(map)) => found.extend(map.get(name)),
            (Self::All, Value::Object(map)) => found.extend(map.values()),
            (Self::All, Value::Array(items)) => found.extend(items),
            (Self::Elements(places), Value::Array(items)) => {
                found.extend(places.iter().filter_map(|at| items.get(counted(*at, items.len())?)));
            }
            (Self::Range { from, to, by }, Value::Array(items)) => {
                let bound = |at: Option<i64>, none: usize| match at {
                    None => none,
                    Some(at) => counted(at, items.len()).unwrap_or(0).min(items.len()),
                };
                let (from, to) = (bound(*from, 0), bound(*to, items.len()));
                let by = usize::try_from(*by).unwrap_or(1).max(1);
                found.extend((from..to).step_by(by).filter_map(|at| items.get(at)));
            }
            (Self::Filter(filter), Value::Array(items)) => {
                found.extend(items.iter().filter(|item| filter.holds(item)));
            }
            _ => {}
        }
    }
}

/// A place in a list, counted from its end when negative; `None` before its beginning.
fn counted(at: i64, length: usize) -> Option<usize> {
    match usize::try_from(at) {
        Ok(at) => Some(at),
        Err(_) => length.checked_sub(usize::try_from(at.unsigned_abs()).ok()?),
    }
}

impl Filter {
    fn holds(&self, item: &Value) -> bool {
        let Some(left) = self.left.value(item) else { return false };
        let Some((operator, right)) = &self.compared else { return true };
        let Some(right) = right.value(item) else { return false };
        let order = match (left, right) {
            (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
            (Value::Number(left), Value::Number(right)) => {
                left.as_f64().zip(right.as_f64()).and_then(|(left, right)| left.partial_cmp(&right))
            }
            (left, right) if left == right => Some(std::cmp::Ordering::Equal),
            _ => None,
        };
        match operator {
            Operator::Equal => order.is_some_and(|order| order.is_eq()),
            Operator::NotEqual => order.is_none_or(|order| order.is_ne()),
            Operator::Less => order.is_some_and(|order| order.is_lt()),
            Operator::LessOrEqual => order.is_some_and(|order| order.is_le()),
            Operator::Greater => order.is_some_and(|order| order.is_gt()),
            Operator::GreaterOrEqual => order.is_some_and(|order| order.is_ge()),
        }
    }
}

impl Operand {
    fn value<'a>(&'a self, item: &'a Value) -> Option<&'a Value> {
        match self {
            Self::Path(path) => path.find(item).first().copied(),
            Self::Constant(value) => Some(value),
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// A path up to the end of the text, or (inside of a filter) up to an operator.
    fn path(&mut self, whole: bool) -> Result<JsonPath, String> {
        let mut steps = Vec::new();
        loop {
            if let Some(rest) = self.rest.strip_prefix('.') {
                self.rest = rest;
                if let Some(rest) = rest.strip_prefix('*') {
                    self.rest = rest;
                    steps.push(Step::All);
                } else if rest.starts_with('[') || (rest.is_empty() && steps.is_empty()) {
                    // `.[0]` is `[0]`, and a lone dot is the value itself.
                } else if rest.starts_with('.') {
                    return Err("recursive descent (..) is not supported".into());
                } else {
                    steps.push(Step::Field(self.name()?));
                }
            } else if let Some(rest) = self.rest.strip_prefix('[') {
                self.rest = rest;
                steps.push(self.bracket()?);
            } else if self.rest.is_empty() || !whole {
                return Ok(JsonPath { steps });
            } else {
                return Err(format!("unexpected {:?}", self.rest.chars().take(16).collect::<String>()));
            }
        }
    }

    fn name(&mut self) -> Result<String, String> {
        let mut name = String::new();
        let mut letters = self.rest.char_indices();
        let mut end = self.rest.len();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '\\' => match letters.next() {
                    Some((_, escaped)) => name.push(escaped),
                    None => return Err("a backslash at the end".into()),
                },
                '.' | '[' | ']' | '(' | ')' | '=' | '!' | '<' | '>' | ' ' | '{' | '}' | '|' | '&' | '"' | '\'' => {
                    end = at;
                    break;
                }
                other => name.push(other),
            }
        }
        self.rest = &self.rest[end..];
        if name.is_empty() { Err("a field has no name".into()) } else { Ok(name) }
    }

    /// What is between brackets; the closing one is taken too.
    fn bracket(&mut self) -> Result<Step, String> {
        if let Some(rest) = self.rest.strip_prefix("?(") {
            self.rest = rest;
            return self.filter().map(Step::Filter);
        }
        if self.rest.starts_with(['\'', '"']) {
            let name = self.quoted()?;
            self.take("]")?;
            return Ok(Step::Field(name));
        }
        let Some((inner, rest)) = self.rest.split_once(']') else { return Err("unterminated array".into()) };
        self.rest = rest;
        let inner = inner.trim();
        let number = |text: &str| -> Result<Option<i64>, String> {
            match text.trim() {
                "" => Ok(None),
                text => text.parse().map(Some).map_err(|_| format!("invalid array index {text}")),
            }
        };
        if inner == "*" {
            return Ok(Step::All);
        }
        if inner.contains(':') {
            let parts: Vec<&str> = inner.split(':').collect();
            let (from, to, by) = match parts.as_slice() {
                [from, to] => (from, to, ""),
                [from, to, by] => (from, to, *by),
                _ => return Err(format!("invalid array index {inner}")),
            };
            let by = number(by)?.unwrap_or(1);
            if by < 1 {
                return Err("step must be > 0".into());
            }
            return Ok(Step::Range { from: number(from)?, to: number(to)?, by });
        }
        let places: Result<Vec<i64>, String> =
            inner.split(',').map(|text| number(text)?.ok_or_else(|| "an array index is missing".to_owned())).collect();
        places.map(Step::Elements)
    }

    fn filter(&mut self) -> Result<Filter, String> {
        self.depth += 1;
        if self.depth > 4 {
            return Err("filters nest too deeply".into());
        }
        let left = self.operand()?;
        self.space();
        let mut compared = None;
        if !self.rest.starts_with(')') {
            let operators = [
                ("==", Operator::Equal),
                ("!=", Operator::NotEqual),
                ("<=", Operator::LessOrEqual),
                (">=", Operator::GreaterOrEqual),
                ("<", Operator::Less),
                (">", Operator::Greater),
            ];
            let found = operators.into_iter().find(|(text, _)| self.rest.starts_with(text));
            let Some((text, operator)) = found else { return Err("unsupported operator in a filter".into()) };
            self.rest = &self.rest[text.len()..];
            compared = Some((operator, self.operand()?));
            self.space();
        }
        self.take(")")?;
        self.take("]")?;
        self.depth -= 1;
        Ok(Filter { left, compared })
    }

    fn operand(&mut self) -> Result<Operand, String> {
        self.space();
        if let Some(rest) = self.rest.strip_prefix('@') {
            self.rest = rest;
            return self.path(false).map(Operand::Path);
        }
        if self.rest.starts_with(['\'', '"']) {
            return Ok(Operand::Constant(Value::String(self.quoted()?)));
        }
        let end = self.rest.find([' ', ')', '=', '!', '<', '>']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match serde_json::from_str::<Value>(word) {
            Ok(value @ (Value::Bool(_) | Value::Number(_))) => Ok(Operand::Constant(value)),
            _ => Err(format!("unrecognized {word:?} in a filter")),
        }
    }

    fn quoted(&mut self) -> Result<String, String> {
        let mut letters = self.rest.char_indices();
        let quote = letters.next().map(|(_, quote)| quote);
        let mut text = String::new();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '\\' => text.extend(letters.next().map(|(_, escaped)| escaped)),
                letter if Some(letter) == quote => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(text);
                }
                other => text.push(other),
            }
        }
        Err("unterminated quoted string".into())
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, text: &str) -> Result<(), String> {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => Err(format!("{text:?} is missing")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_find_what_upstreams_do() {
        let object = json!({
            "metadata": {"annotations": {"a.b/c": "x"}},
            "spec": {"n": 3, "list": [1, 2, 3, 4], "map": {"a": 1, "b": 2}},
            "status": {"conditions": [
                {"type": "Ready", "status": "True", "n": 1},
                {"type": "Live", "status": "False", "n": 2},
            ]},
        });
        for (path, found) in [
            (".spec.n", json!([3])),
            (".spec.nope", json!([])),
            (".spec.n.deeper", json!([])),
            (r".metadata.annotations.a\.b/c", json!(["x"])),
            (".metadata.annotations['a.b/c']", json!(["x"])),
            (".spec.list[0]", json!([1])),
            (".spec.list[-1]", json!([4])),
            (".spec.list[9]", json!([])),
            (".spec.list[-9]", json!([])),
            (".spec.list[0,2]", json!([1, 3])),
            (".spec.list[1:3]", json!([2, 3])),
            (".spec.list[::2]", json!([1, 3])),
            (".spec.list[-2:]", json!([3, 4])),
            (".spec.list[*]", json!([1, 2, 3, 4])),
            (".spec.map.*", json!([1, 2])),
            (".status.conditions[?(@.type==\"Ready\")].status", json!(["True"])),
            (".status.conditions[?(@.type == 'Live')].status", json!(["False"])),
            (".status.conditions[?(@.n>=2)].type", json!(["Live"])),
            (".status.conditions[?(@.n!=2)].type", json!(["Ready"])),
            (".status.conditions[?(@.nope)].type", json!([])),
            (".status.conditions[?(@.n)].type", json!(["Ready", "Live"])),
        ] {
            let parsed = JsonPath::parse(path).unwrap_or_else(|error| panic!("{path}: {error}"));
            assert_eq!(json!(parsed.find(&object)), found, "{path}");
        }
    }

    #[test]
    fn what_is_outside_is_refused() {
        for path in [
            "spec",
            ".spec..a",
            ".a[",
            ".a[x]",
            ".a[1:2:0]",
            ".a[1:2:3:4]",
            ".a[?(@.b=1)]",
            ".a[?(@.b==c)]",
            ".a[?(@.b",
            ".a['b]",
            ".a b",
            ".a[]",
            "$.a",
            ".a[?(@.b=='x']",
        ] {
            assert!(JsonPath::parse(path).is_err(), "{path}");
        }
        assert!(JsonPath::parse(&".a".repeat(5000)).is_err());
    }
}
