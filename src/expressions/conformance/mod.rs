//! Tables: expression, what it is evaluated with, what comes out. In the manner of the CEL specification's conformance tests.

mod admission;
mod costs;
mod language;
mod libraries;
mod properties;
mod rules;
mod typing;

use serde_json::Value as Json;

use crate::{Bindings, Budget, Environment, Error, Program, Type, Value};

/// Compiles without variables, or with `x`, `y` and `z` of any type.
fn compile(source: &str) -> Result<Program, Error> {
    Environment::default().with("x", Type::Dyn).with("y", Type::Dyn).with("z", Type::Dyn).compile(source)
}

/// Evaluates `source` with the fields of `input` as dynamic variables; what comes out as text: JSON, or the error.
fn evaluate(source: &str, input: &Json) -> String {
    let program = match compile(source) {
        Ok(program) => program,
        Err(error) => return format!("REFUSED {error}"),
    };
    let mut bindings = Bindings::default();
    for (name, value) in input.as_object().into_iter().flatten() {
        bindings.bind(name, Value::dynamic(value));
    }
    let value = program.evaluate(&bindings, &mut Budget::default());
    match value.and_then(|value| value.to_json()) {
        Ok(json) => json.to_string(),
        Err(error) => format!("ERROR {error}"),
    }
}

/// Every row: expression, and the JSON or the beginning of `ERROR ...` that it gives.
fn check(input: &Json, table: &[(&str, &str)]) {
    for (source, wanted) in table {
        let found = evaluate(source, input);
        let fits = if wanted.starts_with("ERROR") { found.starts_with(wanted) } else { found == *wanted };
        assert!(fits, "{source}\n  gives  {found}\n  wanted {wanted}");
    }
}
