//! The tree of an expression. Macros are nodes of their own, so that checker, estimate and evaluator speak of the same loop.

use crate::value::Value;

/// A node: its number within the program, where it stands, how deep the tree below it is, and what it is.
#[derive(Debug)]
pub(crate) struct Expr {
    /// Number within the program, dense from 0.
    pub id: usize,
    /// Code point of the source at which faults of this node are shown.
    pub at: usize,
    /// Nodes on the longest path downwards, this one included.
    pub depth: usize,
    pub kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Literal(Value<'static>),
    Ident(String),
    /// `operand.field`, or `operand.?field`.
    Select {
        operand: Box<Expr>,
        field: String,
        optional: bool,
    },
    /// `has(operand.field)`.
    Has {
        operand: Box<Expr>,
        field: String,
    },
    /// A function or, under names such as `_+_`, an operator.
    Call {
        function: String,
        target: Option<Box<Expr>>,
        args: Vec<Expr>,
    },
    /// Items; the flag says `[?item]`.
    List(Vec<(Expr, bool)>),
    /// Keys and values; the flag says `{?key: value}`.
    Map(Vec<(Expr, Expr, bool)>),
    /// `Name{field: value}`.
    Struct {
        name: String,
        fields: Vec<(String, Expr, bool)>,
    },
    Fold(Box<Fold>),
    /// `target.optMap(variable, body)` and `optFlatMap`.
    OptMap {
        target: Box<Expr>,
        variable: String,
        body: Box<Expr>,
        flat: bool,
    },
}

/// A macro that runs over a list or a map.
#[derive(Debug)]
pub(crate) struct Fold {
    pub what: What,
    pub range: Expr,
    /// One variable (item of a list, key of a map) or two (index or key, and value).
    pub variables: Vec<String>,
    /// Which elements take part.
    pub filter: Option<Expr>,
    /// The predicate of `all`, `exists` and `exists_one`, the transformation of the others; `filter` has none.
    pub step: Option<Expr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    All,
    Exists,
    ExistsOne,
    /// `map`, `filter` and `transformList`: a list.
    List,
    /// `transformMap`: a map with the same keys.
    Map,
    /// `transformMapEntry`: a map of the entries that the transformation gives.
    MapEntry,
}

impl Expr {
    /// The dotted name that a chain of selections spells, as `a.b.c`.
    pub fn qualified(&self) -> Option<String> {
        match &self.kind {
            Kind::Ident(name) => Some(name.trim_start_matches('.').to_owned()),
            Kind::Select { operand, field, optional: false } => Some(format!("{}.{field}", operand.qualified()?)),
            _ => None,
        }
    }
}
