//! Label selectors, from text and from `LabelSelector` objects.

use serde_json::Value;

use super::{REQUIREMENTS_MAX, TEXT_MAX};
use crate::Status;
use crate::validation::names;

/// A label selector: all requirements must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels {
    /// What must hold; empty selects everything.
    requirements: Vec<Requirement>,
    /// Whether nothing is selected at all, as by an absent `LabelSelector`.
    nothing: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    Absent,
    Greater,
    Less,
}

impl Labels {
    /// Selects everything.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Selects nothing.
    pub fn nothing() -> Self {
        Self { requirements: Vec::new(), nothing: true }
    }

    /// Reads `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
    ///
    /// # Errors
    /// 400 in upstream's words for text outside the grammar and for keys and values that no label may have.
    pub fn parse(text: &str) -> Result<Self, Status> {
        let fault = |reason: String| Status::bad_request(format!("unable to parse requirement: {reason}"));
        if text.len() > TEXT_MAX {
            return Err(fault(format!("the selector is longer than {TEXT_MAX} bytes")));
        }
        let mut tokens = Tokens { rest: text };
        let mut requirements = Vec::new();
        if tokens.peek() == Token::End {
            return Ok(Self::everything());
        }
        loop {
            requirements.push(requirement(&mut tokens).map_err(fault)?);
            if requirements.len() > REQUIREMENTS_MAX {
                return Err(fault(format!("more than {REQUIREMENTS_MAX} requirements")));
            }
            match tokens.next() {
                Token::End => break,
                Token::Comma => {}
                other => return Err(fault(format!("found '{}', expected: ',' or 'end of string'", other.text()))),
            }
        }
        Ok(Self { requirements, nothing: false })
    }

    /// Reads a `LabelSelector` (`matchLabels` and `matchExpressions`); null selects nothing, an empty one everything.
    ///
    /// # Errors
    /// 400 for an operator that does not exist, or with the wrong number of values.
    pub fn from_value(selector: &Value) -> Result<Self, Status> {
        let Some(map) = selector.as_object() else {
            return Ok(Self::nothing());
        };
        let mut requirements = Vec::new();
        for (key, value) in map.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
            let values = vec![value.as_str().unwrap_or("").to_owned()];
            requirements.push(Requirement { key: key.clone(), operator: Operator::In, values });
        }
        for expression in map.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
            let operator = match expression["operator"].as_str().unwrap_or("") {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::Absent,
                other => {
                    return Err(Status::bad_request(format!("{other:?} is not a valid label selector operator")));
                }
            };
            let values: Vec<String> = expression["values"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|value| value.as_str().unwrap_or("").to_owned())
                .collect();
            let takes_values = matches!(operator, Operator::In | Operator::NotIn);
            if takes_values == values.is_empty() {
                let wanted = if takes_values {
                    "for 'in', 'notin' operators, values set can't be empty"
                } else {
                    "values set must be empty for exists and does not exist"
                };
                return Err(Status::bad_request(format!("values: Invalid value: {values:?}: {wanted}")));
            }
            let key = expression["key"].as_str().unwrap_or("").to_owned();
            requirements.push(Requirement { key, operator, values });
        }
        Ok(Self { requirements, nothing: false })
    }

    /// Whether every object is selected, so that nobody needs to look.
    pub fn is_everything(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }

    /// Whether labels (of a [`crate::Face`]) satisfy every requirement.
    pub fn matches(&self, labels: &[(Box<str>, Box<str>)]) -> bool {
        let find = |key: &str| labels.iter().find(|(name, _)| &**name == key).map(|(_, value)| &**value);
        self.holds(find)
    }

    /// Whether the labels of a value (`metadata.labels` or a template's) satisfy every requirement.
    pub fn matches_value(&self, labels: &Value) -> bool {
        self.holds(|key| labels.get(key).and_then(Value::as_str))
    }

    /// The selector as text in upstream's spelling, as `status.selector` of a Scale has it.
    pub fn to_text(&self) -> String {
        let mut parts: Vec<&Requirement> = self.requirements.iter().collect();
        parts.sort_by(|a, b| a.key.cmp(&b.key));
        let texts: Vec<String> = parts
            .into_iter()
            .map(|requirement| {
                let mut values = requirement.values.clone();
                values.sort();
                let (key, list) = (&requirement.key, values.join(","));
                match requirement.operator {
                    Operator::In if values.len() == 1 => format!("{key}={list}"),
                    Operator::In => format!("{key} in ({list})"),
                    Operator::NotIn if values.len() == 1 => format!("{key}!={list}"),
                    Operator::NotIn => format!("{key} notin ({list})"),
                    Operator::Exists => key.clone(),
                    Operator::Absent => format!("!{key}"),
                    Operator::Greater => format!("{key}>{list}"),
                    Operator::Less => format!("{key}<{list}"),
                }
            })
            .collect();
        texts.join(",")
    }

    fn holds<'a>(&self, find: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing
            && self.requirements.iter().all(|requirement| {
                let value = find(&requirement.key);
                let among = |value: &str| requirement.values.iter().any(|candidate| candidate == value);
                let bound = || requirement.values.first().and_then(|text| text.parse::<i64>().ok());
                let number = value.and_then(|text| text.parse::<i64>().ok());
                match requirement.operator {
                    Operator::In => value.is_some_and(among),
                    Operator::NotIn => !value.is_some_and(among),
                    Operator::Exists => value.is_some(),
                    Operator::Absent => value.is_none(),
                    Operator::Greater => number.zip(bound()).is_some_and(|(number, bound)| number > bound),
                    Operator::Less => number.zip(bound()).is_some_and(|(number, bound)| number < bound),
                }
            })
    }
}

