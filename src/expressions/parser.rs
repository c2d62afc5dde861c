//! Tokens to tree, by the grammar of the CEL specification, within limits.
//!
//! Recursion is bounded while parsing ([`DEPTH_MAX`]) and the tree's depth with it, so that whoever walks the tree may
//! recurse: a chain of `+` is as deep as it is long, chains of `&&` and `||` are balanced and therefore flat.

use crate::ast::{Expr, Kind};
use crate::error::{Error, Issue};
use crate::lexer::{self, Literal, RESERVED, Token};
use crate::macros;
use crate::value::Value;

/// Code points that an expression may have, as upstream.
pub const LENGTH_MAX: usize = 100_000;
/// How deep an expression may nest, as upstream.
pub const DEPTH_MAX: usize = 250;
/// Nodes that an expression may have: bounds what compiling costs.
const NODES_MAX: usize = 50_000;

type Parsed<T> = Result<T, Issue>;

/// The tree of `source`, and how many nodes it has.
pub(crate) fn parse(source: &str) -> Result<(Expr, usize), Error> {
    let length = source.chars().count();
    if length > LENGTH_MAX {
        let message = format!("expression code point size exceeds limit: size: {length}, limit {LENGTH_MAX}");
        return Err(Error::Compile(vec![Issue { message, line: 1, column: 1, excerpt: String::new() }]));
    }
    let parse = || {
        let tokens = lexer::tokens(source)?;
        let mut parser = Parser { source, tokens, next: 0, ids: 0, nesting: 0 };
        let tree = parser.expression()?;
        match &parser.token().kind {
            lexer::Kind::End => Ok((tree, parser.ids)),
            _ => Err(parser.unexpected("<EOF>")),
        }
    };
    parse().map_err(|issue| Error::Compile(vec![issue]))
}

pub(crate) struct Parser<'s> {
    source: &'s str,
    tokens: Vec<Token>,
    next: usize,
    ids: usize,
    nesting: usize,
}

/// Binary operators: how tight they bind, and the name of their function.
fn operator(text: &str) -> Option<(u8, &'static str)> {
    Some(match text {
        "||" => (1, "_||_"),
        "&&" => (2, "_&&_"),
        "<" => (3, "_<_"),
        "<=" => (3, "_<=_"),
        ">" => (3, "_>_"),
        ">=" => (3, "_>=_"),
        "==" => (3, "_==_"),
        "!=" => (3, "_!=_"),
        "in" => (3, "@in"),
        "+" => (4, "_+_"),
        "-" => (4, "_-_"),
        "*" => (5, "_*_"),
        "/" => (5, "_/_"),
        "%" => (5, "_%_"),
        _ => return None,
    })
}

