//! Regular expressions in Go's syntax, matched in linear time.
//!
//! `pattern` is RE2 as Go's `regexp` package reads it. The `regex` crate is of the same family, but reads some texts
//! differently: `\d`, `\w`, `\s` and `\b` are ASCII in Go, a class is only a list of characters and ranges, octal escapes
//! and `\Q…\E` exist, doubled repetition operators do not. So a pattern is translated, and what has no counterpart is
//! refused. Grammar: <https://github.com/google/re2/wiki/Syntax>, `regexp/syntax/parse.go`.

use regex::{Regex, RegexBuilder};

/// Longest pattern, in bytes.
const LENGTH_MAX: usize = 16 * 1024;

/// How large a compiled pattern may be, in bytes: what a repetition of repetitions would exceed.
const SIZE_MAX: usize = 1024 * 1024;

/// Most repetitions that `{n,m}` may ask for; Go's limit.
const REPEAT_MAX: u32 = 1000;

/// How deep groups may nest; a tenth of Go's limit, and more than the stack of a small thread needs to fear.
const NESTING_MAX: u32 = 100;

/// A compiled pattern.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: Box<str>,
    regex: Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// A text for people: what is wrong, or that it is too large.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.len() > LENGTH_MAX {
            return Err(format!("the pattern is longer than {LENGTH_MAX} bytes"));
        }
        let translated = Translator { rest: text.chars().collect(), at: 0, out: String::new() }.translate()?;
        let regex = RegexBuilder::new(&translated)
            .size_limit(SIZE_MAX)
            .dfa_size_limit(SIZE_MAX)
            .nest_limit(NESTING_MAX)
            .build()
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => "error parsing regexp: expression too large".to_owned(),
                other => {
                    let reason = other.to_string();
                    let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                    format!("error parsing regexp: {reason}: `{text}`")
                }
            })?;
        Ok(Self { text: text.into(), regex })
    }

    /// As it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it matches anywhere in a text.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

const DIGIT: &str = "0-9";
const SPACE: &str = r"\t\n\x0C\r ";
const WORD: &str = "0-9A-Za-z_";

/// Rewrites a pattern of Go into one of the `regex` crate.
struct Translator {
    rest: Vec<char>,
    at: usize,
    out: String,
}

impl Translator {
    fn translate(mut self) -> Result<String, String> {
        // Whether what was written last may be repeated, and whether it is a repetition itself.
        let (mut atom, mut repeated) = (false, false);
        while let Some(letter) = self.next() {
            match letter {
                '*' | '+' | '?' => {
                    if !atom {
                        return Err(self.fault("missing argument to repetition operator", &letter.to_string()));
                    }
                    if repeated {
                        return Err(self.fault("invalid nested repetition operator", &letter.to_string()));
                    }
                    self.out.push(letter);
                    self.lazy();
                    repeated = true;
                    continue;
                }
                '{' => match self.counts() {
                    Some((counts, most)) => {
                        if !atom {
                            return Err(self.fault("missing argument to repetition operator", &counts));
                        }
                        if repeated {
                            return Err(self.fault("invalid nested repetition operator", &counts));
                        }
                        if most.is_none_or(|most| most > REPEAT_MAX) {
                            return Err(self.fault("invalid repeat count", &counts));
                        }
                        self.out.push_str(&counts);
                        self.lazy();
                        repeated = true;
                        continue;
                    }
                    None => self.out.push_str(r"\{"),
                },
                '[' => self.class()?,
                '\\' => self.escape()?,
                '(' => {
                    self.group()?;
                    (atom, repeated) = (false, false);
                    continue;
                }
                '|' => {
                    self.out.push('|');
                    (atom, repeated) = (false, false);
                    continue;
                }
                ')' | '^' | '$' | '.' => self.out.push(letter),
                other => literal(&mut self.out, other),
            }
            (atom, repeated) = (true, false);
        }
        Ok(self.out)
    }

    fn next(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += 1;
        Some(letter)
    }

    fn peek(&self) -> Option<char> {
        self.rest.get(self.at).copied()
    }