fn requirement(tokens: &mut Tokens<'_>) -> Result<Requirement, String> {
    let negated = tokens.peek() == Token::Not;
    if negated {
        tokens.next();
    }
    let key = match tokens.next() {
        Token::Word(word) => word.to_owned(),
        other => return Err(format!("found '{}', expected: identifier", other.text())),
    };
    if let Some(reason) = names::label_key(&key).into_iter().next() {
        return Err(format!("<nil>: Invalid value: {key:?}: {reason}"));
    }
    if negated {
        return match tokens.peek() {
            Token::End | Token::Comma => Ok(Requirement { key, operator: Operator::Absent, values: Vec::new() }),
            other => Err(format!("found '{}', expected: ',' or 'end of string'", other.text())),
        };
    }
    let operator = match tokens.peek() {
        Token::End | Token::Comma => return Ok(Requirement { key, operator: Operator::Exists, values: Vec::new() }),
        Token::Equals | Token::Word("in") => Operator::In,
        Token::Differs | Token::Word("notin") => Operator::NotIn,
        Token::Greater => Operator::Greater,
        Token::Less => Operator::Less,
        other => return Err(format!("found '{}', expected: in, notin, =, ==, !=, gt, lt", other.text())),
    };
    let set = matches!(tokens.next(), Token::Word(_));
    let values = if set { set_of(tokens)? } else { vec![exact(tokens)?] };
    if matches!(operator, Operator::Greater | Operator::Less) && values[0].parse::<i64>().is_err() {
        return Err(format!(
            "values[0]: Invalid value: {:?}: for 'Gt', 'Lt' operators, the value must be an integer",
            values[0]
        ));
    }
    for (at, value) in values.iter().enumerate() {
        if let Some(reason) = names::label_value(value).into_iter().next() {
            return Err(format!("values[{at}][{key}]: Invalid value: {value:?}: {reason}"));
        }
    }
    Ok(Requirement { key, operator, values })
}

fn exact(tokens: &mut Tokens<'_>) -> Result<String, String> {
    match tokens.peek() {
        Token::End | Token::Comma => Ok(String::new()),
        Token::Word(word) => {
            tokens.next();
            Ok(word.to_owned())
        }
        other => Err(format!("found '{}', expected: identifier", other.text())),
    }
}

