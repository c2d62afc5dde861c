//! Macros: calls whose arguments are expressions over a variable, rather than values.

use crate::ast::{Expr, Fold, Kind, What};
use crate::error::Issue;
use crate::parser::{Parser, deepest};

/// The node of a global macro; the arguments back when `name` with so many of them is an ordinary function.
pub(crate) fn global(
    parser: &mut Parser<'_>,
    at: usize,
    name: &str,
    mut args: Vec<Expr>,
) -> Result<Result<Expr, Vec<Expr>>, Issue> {
    if name != "has" || args.len() != 1 {
        return Ok(Err(args));
    }
    match args.pop().map(|arg| arg.kind) {
        Some(Kind::Select { operand, field, optional: false }) => {
            let below = operand.depth;
            parser.node(at, below, Kind::Has { operand, field }).map(Ok)
        }
        _ => Err(parser.fault(at, "invalid argument to has() macro")),
    }
}

/// The node of a macro called on a target; target and arguments back when it is an ordinary method.
pub(crate) fn member(
    parser: &mut Parser<'_>,
    at: usize,
    target: Expr,
    name: &str,
    args: Vec<Expr>,
) -> Result<Result<Expr, (Expr, Vec<Expr>)>, Issue> {
    if matches!(name, "optMap" | "optFlatMap") && args.len() == 2 {
        return optional(parser, at, target, name == "optFlatMap", args).map(Ok);
    }
    // How many variables, what comes out, and whether the arguments after the variables are filter and transformation.
    let (variables, what, transforms, filters) = match (name, args.len()) {
        ("all", 2) => (1, What::All, true, false),
        ("all", 3) => (2, What::All, true, false),
        ("exists", 2) => (1, What::Exists, true, false),
        ("exists", 3) => (2, What::Exists, true, false),
        ("exists_one" | "existsOne", 2) => (1, What::ExistsOne, true, false),
        ("exists_one" | "existsOne", 3) => (2, What::ExistsOne, true, false),
        ("map", 2) => (1, What::List, true, false),
        ("map", 3) => (1, What::List, true, true),
        ("filter", 2) => (1, What::List, false, true),
        ("transformList", 3) => (2, What::List, true, false),
        ("transformList", 4) => (2, What::List, true, true),
        ("transformMap", 3) => (2, What::Map, true, false),
        ("transformMap", 4) => (2, What::Map, true, true),
        ("transformMapEntry", 3) => (2, What::MapEntry, true, false),
        ("transformMapEntry", 4) => (2, What::MapEntry, true, true),
        _ => return Ok(Err((target, args))),
    };
    let below = deepest(args.iter().chain([&target]));
    let mut args = args.into_iter();
    let mut names = Vec::new();
    for _ in 0..variables {
        if let Some(arg) = args.next() {
            names.push(simple_name(parser, arg)?);
        }
    }
    if names.len() == 2 && names[0] == names[1] {
        return Err(parser.fault(at, format!("duplicate variable name: {}", names[0])));
    }
    let filter = if filters { args.next() } else { None };
    let step = if transforms { args.next() } else { None };
    let fold = Fold { what, range: target, variables: names, filter, step };
    parser.node(at, below, Kind::Fold(Box::new(fold))).map(Ok)
}

fn optional(parser: &mut Parser<'_>, at: usize, target: Expr, flat: bool, args: Vec<Expr>) -> Result<Expr, Issue> {
    let below = deepest(args.iter().chain([&target]));
    let mut args = args.into_iter();
    match (args.next(), args.next()) {
        (Some(name), Some(body)) => {
            let variable = simple_name(parser, name)?;
            let kind = Kind::OptMap { target: Box::new(target), variable, body: Box::new(body), flat };
            parser.node(at, below, kind)
        }
        _ => Err(parser.fault(at, "optMap() takes a variable name and an expression")),
    }
}

fn simple_name(parser: &Parser<'_>, arg: Expr) -> Result<String, Issue> {
    match arg.kind {
        Kind::Ident(name) if !name.starts_with('.') => Ok(name),
        _ => Err(parser.fault(arg.at, "argument must be a simple name")),
    }
}