    fn takes(&mut self, text: &str) -> bool {
        let found = text.chars().enumerate().all(|(at, letter)| self.rest.get(self.at + at) == Some(&letter));
        if found {
            self.at += text.chars().count();
        }
        found
    }

    fn lazy(&mut self) {
        if self.takes("?") {
            self.out.push('?');
        }
    }

    fn fault(&self, reason: &str, what: &str) -> String {
        format!("error parsing regexp: {reason}: `{what}`")
    }

    /// What follows an opening brace when it is `n}`, `n,}` or `n,m}`, with the larger number; a brace is a literal else.
    fn counts(&mut self) -> Option<(String, Option<u32>)> {
        let close = self.rest.iter().skip(self.at).take(16).position(|letter| *letter == '}')?;
        let inner: String = self.rest[self.at..self.at + close].iter().collect();
        let (least, most) = inner.split_once(',').unwrap_or((&inner, &inner));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if least.is_empty() || !digits(least) || !digits(most) {
            return None;
        }
        self.at += close + 1;
        let numbers = (least.parse::<u32>().ok(), if most.is_empty() { Some(0) } else { most.parse::<u32>().ok() });
        let larger = match numbers {
            (Some(least), Some(most)) => Some(least.max(most)),
            _ => None,
        };
        Some((format!("{{{inner}}}"), larger))
    }

    /// An opening parenthesis with its flags or name.
    fn group(&mut self) -> Result<(), String> {
        self.out.push('(');
        if !self.takes("?") {
            return Ok(());
        }
        let looks_behind = matches!(self.rest.get(self.at + 1), Some('=' | '!'));
        if self.takes("P<") || (!looks_behind && self.takes("<")) {
            let mut name = String::new();
            loop {
                match self.next() {
                    Some('>') => break,
                    Some(letter) if letter.is_ascii_alphanumeric() || letter == '_' => name.push(letter),
                    _ => return Err(self.fault("invalid named capture", &format!("(?P<{name}"))),
                }
            }
            // The engine wants names to begin with a letter; nobody asks for them.
            self.out.push_str(&format!("?P<g{}_{name}>", self.at));
            return Ok(());
        }
        let mut flags = String::new();
        while let Some(letter) = self.next() {
            match letter {
                'i' | 'm' | 's' | 'U' | '-' => flags.push(letter),
                ':' | ')' => {
                    self.out.push_str(&format!("?{flags}{letter}"));
                    return Ok(());
                }
                other => {
                    return Err(self.fault("invalid or unsupported Perl syntax", &format!("(?{flags}{other}")));
                }
            }
        }
        Err(self.fault("missing closing )", "(?"))
    }

    /// What follows a backslash outside of a class.
    fn escape(&mut self) -> Result<(), String> {
        let Some(letter) = self.peek() else { return Err(self.fault("trailing backslash at end of expression", "")) };
        match letter {
            'd' => self.wrapped(&format!("[{DIGIT}]")),
            'D' => self.wrapped(&format!("[^{DIGIT}]")),
            's' => self.wrapped(&format!("[{SPACE}]")),
            'S' => self.wrapped(&format!("[^{SPACE}]")),
            'w' => self.wrapped(&format!("[{WORD}]")),
            'W' => self.wrapped(&format!("[^{WORD}]")),
            'b' => self.wrapped(r"(?-u:\b)"),
            'A' => self.wrapped(r"\A"),
            'z' => self.wrapped(r"\z"),
            // Next to letters beyond ASCII the engine has no such boundary, and no way to spell one.
            'B' | 'C' => return Err(self.fault("unsupported escape sequence", &format!("\\{letter}"))),
            'p' | 'P' => {
                let class = self.property()?;
                self.out.push_str(&class);
            }
            'Q' => {
                self.at += 1;
                while self.at < self.rest.len() && !self.takes(r"\E") {
                    if let Some(letter) = self.next() {
                        literal(&mut self.out, letter);
                    }
                }
            }
            _ => {
                let letter = self.character()?;
                literal(&mut self.out, letter);
            }
        }
        Ok(())
    }

    fn wrapped(&mut self, text: &str) {
        self.at += 1;
        self.out.push_str(text);
    }