impl Parser<'_> {
    fn token(&self) -> &Token {
        // The last token is the end, and nothing moves past it.
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn advance(&mut self) -> Token {
        let token = self.token().clone();
        self.next += 1;
        token
    }

    fn at(&self) -> usize {
        self.token().at
    }

    fn is(&self, text: &str) -> bool {
        matches!(&self.token().kind, lexer::Kind::Punctuation(found) if *found == text)
    }

    fn takes(&mut self, text: &str) -> bool {
        let found = self.is(text);
        if found {
            self.next += 1;
        }
        found
    }

    fn wants(&mut self, text: &str) -> Parsed<()> {
        if self.takes(text) { Ok(()) } else { Err(self.unexpected(&format!("'{text}'"))) }
    }

    pub fn fault(&self, at: usize, message: impl Into<String>) -> Issue {
        Issue::new(self.source, at, message)
    }

    fn unexpected(&self, wanted: &str) -> Issue {
        let token = self.token();
        self.fault(token.at, format!("Syntax error: mismatched input '{}' expecting {wanted}", token.shown()))
    }

    /// A node over children of depth `below`.
    pub fn node(&mut self, at: usize, below: usize, kind: Kind) -> Parsed<Expr> {
        if below >= DEPTH_MAX {
            return Err(self.fault(at, format!("expression recursion limit exceeded: {DEPTH_MAX}")));
        }
        if self.ids >= NODES_MAX {
            return Err(self.fault(at, format!("expression has more than {NODES_MAX} parts")));
        }
        let id = self.ids;
        self.ids += 1;
        Ok(Expr { id, at, depth: below + 1, kind })
    }

    fn call(&mut self, at: usize, function: &str, target: Option<Expr>, args: Vec<Expr>) -> Parsed<Expr> {
        let below = deepest(args.iter().chain(&target));
        self.node(at, below, Kind::Call { function: function.to_owned(), target: target.map(Box::new), args })
    }

    fn expression(&mut self) -> Parsed<Expr> {
        self.nesting += 1;
        if self.nesting > DEPTH_MAX {
            return Err(self.fault(self.at(), format!("expression recursion limit exceeded: {DEPTH_MAX}")));
        }
        let condition = self.binary(1)?;
        let at = self.at();
        let tree = if self.takes("?") {
            let yes = self.binary(1)?;
            self.wants(":")?;
            let no = self.expression()?;
            self.call(at, "_?_:_", None, vec![condition, yes, no])
        } else {
            Ok(condition)
        };
        self.nesting -= 1;
        tree
    }

    fn next_operator(&self) -> Option<(u8, &'static str)> {
        match &self.token().kind {
            lexer::Kind::Punctuation(text) => operator(text),
            lexer::Kind::Ident(text) if text == "in" => operator(text),
            _ => None,
        }
    }

    fn binary(&mut self, tightest: u8) -> Parsed<Expr> {
        let mut left = self.unary()?;
        while let Some((tightness, function)) = self.next_operator().filter(|(found, _)| *found >= tightest) {
            if tightness <= 2 {
                left = self.chain(left, tightness, function)?;
                continue;
            }
            let at = self.advance().at;
            let right = self.binary(tightness + 1)?;
            left = self.call(at, function, None, vec![left, right])?;
        }
        Ok(left)
    }

    /// A run of `&&` or of `||`, as a balanced tree.
    fn chain(&mut self, first: Expr, tightness: u8, function: &'static str) -> Parsed<Expr> {
        let (mut terms, mut places) = (vec![first], Vec::new());
        while self.next_operator().is_some_and(|(_, found)| found == function) {
            places.push(self.advance().at);
            terms.push(self.binary(tightness + 1)?);
        }
        // Neighbours are joined round by round: the order of the terms stays.
        while terms.len() > 1 {
            let (mut joined, mut kept) = (Vec::new(), Vec::new());
            let mut rest = terms.into_iter();
            let mut between = places.into_iter();
            while let Some(left) = rest.next() {
                let Some(right) = rest.next() else {
                    joined.push(left);
                    break;
                };
                let at = between.next().unwrap_or(left.at);
                joined.push(self.call(at, function, None, vec![left, right])?);
                kept.extend(between.next());
            }
            (terms, places) = (joined, kept);
        }
        terms.pop().ok_or_else(|| self.unexpected("expression"))
    }

    fn unary(&mut self) -> Parsed<Expr> {
        let at = self.at();
        let mark = if self.is("!") { "!" } else { "-" };
        let mut count = 0_usize;
        while self.takes(mark) {
            count += 1;
        }
        let negative = mark == "-" && count > 0;
        if negative && let lexer::Kind::Literal(literal) = &self.token().kind {
            // The last minus belongs to the literal: only so can the smallest integer be written.
            let value = match literal {
                Literal::Int(text) => {
                    Some(lexer::integer(text, true).ok_or_else(|| self.fault(at, "invalid int literal"))?)
                }
                Literal::Double(number) => Some(Value::Double(-number)),
                _ => None,
            };
            if let Some(value) = value {
                self.next += 1;
                let literal = self.node(at, 0, Kind::Literal(value))?;
                let operand = self.member(literal)?;
                return self.marked(at, "-_", count - 1, operand);
            }
        }
        let primary = self.primary()?;
        let operand = self.member(primary)?;
        self.marked(at, if negative { "-_" } else { "!_" }, count, operand)
    }

    /// Two marks cancel out, as upstream parses them.
    fn marked(&mut self, at: usize, function: &str, count: usize, operand: Expr) -> Parsed<Expr> {
        if count.is_multiple_of(2) { Ok(operand) } else { self.call(at, function, None, vec![operand]) }
    }

    fn member(&mut self, mut operand: Expr) -> Parsed<Expr> {
        loop {
            let at = self.at();
            if self.takes(".") {
                let optional = self.takes("?");
                let field = self.field_name()?;
                let open = self.at();
                operand = if !optional && self.takes("(") {
                    let args = self.arguments(")")?;
                    match macros::member(self, open, operand, &field, args)? {
                        Ok(expanded) => expanded,
                        Err((target, args)) => self.call(open, &field, Some(target), args)?,
                    }
                } else {
                    let below = operand.depth;
                    self.node(at, below, Kind::Select { operand: Box::new(operand), field, optional })?
                };
            } else if self.takes("[") {
                let function = if self.takes("?") { "_[?_]" } else { "_[_]" };
                let index = self.expression()?;
                self.wants("]")?;
                operand = self.call(at, function, None, vec![operand, index])?;
            } else if self.is("{")
                && let Some(name) = operand.qualified()
                && operand.id + 1 == self.ids
            {
                operand = self.structure(name)?;
            } else {
                return Ok(operand);
            }
        }
    }

    fn field_name(&mut self) -> Parsed<String> {
        match self.token().kind.clone() {
            // Selections may be named as reserved words that are no literals or operators, as upstream's lexer has it.
            lexer::Kind::Ident(name) if !matches!(name.as_str(), "true" | "false" | "null" | "in") => {
                self.next += 1;
                Ok(name)
            }
            lexer::Kind::Quoted(name) => {
                self.next += 1;
                Ok(name)
            }
            _ => Err(self.unexpected("IDENTIFIER")),
        }
    }

    fn arguments(&mut self, close: &str) -> Parsed<Vec<Expr>> {
        let mut args = Vec::new();
        if self.takes(close) {
            return Ok(args);
        }
        loop {
            args.push(self.expression()?);
            if !self.takes(",") {
                self.wants(close)?;
                return Ok(args);
            }
        }
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let token = self.token().clone();
        match token.kind {
            lexer::Kind::Literal(literal) => {
                self.next += 1;
                let value = match literal {
                    Literal::Int(text) => {
                        lexer::integer(&text, false).ok_or_else(|| self.fault(token.at, "invalid int literal"))?
                    }
                    Literal::Uint(number) => Value::Uint(number),
                    Literal::Double(number) => Value::Double(number),
                    Literal::String(text) => Value::from(text),
                    Literal::Bytes(bytes) => Value::Bytes(bytes.into()),
                };
                self.node(token.at, 0, Kind::Literal(value))
            }
            lexer::Kind::Ident(name) => {
                self.next += 1;
                let literal = match name.as_str() {
                    "true" => Some(Value::Bool(true)),
                    "false" => Some(Value::Bool(false)),
                    "null" => Some(Value::Null),
                    _ => None,
                };
                match literal {
                    Some(value) => self.node(token.at, 0, Kind::Literal(value)),
                    None => self.named(token.at, name, ""),
                }
            }
            lexer::Kind::Punctuation(".") => {
                self.next += 1;
                let name = self.field_name()?;
                self.named(token.at, name, ".")
            }
            lexer::Kind::Punctuation("(") => {
                self.next += 1;
                let inner = self.expression()?;
                self.wants(")")?;
                Ok(inner)
            }
            lexer::Kind::Punctuation("[") => self.list(),
            lexer::Kind::Punctuation("{") => self.map(),
            _ => Err(self.unexpected("an expression")),
        }
    }

    fn named(&mut self, at: usize, name: String, dot: &str) -> Parsed<Expr> {
        if RESERVED.contains(&name.as_str()) {
            return Err(self.fault(at, format!("reserved identifier: {name}")));
        }
        let open = self.at();
        if self.takes("(") {
            let args = self.arguments(")")?;
            return match macros::global(self, open, &name, args)? {
                Ok(expanded) => Ok(expanded),
                Err(args) => self.call(open, &name, None, args),
            };
        }
        self.node(at, 0, Kind::Ident(format!("{dot}{name}")))
    }

    fn list(&mut self) -> Parsed<Expr> {
        let at = self.advance().at;
        let mut items = Vec::new();
        while !self.is("]") {
            let optional = self.takes("?");
            items.push((self.expression()?, optional));
            if !self.takes(",") {
                break;
            }
        }
        self.wants("]")?;
        let below = deepest(items.iter().map(|(item, _)| item));
        self.node(at, below, Kind::List(items))
    }

    fn map(&mut self) -> Parsed<Expr> {
        let at = self.advance().at;
        let mut entries = Vec::new();
        while !self.is("}") {
            let optional = self.takes("?");
            let key = self.expression()?;
            self.wants(":")?;
            entries.push((key, self.expression()?, optional));
            if !self.takes(",") {
                break;
            }
        }
        self.wants("}")?;
        let below = deepest(entries.iter().flat_map(|(key, value, _)| [key, value]));
        self.node(at, below, Kind::Map(entries))
    }

    fn structure(&mut self, name: String) -> Parsed<Expr> {
        let at = self.advance().at;
        let mut fields = Vec::new();
        while !self.is("}") {
            let optional = self.takes("?");
            let field = self.field_name()?;
            self.wants(":")?;
            fields.push((field, self.expression()?, optional));
            if !self.takes(",") {
                break;
            }
        }
        self.wants("}")?;
        let below = deepest(fields.iter().map(|(_, value, _)| value));
        self.node(at, below, Kind::Struct { name, fields })
    }
}

/// The depth of the deepest of `nodes`; 0 without any.
pub(crate) fn deepest<'e>(nodes: impl IntoIterator<Item = &'e Expr>) -> usize {
    nodes.into_iter().map(|node| node.depth).max().unwrap_or(0)
}
