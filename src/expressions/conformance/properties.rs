//! Random programs: whatever is written, compiling and evaluating ends, within the budget, without a panic.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::json;

use crate::{Bindings, Budget, Environment, Error, PER_CALL_LIMIT, Type, Value, shape_of_schema};

const ATOMS: [&str; 34] = [
    "self.s",
    "self.n",
    "self.d",
    "self.b",
    "self.l",
    "self.m",
    "self.o",
    "self.p",
    "self.t",
    "1",
    "0",
    "-1",
    "2u",
    "1.5",
    "0.0",
    "'a'",
    "''",
    "'é%s'",
    "b'x'",
    "null",
    "true",
    "false",
    "[]",
    "[1, 2]",
    "{}",
    "{'a': 1}",
    "v",
    "w",
    "duration('1h')",
    "timestamp('2020-01-01T00:00:00Z')",
    "9223372036854775807",
    "optional.none()",
    "int",
    "dyn(self.l)",
];

const BINARY: [&str; 15] = ["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "in", "?:"];

/// `$` is the target, `@` an argument.
const CALLS: [&str; 66] = [
    "size($)",
    "$.size()",
    "$.contains(@)",
    "$.startsWith(@)",
    "$.matches(@)",
    "$.charAt(@)",
    "$.indexOf(@)",
    "$.lastIndexOf(@, @)",
    "$.replace(@, @)",
    "$.replace(@, @, @)",
    "$.split(@)",
    "$.split(@, @)",
    "$.substring(@)",
    "$.substring(@, @)",
    "$.trim()",
    "$.join(@)",
    "$.format(@)",
    "$.lowerAscii()",
    "strings.quote($)",
    "$.isSorted()",
    "$.sum()",
    "$.min()",
    "$.max()",
    "$.find(@)",
    "$.findAll(@, @)",
    "int($)",
    "uint($)",
    "double($)",
    "string($)",
    "bytes($)",
    "type($)",
    "dyn($)",
    "duration($)",
    "timestamp($)",
    "bool($)",
    "$.getHours()",
    "$.getMonth(@)",
    "sets.contains($, @)",
    "sets.equivalent($, @)",
    "url($)",
    "isURL($)",
    "ip($)",
    "cidr($)",
    "isCIDR($)",
    "quantity($)",
    "$.add(@)",
    "semver($, true)",
    "format.named($)",
    "$.validate(@)",
    "optional.of($)",
    "$.orValue(@)",
    "$.value()",
    "$[@]",
    "$[?@]",
    "$.?s",
    "$.s",
    "has($.s)",
    "!$",
    "-$",
    "[$, @]",
    "{$: @}",
    "[?$]",
    "$.optMap(v, @)",
    "$.hasValue()",
    "$ ? @ : @",
    "$.or(@)",
];

const MACROS: [&str; 11] = [
    "$.all(v, @)",
    "$.exists(v, @)",
    "$.exists_one(v, @)",
    "$.map(v, @)",
    "$.map(v, @, @)",
    "$.filter(v, @)",
    "$.all(v, w, @)",
    "$.transformList(v, w, @)",
    "$.transformMap(v, w, @)",
    "$.transformMapEntry(v, w, @)",
    "$.exists(v, w, @)",
];

fn program(random: &mut StdRng, depth: usize) -> String {
    if depth == 0 || random.random_bool(0.15) {
        return (*ATOMS.choose(random).unwrap()).to_owned();
    }
    let template = match random.random_range(0..10) {
        0..3 => {
            let operator = BINARY.choose(random).unwrap();
            let (left, right) = (program(random, depth - 1), program(random, depth - 1));
            return if *operator == "?:" {
                format!("({left} ? {right} : {})", program(random, depth - 1))
            } else {
                format!("({left} {operator} {right})")
            };
        }
        3..7 => CALLS.choose(random).unwrap(),
        _ => MACROS.choose(random).unwrap(),
    };
    let mut source = String::new();
    for character in template.chars() {
        match character {
            '$' | '@' => source += &program(random, depth - 1),
            other => source.push(other),
        }
    }
    format!("({source})")
}

#[test]
fn random_programs_end_within_their_budget() {
    let schema = json!({"type": "object", "properties": {
        "s": {"type": "string", "maxLength": 20}, "n": {"type": "integer"}, "d": {"type": "number"}, "b": {"type": "boolean"},
        "l": {"type": "array", "maxItems": 5, "items": {"type": "string", "maxLength": 5}},
        "m": {"type": "object", "maxProperties": 5, "additionalProperties": {"type": "integer"}},
        "o": {"type": "object", "properties": {"s": {"type": "string", "maxLength": 5}}},
        "p": {"x-kubernetes-int-or-string": true}, "t": {"type": "string", "format": "date-time"}}});
    let shape = shape_of_schema(&schema, false, "self").unwrap();
    let object = json!({"s": "aé-1", "n": 3, "d": 2.5, "b": true, "l": ["a", "bb", ""], "m": {"a": 1, "s": 2},
        "o": {"s": "x"}, "p": "10%", "t": "2021-02-03T04:05:06Z"});
    let loose = Environment::default().with("self", Type::Dyn).with("v", Type::Dyn).with("w", Type::Dyn);
    let strict = Environment::default().with("self", shape.clone()).with("v", Type::Dyn).with("w", Type::Dyn);
    let (mut compiled, mut valued) = (0, 0);
    for seed in 0..20_000 {
        let mut random = StdRng::seed_from_u64(seed);
        let depth = random.random_range(1..6);
        let source = program(&mut random, depth);
        for (environment, is_strict) in [(&loose, false), (&strict, true)] {
            let Ok(program) = environment.compile(&source) else { continue };
            compiled += 1;
            let mut bindings = Bindings::default();
            let value = if is_strict { Value::from_json(&object, &shape.ty).unwrap() } else { Value::dynamic(&object) };
            bindings.bind("self", value);
            let mut budget = Budget::default();
            let before = budget.remaining();
            let result = program.evaluate(&bindings, &mut budget);
            // A step past the limit is counted before it is noticed, and no step of these small inputs is dear.
            assert!(before - budget.remaining() <= PER_CALL_LIMIT * 2, "{source}");
            if let Ok(value) = &result {
                valued += 1;
                let _ = value.to_json();
                // A result that is not dynamic is of the declared type.
                let declared = &program.result().ty;
                let found = value.type_name();
                let fits = match declared {
                    Type::Bool => found == "bool",
                    Type::Int => found == "int",
                    Type::String => found == "string",
                    Type::List(_) => found == "list",
                    _ => true,
                };
                assert!(!is_strict || fits || found == "null_type", "{source}: {found} is no {declared}");
            }
            assert!(!matches!(result, Err(Error::Compile(_) | Error::Result { .. })), "{source}");
        }
    }
    assert!(compiled > 5_000 && valued > 2_000, "{compiled} compiled, {valued} gave a value: the grammar is too wild");
}

#[test]
fn random_text_never_panics() {
    let pieces = [
        "self", ".", "?", "[", "]", "(", ")", "{", "}", "'", "\"", "\\", "r'", "b\"", "1", "u", "0x", "e5", "-", "!",
        "&&", "||", "in", " ", "\n", "//", "é", "\u{0}", "all", ",", ":", "`", "%", "\\u12", "'''", "has", "true",
        "==",
    ];
    let environment = Environment::default().with("self", Type::Dyn);
    for seed in 0..20_000 {
        let mut random = StdRng::seed_from_u64(seed);
        let length = random.random_range(1..40);
        let source: String = (0..length).map(|_| *pieces.choose(&mut random).unwrap()).collect();
        if let Err(error) = environment.compile(&source) {
            assert!(error.to_string().starts_with("compilation failed: ERROR: <input>:"), "{source}: {error}");
        }
    }
}