    /// `pL`, `p{Greek}`, `p{^Lu}`, `PL`: a class of Unicode.
    fn property(&mut self) -> Result<String, String> {
        let mut negated = self.next() == Some('P');
        let mut name = String::new();
        match self.next() {
            Some('{') => loop {
                match self.next() {
                    Some('}') => break,
                    Some('^') if name.is_empty() => negated = !negated,
                    Some(letter) if letter.is_ascii_alphanumeric() || letter == '_' => name.push(letter),
                    _ => return Err(self.fault("invalid character class range", &format!("\\p{{{name}"))),
                }
            },
            Some(letter) if letter.is_ascii_alphabetic() => name.push(letter),
            _ => return Err(self.fault("invalid character class range", "\\p")),
        }
        Ok(format!("\\{}{{{name}}}", if negated { 'P' } else { 'p' }))
    }

    /// The one character that an escape stands for; `at` is behind the backslash.
    fn character(&mut self) -> Result<char, String> {
        let Some(letter) = self.next() else {
            return Err(self.fault("trailing backslash at end of expression", ""));
        };
        let invalid = |this: &Self, what: String| Err(this.fault("invalid escape sequence", &format!("\\{what}")));
        Ok(match letter {
            'a' => '\x07',
            'f' => '\x0C',
            't' => '\t',
            'n' => '\n',
            'r' => '\r',
            'v' => '\x0B',
            '0'..='7' => {
                // One digit other than 0 would be a reference to a group.
                if letter != '0' && !matches!(self.peek(), Some('0'..='7')) {
                    return invalid(self, letter.to_string());
                }
                let mut code = letter.to_digit(8).unwrap_or_default();
                for _ in 0..2 {
                    let Some(digit) = self.peek().and_then(|letter| letter.to_digit(8)) else { break };
                    code = code * 8 + digit;
                    self.at += 1;
                }
                char::from_u32(code).unwrap_or_default()
            }
            'x' => {
                let mut digits = String::new();
                if self.takes("{") {
                    loop {
                        match self.next() {
                            Some('}') => break,
                            Some(letter) if letter.is_ascii_hexdigit() => digits.push(letter),
                            _ => return invalid(self, format!("x{{{digits}")),
                        }
                    }
                } else {
                    digits.extend(self.next());
                    digits.extend(self.next());
                    if digits.len() != 2 {
                        return invalid(self, format!("x{digits}"));
                    }
                }
                match u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32) {
                    Some(letter) => letter,
                    None => return invalid(self, format!("x{digits}")),
                }
            }
            other if other.is_ascii_punctuation() => other,
            other => return invalid(self, other.to_string()),
        })
    }

    /// A bracketed class; `at` is behind the bracket.
    fn class(&mut self) -> Result<(), String> {
        let mut class = String::from("[");
        if self.takes("^") {
            class.push('^');
        }
        let mut first = true;
        loop {
            let Some(letter) = self.peek() else { return Err(self.fault("missing closing ]", "[")) };
            if letter == ']' && !first {
                self.at += 1;
                break;
            }
            first = false;
            if letter == '[' && self.rest.get(self.at + 1) == Some(&':') {
                class.push_str(&self.posix()?);
                continue;
            }
            if letter == '\\' {
                match self.rest.get(self.at + 1) {
                    Some(named @ ('d' | 'D' | 's' | 'S' | 'w' | 'W')) => {
                        let set = match named.to_ascii_lowercase() {
                            'd' => DIGIT,
                            's' => SPACE,
                            _ => WORD,
                        };
                        let not = if named.is_ascii_uppercase() { "^" } else { "" };
                        class.push_str(&format!("[{not}{set}]"));
                        self.at += 2;
                        continue;
                    }
                    Some('p' | 'P') => {
                        self.at += 1;
                        class.push_str(&self.property()?);
                        continue;
                    }
                    _ => {}
                }
            }
            let low = self.class_character()?;
            literal(&mut class, low);
            if self.peek() == Some('-') && !matches!(self.rest.get(self.at + 1), Some(']') | None) {
                self.at += 1;
                let high = self.class_character()?;
                if high < low {
                    return Err(self.fault("invalid character class range", &format!("{low}-{high}")));
                }
                class.push('-');
                literal(&mut class, high);
            }
        }
        class.push(']');
        self.out.push_str(&class);
        Ok(())
    }

    fn class_character(&mut self) -> Result<char, String> {
        match self.next() {
            Some('\\') => self.character(),
            Some(letter) => Ok(letter),
            None => Err(self.fault("missing closing ]", "[")),
        }
    }

    /// `[:alpha:]`, `[:^alpha:]`.
    fn posix(&mut self) -> Result<String, String> {
        const NAMES: [&str; 14] = [
            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper",
            "word", "xdigit",
        ];
        let rest: String = self.rest.iter().skip(self.at).take(16).collect();
        let name = rest.strip_prefix("[:").and_then(|rest| rest.split_once(":]")).map(|(name, _)| name);
        match name {
            Some(name) if NAMES.contains(&name.trim_start_matches('^')) => {
                let text = format!("[:{name}:]");
                self.at += text.chars().count();
                Ok(text)
            }
            _ => Err(self.fault("invalid character class range", rest.split(']').next().unwrap_or_default())),
        }
    }
}