fn set_of(tokens: &mut Tokens<'_>) -> Result<Vec<String>, String> {
    match tokens.next() {
        Token::Open => {}
        other => return Err(format!("found '{}' expected: '('", other.text())),
    }
    let mut values = Vec::new();
    let mut pending = true;
    loop {
        match tokens.next() {
            Token::Word(word) if pending => {
                values.push(word.to_owned());
                pending = false;
            }
            Token::Comma => {
                if pending {
                    values.push(String::new());
                }
                pending = true;
            }
            Token::Close => {
                if pending {
                    values.push(String::new());
                }
                return Ok(values);
            }
            other => return Err(format!("found '{}', expected: ',', ')' or identifier", other.text())),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Comma,
    Equals,
    Differs,
    Greater,
    Less,
    Not,
    Open,
    Close,
    End,
}

impl Token<'_> {
    fn text(&self) -> &str {
        match self {
            Self::Word(word) => word,
            Self::Comma => ",",
            Self::Equals => "=",
            Self::Differs => "!=",
            Self::Greater => ">",
            Self::Less => "<",
            Self::Not => "!",
            Self::Open => "(",
            Self::Close => ")",
            Self::End => "",
        }
    }
}

struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    fn peek(&self) -> Token<'a> {
        Tokens { rest: self.rest }.next()
    }

    fn next(&mut self) -> Token<'a> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let symbols = [
            ("==", Token::Equals),
            ("=", Token::Equals),
            ("!=", Token::Differs),
            ("!", Token::Not),
            (",", Token::Comma),
            ("(", Token::Open),
            (")", Token::Close),
            (">", Token::Greater),
            ("<", Token::Less),
        ];
        for (symbol, token) in symbols {
            if let Some(rest) = self.rest.strip_prefix(symbol) {
                self.rest = rest;
                return token;
            }
        }
        let end = self.rest.find(|c: char| " \t\r\n=!,()><".contains(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        if word.is_empty() { Token::End } else { Token::Word(word) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bad_label_selectors_are_refused() {
        let long = "a,".repeat(40_000);
        for (text, part) in [
            ("a in", "found '' expected: '('"),
            ("a in (", "found '', expected: ',', ')' or identifier"),
            ("a in (b c)", "found 'c'"),
            ("a b", "found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            ("=a", "found '=', expected: identifier"),
            (",", "found ',', expected: identifier"),
            ("a,", "found '', expected: identifier"),
            ("!a=b", "found '=', expected: ',' or 'end of string'"),
            ("a=(", "found '(', expected: identifier"),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
            ("a$=b", "name part must consist of alphanumeric characters"),
            ("a=b$", "a valid label must be an empty string or consist of alphanumeric characters"),
            ("a/b/c=d", "a qualified name must consist of"),
            ("a>b", "the value must be an integer"),
            (&long, "longer than"),
        ] {
            let status = Labels::parse(text).expect_err(text);
            assert_eq!(status.code, 400);
            assert!(status.message.starts_with("unable to parse requirement: "), "{}", status.message);
            assert!(status.message.contains(part), "{text}: {part} is not in {}", status.message);
        }
        for selector in [
            json!({"matchExpressions": [{"key": "a", "operator": "Like", "values": ["b"]}]}),
            json!({"matchExpressions": [{"key": "a", "operator": "In"}]}),
            json!({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}),
        ] {
            assert_eq!(Labels::from_value(&selector).expect_err("refused").code, 400);
        }
    }

    #[test]
    fn labels_match_as_upstream_says() {
        let labels: Vec<(Box<str>, Box<str>)> =
            [("app", "web"), ("n", "5"), ("empty", ""), ("in", "x")].map(|(k, v)| (k.into(), v.into())).into();
        for (text, expected) in [
            ("", true),
            (" ", true),
            ("app", true),
            ("!app", false),
            ("nope", false),
            ("!nope", true),
            ("app=web", true),
            ("app==web", true),
            ("app=db", false),
            ("app!=db", true),
            ("app!=web", false),
            ("nope!=x", true),
            ("app in (web,db)", true),
            ("app in ( web , db )", true),
            ("app in (db)", false),
            ("app notin (db)", true),
            ("app notin (web)", false),
            ("nope notin (x)", true),
            ("empty=", true),
            ("empty", true),
            ("empty in ()", true),
            ("empty in (,a)", true),
            ("app=", false),
            ("n>4", true),
            ("n>5", false),
            ("n<6", true),
            ("app<6", false),
            ("app=web,n=5,!nope", true),
            ("app=web, n=6", false),
            ("in=x", true),
            ("in in (x)", true),
            ("example.com/a notin (b)", true),
        ] {
            let selector = Labels::parse(text).unwrap_or_else(|status| panic!("{text}: {status}"));
            assert_eq!(selector.matches(&labels), expected, "{text}");
            let again = Labels::parse(&selector.to_text()).unwrap();
            assert_eq!(again.matches(&labels), expected, "{text} as {}", selector.to_text());
        }
        for (selector, expected) in [
            (json!(null), false),
            (json!({}), true),
            (json!({"matchLabels": {"app": "web"}}), true),
            (json!({"matchLabels": {"app": "web", "n": "6"}}), false),
            (
                json!({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "n", "operator": "In", "values": ["4", "5"]}]}),
                true,
            ),
            (json!({"matchExpressions": [{"key": "nope", "operator": "DoesNotExist"}]}), true),
            (json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}), false),
        ] {
            let selector_of = Labels::from_value(&selector).unwrap();
            assert_eq!(selector_of.matches(&labels), expected, "{selector}");
            assert_eq!(selector_of.matches_value(&json!({"app": "web", "n": "5"})), expected, "{selector}");
        }
    }
}
