//! Source text to tokens, by the lexis of the CEL specification.

use crate::error::Issue;
use crate::value::Value;

/// Words that no identifier may be.
pub(crate) const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Punctuation, longest first.
const PUNCTUATION: [&str; 27] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", ".", ",", "(", ")", "[", "]",
    "{", "}", "=", "&", "|",
];

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Ident(String),
    /// A field name in backquotes.
    Quoted(String),
    Literal(Literal),
    Punctuation(&'static str),
    End,
}

/// A literal as the lexer reads it; an integer stays text, because a minus before it belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Int(String),
    Uint(u64),
    Double(f64),
    String(String),
    Bytes(Vec<u8>),
}

#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub kind: Kind,
    pub at: usize,
}

impl Token {
    /// How an error names the token.
    pub fn shown(&self) -> String {
        match &self.kind {
            Kind::Ident(name) | Kind::Quoted(name) => name.clone(),
            Kind::Punctuation(text) => (*text).to_owned(),
            Kind::End => "<EOF>".into(),
            Kind::Literal(Literal::Int(text)) => text.clone(),
            Kind::Literal(Literal::Uint(number)) => format!("{number}u"),
            Kind::Literal(Literal::Double(number)) => number.to_string(),
            Kind::Literal(Literal::String(text)) => format!("{text:?}"),
            Kind::Literal(Literal::Bytes(_)) => "bytes".into(),
        }
    }
}

/// All tokens of `source`, the last one [`Kind::End`].
pub(crate) fn tokens(source: &str) -> Result<Vec<Token>, Issue> {
    let chars: Vec<char> = source.chars().collect();
    let mut lexer = Lexer { source, chars: &chars, at: 0 };
    let mut found = Vec::new();
    loop {
        let token = lexer.next()?;
        let end = token.kind == Kind::End;
        found.push(token);
        if end {
            return Ok(found);
        }
    }
}

