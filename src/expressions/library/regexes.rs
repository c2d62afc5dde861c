//! Regular expressions in the syntax of RE2, run by the `regex` crate.
//!
//! Both know almost one syntax; where they differ, the pattern is rewritten: `\d`, `\w`, `\s` and `\b` mean ASCII, brackets
//! nest nothing and have no set operations, `\Q...\E` quotes. What stays: `a**` is taken here and refused there.

use regex::{Regex, RegexBuilder};

use super::{Answer, made};
use crate::cost::Meter;
use crate::error::Error;
use crate::evaluate::Evaluator;
use crate::value::Value;

/// Bytes that the automaton of a pattern may take, when it is compiled once, with the expression.
pub(crate) const LITERAL_SIZE_MAX: usize = 4 * 1024 * 1024;
/// The same for a pattern that comes out of a value, and what compiling it counts as.
const DYNAMIC_SIZE_MAX: usize = 256 * 1024;

pub(super) fn call<'a>(evaluator: &mut Evaluator<'_, 'a>, function: &str, args: &[Value<'a>]) -> Answer<'a> {
    let (text, pattern, most) = match (function, args) {
        ("matches" | "find" | "findAll", [Value::String(text), Value::String(pattern)]) => (text, pattern, -1),
        ("findAll", [Value::String(text), Value::String(pattern), Value::Int(most)]) => (text, pattern, *most),
        _ => return None,
    };
    if let Some(regex) = evaluator.literal_pattern(pattern) {
        return Some(run(regex, function, text, most, &mut evaluator.meter));
    }
    if !evaluator.patterns.contains_key(&**pattern) {
        if let Err(error) = evaluator.meter.work(DYNAMIC_SIZE_MAX as u64) {
            return Some(Err(error));
        }
        match compile(pattern, DYNAMIC_SIZE_MAX) {
            Ok(regex) => evaluator.patterns.insert(pattern.to_string(), regex),
            Err(message) => return Some(Err(message.into())),
        };
    }
    let regex = evaluator.patterns.get(&**pattern)?;
    Some(run(regex, function, text, most, &mut evaluator.meter))
}

fn run<'a>(regex: &Regex, function: &str, text: &str, most: i64, meter: &mut Meter) -> Result<Value<'a>, Error> {
    Ok(match function {
        "matches" => Value::Bool(regex.is_match(text)),
        "find" => Value::from(regex.find(text).map_or("", |found| found.as_str()).to_owned()),
        _ => {
            let mut found = Vec::new();
            for part in regex.find_iter(text).take(usize::try_from(most).unwrap_or(usize::MAX)) {
                meter.work(part.len() as u64 + 48)?;
                found.push(Value::from(part.as_str().to_owned()));
            }
            made(found)
        }
    })
}

/// The regular expression `pattern`, if its automaton takes at most `size` bytes.
pub(crate) fn compile(pattern: &str, size: usize) -> Result<Regex, String> {
    let rewritten = rewrite(pattern);
    let compiled = RegexBuilder::new(&rewritten).size_limit(size).dfa_size_limit(size).build();
    compiled.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => format!("error parsing regexp: expression too large: `{pattern}`"),
        _ => format!("error parsing regexp: `{pattern}`"),
    })
}

fn rewrite(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern.chars().peekable();
    // Inside of brackets: how many characters of the class came so far.
    let mut class: Option<usize> = None;
    while let Some(character) = rest.next() {
        match (character, class) {
            ('\\', _) => match rest.next() {
                None => out.push('\\'),
                Some('Q') if class.is_none() => quoted(&mut rest, &mut out),
                Some(code) => {
                    out += &escape(code, class.is_some());
                    class = class.map(|count| count + 1);
                }
            },
            ('[', None) => {
                out.push('[');
                if rest.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                class = Some(0);
            }
            // `[:alpha:]` is a class in both; any other bracket in brackets is itself.
            ('[', Some(_)) if rest.peek() == Some(&':') => {
                out.push('[');
                for inner in rest.by_ref() {
                    out.push(inner);
                    if inner == ']' {
                        break;
                    }
                }
                class = Some(1);
            }
            (']', Some(count)) if count > 0 => {
                out.push(']');
                class = None;
            }
            ('[' | ']' | '&' | '~', Some(count)) => {
                out.push('\\');
                out.push(character);
                class = Some(count + 1);
            }
            // Two dashes would be a difference of sets.
            ('-', Some(count)) => {
                let alone = count == 0 || rest.peek() == Some(&']') || rest.peek() == Some(&'-');
                out += if alone { "\\-" } else { "-" };
                class = Some(count + 1);
            }
            (other, _) => {
                out.push(other);
                class = class.map(|count| count + 1);
            }
        }
    }
    out
}

fn quoted(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    while let Some(character) = rest.next() {
        if character == '\\' && rest.next_if_eq(&'E').is_some() {
            return;
        }
        *out += &regex::escape(character.encode_utf8(&mut [0; 4]));
    }
}

fn escape(code: char, in_class: bool) -> String {
    let (set, negated) = match code {
        'd' => ("0-9", false),
        'D' => ("0-9", true),
        'w' => ("0-9A-Za-z_", false),
        'W' => ("0-9A-Za-z_", true),
        's' => ("\\t\\n\\x0c\\r ", false),
        'S' => ("\\t\\n\\x0c\\r ", true),
        'b' | 'B' if !in_class => return format!("(?-u:\\{code})"),
        _ => return format!("\\{code}"),
    };
    match (negated, in_class) {
        (false, true) => set.to_owned(),
        (false, false) => format!("[{set}]"),
        (true, _) => format!("[^{set}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_re2() {
        let table = [
            (r"^\d+$", "12", true),
            (r"^\d$", "٣", false),
            (r"^[\w.-]+$", "a_b.c-d", true),
            (r"^\w$", "é", false),
            (r"^[[]$", "[", true),
            (r"^[]a]$", "]", true),
            (r"^[^]a]$", "b", true),
            (r"^[a&&b]+$", "a&b", true),
            (r"^[[:alpha:]]+$", "abc", true),
            (r"^\Qa.b\E+$", "a.bb", true),
            (r"^[a-z]([-a-z0-9]*[a-z0-9])?$", "a-b", true),
            (r"^.$", "é", true),
            (r"\bfoo\b", "a foo b", true),
            (r"^[\D]$", "a", true),
        ];
        for (pattern, text, wanted) in table {
            let regex = compile(pattern, LITERAL_SIZE_MAX).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert_eq!(regex.is_match(text), wanted, "{pattern} on {text}");
        }
        for pattern in ["(", "[a", "(?=a)", r"\C"] {
            assert!(compile(pattern, LITERAL_SIZE_MAX).is_err(), "{pattern}");
        }
        assert!(compile(r"(\pL{1000}){1000}", LITERAL_SIZE_MAX).is_err());
    }
}
