//! What can be wrong with an expression, or with its evaluation.

use std::fmt;

/// Why an expression was refused, or gave no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is no expression, or does not fit the declared types. Never retryable: the author has to change it.
    #[error("compilation failed: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Compile(Vec<Issue>),
    /// The expression is sound, but its value has a type that its place does not take.
    #[error("must evaluate to {expected}")]
    Result {
        /// What the place takes, as `bool` or `one of [string null_type]`.
        expected: String,
        /// What the expression gives.
        found: String,
    },
    /// The evaluation met an error value that nothing absorbed, as `no such key: a`.
    #[error("{0}")]
    Evaluation(String),
    /// This evaluation cost more than one may, see [`PER_CALL_LIMIT`](crate::PER_CALL_LIMIT).
    #[error("operation cancelled: actual cost limit exceeded")]
    CostExceeded,
    /// The evaluations of this request together cost more than they may; nothing further is to be evaluated.
    #[error("validation failed due to running out of cost budget, no further validation rules will be run")]
    BudgetExhausted,
}

impl From<String> for Error {
    fn from(message: String) -> Self {
        Self::Evaluation(message)
    }
}

impl From<&str> for Error {
    fn from(message: &str) -> Self {
        Self::Evaluation(message.to_owned())
    }
}

impl Error {
    /// Whether the evaluation has to end: such an error is no value that `||` and `&&` could absorb.
    pub(crate) fn ends(&self) -> bool {
        !matches!(self, Self::Evaluation(_))
    }
}

/// One fault in the text of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// What is wrong, as `undeclared reference to 'a' (in container '')`.
    pub message: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in code points, from 1.
    pub column: usize,
    /// The text of that line.
    pub excerpt: String,
}

impl Issue {
    /// The fault `message` at code point `at` of `source`.
    pub(crate) fn new(source: &str, at: usize, message: impl Into<String>) -> Self {
        let (mut line, mut start) = (1, 0);
        for (index, character) in source.chars().enumerate().take(at) {
            if character == '\n' {
                line += 1;
                start = index + 1;
            }
        }
        let excerpt = source.split('\n').nth(line - 1).unwrap_or("").trim_end_matches('\r').replace('\t', " ");
        Self { message: message.into(), line, column: at - start + 1, excerpt }
    }
}

impl fmt::Display for Issue {
    /// The layout of upstream's compiler, which clients print as it is: message, line, and a mark below the place.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "ERROR: <input>:{}:{}: {}", self.line, self.column, self.message)?;
        write!(out, "\n | {}\n | ", self.excerpt)?;
        let mut line = self.excerpt.chars();
        for _ in 1..self.column {
            // A character outside ASCII is wide on a terminal, and so is the dot below it.
            out.write_str(if line.next().is_none_or(|character| character.is_ascii()) { "." } else { "．" })?;
        }
        out.write_str(if line.next().is_none_or(|character| character.is_ascii()) { "^" } else { "＾" })
    }
}
