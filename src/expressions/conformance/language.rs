//! The language itself: literals, operators, errors and what absorbs them, macros, optionals.

use serde_json::json;

use super::{check, compile, evaluate};
use crate::{DEPTH_MAX, Error, LENGTH_MAX};

#[test]
fn literals() {
    check(
        &json!({}),
        &[
            ("1", "1"),
            ("-1", "-1"),
            ("- 1", "-1"),
            ("--1", "1"),
            ("0xff", "255"),
            ("-0x10", "-16"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("18446744073709551615u", "18446744073709551615"),
            ("1.5", "1.5"),
            (".5", "0.5"),
            ("1e3", "1000.0"),
            ("-1.5e-2", "-0.015"),
            ("'a' + \"b\"", "\"ab\""),
            (r"'\n\t\\\'\x41\101\u00e9\U0001F600'", "\"\\n\\t\\\\'AAé😀\""),
            (r"r'\d'", r#""\\d""#),
            (r"r'a\'b'", r#""a\\'b""#),
            ("'''a\n'b'''", "\"a\\n'b\""),
            ("b'abc'", "\"YWJj\""),
            (r"b'\xff'", "\"/w==\""),
            ("b'é'", "\"w6k=\""),
            ("[1, 2, 3,]", "[1,2,3]"),
            ("{'a': dyn(1), 'b': [true]}", r#"{"a":1,"b":[true]}"#),
            ("null", "null"),
            ("true // a comment", "true"),
            ("!!true", "true"),
            ("{1: 'a'}[dyn(1u)]", "\"a\""),
            ("{'a': 1, 'a': 2}", "ERROR insert failed"),
        ],
    );
}

#[test]
fn arithmetic_and_order() {
    check(
        &json!({"x": 2, "y": 1.5}),
        &[
            ("1 + 2 * 3 - 4", "3"),
            ("(1 + 2) * 3", "9"),
            ("7 / 2", "3"),
            ("-7 / 2", "-3"),
            ("-7 % 2", "-1"),
            ("1 / 0", "ERROR division by zero"),
            ("1 % 0", "ERROR modulus by zero"),
            ("9223372036854775807 + 1", "ERROR integer overflow"),
            ("-9223372036854775807 - 2", "ERROR integer overflow"),
            ("1u - 2u", "ERROR unsigned integer overflow"),
            ("1.0 / 0.0 > 1.0", "true"),
            ("0.0 / 0.0 == 0.0 / 0.0", "false"),
            ("0.0 / 0.0 != 0.0 / 0.0", "true"),
            ("1 < 2u && 2u > 1 && 1 < 1.5 && 2u >= 1.5", "true"),
            ("dyn(1) == 1.0 && dyn(1u) == 1 && dyn(1) == 1u", "true"),
            ("dyn(1) == '1'", "false"),
            ("x == 2 && y == 1.5 && x + 1 == 3", "true"),
            ("x + y", "ERROR no such overload"),
            ("'a' < 'b' && b'a' < b'b' && false < true", "true"),
            ("[1, 2] == [1, 2] && [1] != [2] && {'a': 1} == {'a': 1}", "true"),
            ("{'a': 1} == {'a': 1, 'b': 2}", "false"),
            ("dyn(9223372036854775807) == 9223372036854775808.0", "true"),
            ("1 in [1, 2] && !(3 in [1, 2]) && 'a' in {'a': 1} && dyn(1u) in {1: 2}", "true"),
            ("[1] + [2]", "[1,2]"),
            ("b'a' + b'b'", "\"YWI=\""),
        ],
    );
}

#[test]
fn errors_are_absorbed_where_one_side_decides() {
    check(
        &json!({"x": {"a": 1}}),
        &[
            ("true || x.b", "true"),
            ("x.b || true", "true"),
            ("false && x.b", "false"),
            ("x.b && false", "false"),
            ("x.b || false", "ERROR no such key: b"),
            ("x.b && true", "ERROR no such key: b"),
            ("1 / 0 == 1 || true", "true"),
            ("x.a || true", "true"),
            ("false ? x.b : 1", "1"),
            ("true ? 1 : x.b", "1"),
            ("[0, 1].exists(i, 1 / i == 1)", "true"),
            ("[0, 1].all(i, 1 / i == 2)", "false"),
            ("[0, 1].all(i, 1 / i == 1)", "ERROR division by zero"),
            ("[0, 1].exists_one(i, 1 / i == 1)", "ERROR division by zero"),
            ("[0, 1].map(i, 1 / i)", "ERROR division by zero"),
        ],
    );
}

#[test]
fn selection() {
    check(
        &json!({"x": {"a": {"b": [1, {"c": null}]}, "k-d": 1}, "y": null}),
        &[
            ("x.a.b[0]", "1"),
            ("x['a']['b'][1].c == null", "true"),
            ("has(x.a) && !has(x.q) && has(x.a.b)", "true"),
            ("has(x.a.q.z)", "ERROR no such key: q"),
            ("x.a.b[2]", "ERROR index out of bounds: 2"),
            ("x.a.b[-1]", "ERROR index out of bounds: -1"),
            ("x['q']", "ERROR no such key: q"),
            ("x['k-d']", "1"),
            ("x.`k-d`", "1"),
            ("y.a", "ERROR no such key: a"),
            ("size(x) + size(x.a.b) + x.size()", "6"),
            ("z.a", "ERROR no such attribute(s): z"),
        ],
    );
}

#[test]
fn macros() {
    check(
        &json!({"x": {"a": 1, "b": 2}}),
        &[
            ("[1, 2, 3].all(i, i > 0)", "true"),
            ("[].all(i, i > 0) && ![].exists(i, i > 0)", "true"),
            ("[1, 2, 3].exists_one(i, i > 2)", "true"),
            ("[1, 2, 3].exists_one(i, i > 1)", "false"),
            ("[1, 2, 3].map(i, i * 2)", "[2,4,6]"),
            ("[1, 2, 3].map(i, i > 1, i * 2)", "[4,6]"),
            ("[1, 2, 3].filter(i, i != 2)", "[1,3]"),
            ("x.map(k, k)", r#"["a","b"]"#),
            ("x.all(k, x[k] > 0)", "true"),
            ("x.exists(k, v, k == 'b' && v == 2)", "true"),
            ("[5, 6].all(i, v, v == i + 5)", "true"),
            ("[1, 2].existsOne(i, v, v == 2 && i == 1)", "true"),
            ("[1, 2].transformList(i, v, i * 10 + v)", "[1,12]"),
            ("[1, 2].transformList(i, v, i > 0, v)", "[2]"),
            ("x.transformMap(k, v, v + 1)", r#"{"a":2,"b":3}"#),
            ("x.transformMap(k, v, v > 1, v + 1)", r#"{"b":3}"#),
            ("x.transformMapEntry(k, v, {string(v): k})", r#"{"1":"a","2":"b"}"#),
            ("[1, 1].transformMapEntry(i, v, {string(v): i})", "ERROR insert failed"),
            ("[[1, 2], [3]].map(l, l.map(i, i + size(l)))", "[[3,4],[4]]"),
            ("[1].map(x, x)", "[1]"),
            ("[1, 2].all(i, [i].all(i, i > 0))", "true"),
        ],
    );
}

#[test]
fn optionals() {
    check(
        &json!({"x": {"a": {"b": 1}}}),
        &[
            ("x.?a.b.orValue(0)", "1"),
            ("x.?q.b.orValue(0)", "0"),
            ("x.?a.?b.hasValue() && !x.?q.hasValue()", "true"),
            ("x[?'a'].b.value()", "1"),
            ("[1, 2][?5].orValue(7)", "7"),
            ("optional.none().value()", "ERROR optional.none() dereference"),
            ("optional.of(1).or(optional.of(2)).value()", "1"),
            ("optional.none().or(optional.of(2)).value()", "2"),
            ("x.?a.optMap(v, v.b + 1).orValue(0)", "2"),
            ("x.?q.optMap(v, v.b + 1).orValue(0)", "0"),
            ("x.?a.optFlatMap(v, v.?b).orValue(0)", "1"),
            ("[?x.?a.b, ?x.?q, 3]", "[1,3]"),
            ("{?'k': x.?q, 'l': 1}", r#"{"l":1}"#),
            ("optional.ofNonZeroValue('').hasValue()", "false"),
            ("optional.of(1) == optional.of(1) && optional.none() != optional.of(1)", "true"),
        ],
    );
}

#[test]
fn types_are_values() {
    check(
        &json!({"x": 1}),
        &[
            ("type(x) == int && type('') == string && type([]) == list && type({}) == map", "true"),
            ("type(1u) != int && type(null) == null_type && type(1.0) == double", "true"),
            ("type(type(1)) == type", "true"),
            ("type(timestamp('2020-01-01T00:00:00Z')) == google.protobuf.Timestamp", "true"),
            ("type(x)", "ERROR a value of type type has no JSON"),
        ],
    );
}

#[test]
fn faults_of_syntax_are_shown_where_they_are() {
    let table = [
        ("1 +", "ERROR: <input>:1:4: Syntax error: mismatched input '<EOF>' expecting an expression\n | 1 +\n | ...^"),
        ("a b", "ERROR: <input>:1:3: Syntax error: mismatched input 'b' expecting <EOF>\n | a b\n | ..^"),
        ("x ==\n  )", "ERROR: <input>:2:3: Syntax error: mismatched input ')' expecting an expression\n |   )\n | ..^"),
        ("x & y", "ERROR: <input>:1:3: Syntax error: token recognition error at: '& y'\n | x & y\n | ..^"),
        ("'abc", "ERROR: <input>:1:1: Syntax error: token recognition error at: ''abc'\n | 'abc\n | ^"),
        ("namespace == 1", "ERROR: <input>:1:1: reserved identifier: namespace\n | namespace == 1\n | ^"),
        ("has(x)", "ERROR: <input>:1:4: invalid argument to has() macro\n | has(x)\n | ...^"),
        ("[1].all(1, true)", "ERROR: <input>:1:9: argument must be a simple name\n | [1].all(1, true)\n | ........^"),
        ("9223372036854775808", "ERROR: <input>:1:1: invalid int literal\n | 9223372036854775808\n | ^"),
    ];
    for (source, wanted) in table {
        let error = compile(source).unwrap_err();
        assert_eq!(error.to_string(), format!("compilation failed: {wanted}"), "{source}");
    }
}

#[test]
fn limits_of_the_text() {
    let long = format!("'{}'", "a".repeat(LENGTH_MAX));
    assert!(compile(&long).unwrap_err().to_string().contains("expression code point size exceeds limit"));
    for (open, close) in
        [("(", ")"), ("[", "]"), ("{1:", "}"), ("!(", ")"), ("-(", ")"), ("x.map(i,", ")"), ("x ? 1 : (", ")")]
    {
        let deep = format!("{}1{}", open.repeat(DEPTH_MAX + 1), close.repeat(DEPTH_MAX + 1));
        let error = compile(&deep).unwrap_err().to_string();
        assert!(error.contains("recursion limit exceeded"), "{open}: {error}");
    }
    let chain = vec!["1"; DEPTH_MAX + 1].join(" + ");
    assert!(compile(&chain).unwrap_err().to_string().contains("recursion limit exceeded"));
    // Chains of && and || are balanced, and may be as long as they like.
    let chain = vec!["x"; 2000].join(" && ");
    assert_eq!(evaluate(&chain, &json!({"x": true})), "true");
    let deep = format!("{}1{}", "(".repeat(DEPTH_MAX - 10), ")".repeat(DEPTH_MAX - 10));
    assert_eq!(evaluate(&deep, &json!({})), "1");
    let deep = format!("{}1{}", "[".repeat(DEPTH_MAX - 10), "]".repeat(DEPTH_MAX - 10));
    assert!(evaluate(&deep, &json!({})).starts_with("[["));
    assert!(matches!(compile(&"a.".repeat(60_000)), Err(Error::Compile(_))));
}