struct Lexer<'s> {
    source: &'s str,
    chars: &'s [char],
    at: usize,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn fault(&self, at: usize, message: impl Into<String>) -> Issue {
        Issue::new(self.source, at, message)
    }

    fn unrecognized(&self, at: usize) -> Issue {
        let rest: String = self.chars[at..].iter().take(12).take_while(|character| **character != '\n').collect();
        self.fault(at, format!("Syntax error: token recognition error at: '{rest}'"))
    }

    fn skip_blanks(&mut self) {
        while let Some(character) = self.peek(0) {
            if character.is_ascii_whitespace() {
                self.at += 1;
            } else if character == '/' && self.peek(1) == Some('/') {
                while self.peek(0).is_some_and(|character| character != '\n') {
                    self.at += 1;
                }
            } else {
                break;
            }
        }
    }

    fn next(&mut self) -> Result<Token, Issue> {
        self.skip_blanks();
        let at = self.at;
        let Some(first) = self.peek(0) else { return Ok(Token { kind: Kind::End, at }) };
        let kind = if let Some((raw, bytes, prefix)) = self.string_start() {
            self.at += prefix;
            self.string(at, raw, bytes)?
        } else if first.is_ascii_alphabetic() || first == '_' {
            Kind::Ident(self.take_while(|character| character.is_ascii_alphanumeric() || character == '_'))
        } else if first.is_ascii_digit() || first == '.' && self.peek(1).is_some_and(|next| next.is_ascii_digit()) {
            self.number(at)?
        } else if first == '`' {
            self.at += 1;
            let name = self.take_while(|character| {
                character.is_ascii_alphanumeric() || matches!(character, '_' | '.' | '-' | '/' | ' ')
            });
            if self.peek(0) != Some('`') || name.is_empty() {
                return Err(self.unrecognized(at));
            }
            self.at += 1;
            Kind::Quoted(name)
        } else {
            let text = PUNCTUATION
                .into_iter()
                .find(|text| text.chars().enumerate().all(|(ahead, wanted)| self.peek(ahead) == Some(wanted)))
                .filter(|text| !matches!(*text, "=" | "&" | "|"))
                .ok_or_else(|| self.unrecognized(at))?;
            self.at += text.len();
            Kind::Punctuation(text)
        };
        Ok(Token { kind, at })
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let start = self.at;
        while self.peek(0).is_some_and(&wanted) {
            self.at += 1;
        }
        self.chars[start..self.at].iter().collect()
    }

    /// Whether a string starts here: raw, bytes, and how many letters of prefix.
    fn string_start(&self) -> Option<(bool, bool, usize)> {
        let (mut raw, mut bytes) = (false, false);
        for prefix in 0..3 {
            match self.peek(prefix)? {
                '"' | '\'' => return Some((raw, bytes, prefix)),
                'r' | 'R' if !raw => raw = true,
                'b' | 'B' if !bytes => bytes = true,
                _ => return None,
            }
        }
        None
    }

    fn number(&mut self, at: usize) -> Result<Kind, Issue> {
        let hex = self.peek(0) == Some('0') && matches!(self.peek(1), Some('x' | 'X'));
        let mut text = String::new();
        let mut double = false;
        if hex {
            self.at += 2;
            text = self.take_while(|character| character.is_ascii_hexdigit());
            if text.is_empty() {
                return Err(self.unrecognized(at));
            }
        } else {
            text += &self.take_while(|character| character.is_ascii_digit());
            if self.peek(0) == Some('.') && self.peek(1).is_some_and(|next| next.is_ascii_digit()) {
                double = true;
                self.at += 1;
                text.push('.');
                text += &self.take_while(|character| character.is_ascii_digit());
            }
            if matches!(self.peek(0), Some('e' | 'E')) {
                let sign = usize::from(matches!(self.peek(1), Some('+' | '-')));
                if self.peek(1 + sign).is_some_and(|next| next.is_ascii_digit()) {
                    double = true;
                    text.extend(&self.chars[self.at..=self.at + sign]);
                    self.at += 1 + sign;
                    text += &self.take_while(|character| character.is_ascii_digit());
                }
            }
        }
        if double {
            let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
            return Ok(Kind::Literal(Literal::Double(number.ok_or_else(|| self.fault(at, "invalid double literal"))?)));
        }
        if matches!(self.peek(0), Some('u' | 'U')) {
            self.at += 1;
            let number = u64::from_str_radix(&text, if hex { 16 } else { 10 });
            return Ok(Kind::Literal(Literal::Uint(number.map_err(|_| self.fault(at, "invalid uint literal"))?)));
        }
        Ok(Kind::Literal(Literal::Int(if hex { format!("0x{text}") } else { text })))
    }

    fn string(&mut self, at: usize, raw: bool, bytes: bool) -> Result<Kind, Issue> {
        let quote = self.chars[self.at];
        let triple = self.peek(1) == Some(quote) && self.peek(2) == Some(quote);
        let width = if triple { 3 } else { 1 };
        self.at += width;
        let mut content = Content { text: String::new(), bytes: Vec::new(), wants_bytes: bytes };
        loop {
            let Some(character) = self.peek(0) else { return Err(self.unrecognized(at)) };
            if (0..width).all(|ahead| self.peek(ahead) == Some(quote)) {
                self.at += width;
                break;
            }
            if !triple && matches!(character, '\n' | '\r') {
                return Err(self.unrecognized(at));
            }
            self.at += 1;
            if character != '\\' {
                content.character(character);
            } else if raw {
                content.character('\\');
                // A raw string keeps the backslash, but a quote after it does not end it.
                if let Some(next) = self.peek(0).filter(|next| *next == quote || *next == '\\') {
                    content.character(next);
                    self.at += 1;
                }
            } else {
                self.escape(at, &mut content)?;
            }
        }
        Ok(Kind::Literal(if bytes { Literal::Bytes(content.bytes) } else { Literal::String(content.text) }))
    }

    fn escape(&mut self, at: usize, content: &mut Content) -> Result<(), Issue> {
        let Some(code) = self.peek(0) else { return Err(self.unrecognized(at)) };
        self.at += 1;
        let plain = match code {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            '\\' | '?' | '"' | '\'' | '`' => code,
            'x' | 'X' | 'u' | 'U' | '0'..='3' => {
                let (digits, radix) = match code {
                    'x' | 'X' => (2, 16),
                    'u' => (4, 16),
                    'U' => (8, 16),
                    _ => {
                        self.at -= 1;
                        (3, 8)
                    }
                };
                let text: String = self.chars.iter().skip(self.at).take(digits).collect();
                let number = u32::from_str_radix(&text, radix).ok();
                let number = number
                    .filter(|_| text.len() == digits && text.chars().all(|digit| digit.is_digit(radix)))
                    .ok_or_else(|| self.unrecognized(at))?;
                self.at += digits;
                return match u8::try_from(number) {
                    Ok(byte) if digits < 4 => {
                        content.byte(byte);
                        Ok(())
                    }
                    _ => {
                        let character = char::from_u32(number).ok_or_else(|| self.unrecognized(at))?;
                        content.character(character);
                        Ok(())
                    }
                };
            }
            _ => return Err(self.unrecognized(at)),
        };
        content.character(plain);
        Ok(())
    }
}

/// What stands between the quotes, so far.
struct Content {
    text: String,
    bytes: Vec<u8>,
    wants_bytes: bool,
}

impl Content {
    fn character(&mut self, character: char) {
        if self.wants_bytes {
            self.bytes.extend(character.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            self.text.push(character);
        }
    }

    /// `\x41` and `\101` are a byte in bytes, and a code point in a string.
    fn byte(&mut self, byte: u8) {
        if self.wants_bytes {
            self.bytes.push(byte);
        } else {
            self.text.push(char::from(byte));
        }
    }
}

/// An integer literal, with its sign.
pub(crate) fn integer(text: &str, negative: bool) -> Option<Value<'static>> {
    let magnitude = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => text.parse().ok()?,
    };
    let number = if negative { -i128::from(magnitude) } else { i128::from(magnitude) };
    i64::try_from(number).ok().map(Value::Int)
}