/// A character that means itself wherever it stands.
fn literal(out: &mut String, letter: char) {
    if letter.is_alphanumeric() || letter == '_' {
        out.push(letter);
    } else {
        out.push_str(&format!("\\x{{{:X}}}", u32::from(letter)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, yes, no) in [
            ("^a+$", "aa", "b"),
            (r"^\d+$", "12", "\u{0663}"),
            (r"^\w$", "_", "ä"),
            (r"^\W$", "ä", "a"),
            (r"^[\w.-]+$", "a.b-c", "a b"),
            (r"^[^\s/]+$", "ab", "a b"),
            (r"^[a&&b]+$", "a&b", "c"),
            (r"^[[a]+$", "[a", "b"),
            (r"^[]a]+$", "]a", "b"),
            (r"^[a-]+$", "a-", "b"),
            (r"^a{2}$", "aa", "a"),
            (r"^a{,2}$", "a{,2}", "aa"),
            (r"^a{2,}$", "aaa", "a"),
            (r"^x{$", "x{", "x"),
            (r"^\x41\x{42}\103$", "ABC", "abc"),
            (r"^\Qa.b\E$", "a.b", "axb"),
            (r"^(?i)ab$", "AB", "c"),
            (r"^(?P<n>a|b)$", "b", "c"),
            (r"^(?:[[:alpha:]]|[[:^digit:]x])$", "q", "1"),
            (r"^\p{Greek}\pL$", "αb", "ab"),
            (r"\bfoo\b", "a foo b", "afoo"),
            (r"^\$\{\}$", "${}", "$"),
            ("^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", "a.b-c", "a..b"),
            ("^$|^[^#]+#", "", "abc"),
            ("", "anything", ""),
        ] {
            let compiled = Pattern::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert!(compiled.is_match(yes), "{pattern} {yes}");
            assert!(no.is_empty() || !compiled.is_match(no), "{pattern} {no}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for pattern in [
            "(",
            "[",
            "[a",
            ")",
            "*",
            "a**",
            "a{2}{3}",
            "a{1001}",
            "(?=a)",
            "(?!a)",
            "(?<=a)",
            "(?x)a",
            r"\1",
            r"\y",
            r"\",
            "[z-a]",
            "[[:foo:]]",
            r"\p{Nope}",
            "(?P<a-b>c)",
            r"\B",
        ] {
            assert!(Pattern::new(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn dear_patterns_are_refused() {
        for pattern in
            ["((a{100}){100}){100}".to_owned(), "a".repeat(LENGTH_MAX + 1), "(".repeat(200) + &")".repeat(200)]
        {
            assert!(Pattern::new(&pattern).is_err(), "{}", &pattern[..20]);
        }
        let linear = Pattern::new("^(a+)+$").expect("a pattern");
        assert!(!linear.is_match(&("a".repeat(100_000) + "b")));
    }
}
