//! What evaluations cost, by upstream's own examples, and what is estimated beforehand.

use serde_json::{Value as Json, json};

use crate::{Bindings, Budget, ESTIMATE_LIMIT, Environment, Error, Program, Type, Value, cardinality, shape_of_schema};

fn cost(source: &str, input: &Json) -> u64 {
    let mut environment = Environment::default();
    let mut bindings = Bindings::default();
    for (name, value) in input.as_object().into_iter().flatten() {
        environment = environment.with(name, Type::Dyn);
        bindings.bind(name, Value::dynamic(value));
    }
    let program = environment.compile(source).unwrap_or_else(|error| panic!("{source}: {error}"));
    let mut budget = Budget::default();
    let before = budget.remaining();
    program.evaluate(&bindings, &mut budget).unwrap_or_else(|error| panic!("{source}: {error}"));
    before - budget.remaining()
}

#[test]
fn costs_are_those_of_upstream() {
    let text = "a".repeat(500);
    let input = json!({
        "list": [1, 2], "map": {"key": "v"}, "deep": {"a": {"b": "0"}}, "none": [], "text": text, "short": "idc",
        "flag": true, "no": false, "one": "val1", "two": "val2222222", "maps": {"val": {"n": 1}}});
    let table = [
        ("'Hello World!'", 0),
        ("list", 1),
        ("map['key']", 2),
        ("list[0]", 2),
        ("map.key", 2),
        ("map['ke' + 'y']", 3),
        ("list[3-3]", 3),
        ("has(map.key)", 0),
        ("has(deep.a.b)", 1),
        ("[1, 2, 3]", 10),
        (r#"{"a": 1, "b": 2, "c": 3}"#, 30),
        ("none.all(x, true)", 2),
        ("[1, 2, 3].all(x, true)", 20),
        ("text.matches('[0-9]')", 103),
        ("'123'.matches('[0-9]')", 2),
        ("no || no || no || no", 4),
        ("flag && flag && flag && flag", 4),
        ("1 < 2", 1),
        ("1 == 2", 1),
        ("2 in [1, 2, 3]", 13),
        ("true ? 1 : 2", 0),
        ("size('123')", 1),
        ("'12345678901234567890' == '123456789012345678901234567890'", 2),
        ("bytes(text)", 51),
        ("string(1)", 1),
        ("text.contains(text)", 2502),
        (r"text.matches('\\d+a\\d+b')", 103),
        ("short.startsWith(text)", 3),
        ("short.size()", 2),
        ("maps.all(k, maps[k].n > 3)", 9),
        ("(none + none).all(x, true)", 4),
        ("'abcdefg'.contains(one + two)", 6),
        ("(1 > 2 || 2 > 1) == true", 3),
        ("[{'k1': 1}, {'k2': 2}].all(x, true)", 77),
        ("[1, 2, 3, 4, 5].sum()", 15),
        ("[uint(1), uint(2), uint(3), uint(4), uint(5)].max()", 20),
        ("['012345678901', '012345678901', '012345678901', '012345678901', '012345678901'].isSorted()", 15),
        ("'01234567890123456789012345678901234567890123456789'.indexOf('123')", 5),
        ("url('https:://kubernetes.io/').getPort()", 4),
        ("url('https:://kubernetes.io/') == url('http://x.b')", 5),
        ("ip('2001:db8:3333:4444:5555:6666:7777:8888').family()", 5),
        ("ip.isCanonical('192.168.0.1')", 3),
        ("cidr('192.168.0.0/16').containsCIDR('192.0.0.0/30')", 7),
        ("cidr('2001:db8::/32').containsCIDR(cidr('2001:db8::/126'))", 7),
        ("cidr('192.168.0.0/16').containsIP(ip('192.169.0.1'))", 5),
    ];
    for (source, wanted) in table {
        assert_eq!(cost(source, &input), wanted, "{source}");
    }
}

#[test]
fn limits_end_an_evaluation_and_nothing_absorbs_that() {
    let program = Environment::default().compile("'abcdefg'.contains('val1' + 'val2222222')").unwrap();
    let run = |limit: u64| program.evaluate(&Bindings::default(), &mut Budget::new(100, limit)).map(|_| ());
    assert_eq!(run(4), Ok(()));
    let error = run(3).unwrap_err();
    assert_eq!(error.to_string(), "operation cancelled: actual cost limit exceeded");
    let absorbing = Environment::default().compile("'abcdefg'.contains('val1' + 'val2222222') || true").unwrap();
    assert_eq!(absorbing.holds(&Bindings::default(), &mut Budget::new(100, 3)), Err(Error::CostExceeded));

    let mut budget = Budget::new(6, 100);
    assert!(program.evaluate(&Bindings::default(), &mut budget).is_ok());
    assert_eq!(budget.remaining(), 2);
    let error = program.evaluate(&Bindings::default(), &mut budget).map(|_| ()).unwrap_err();
    assert!(error.to_string().starts_with("validation failed due to running out of cost budget"), "{error}");
    assert_eq!(budget.remaining(), 0);
}

#[test]
fn memory_has_a_bound_that_costs_do_not_see() {
    let long: Vec<u32> = (0..200_000).collect();
    let text = "a".repeat(1_000_000);
    let input = json!({"l": long, "t": text, "s": ["a".repeat(1_000_000)]});
    for source in [
        "l.all(i, size(l + l + l + l) > 0)",
        "t.replace('', t) == ''",
        "l.map(i, s[0]).join() == ''",
        "'%s%s'.format([dyn(l.map(i, s)), l]) == ''",
        "l.all(i, l == l)",
        "l.all(i, size(t) > 0)",
        "l.all(i, t.matches(string(i)) || true)",
    ] {
        let program = Environment::default()
            .with("l", Type::list(Type::Int))
            .with("t", Type::String)
            .with("s", Type::list(Type::String))
            .compile(source)
            .unwrap();
        let mut bindings = Bindings::default();
        for name in ["l", "t", "s"] {
            bindings.bind(name, Value::dynamic(&input[name]));
        }
        let started = std::time::Instant::now();
        assert_eq!(program.holds(&bindings, &mut Budget::default()), Err(Error::CostExceeded), "{source}");
        assert!(started.elapsed().as_secs() < 20, "{source} took {:?}", started.elapsed());
    }
}

fn rule(schema: &Json, source: &str) -> Program {
    let shape = shape_of_schema(schema, false, "self").unwrap();
    Environment::default().with("self", shape).compile(source).unwrap_or_else(|error| panic!("{source}: {error}"))
}

#[test]
fn estimates_follow_the_bounds_of_the_schema() {
    let schema = json!({"type": "object", "properties": {
        "n": {"type": "integer"},
        "short": {"type": "string", "maxLength": 10},
        "long": {"type": "string"},
        "few": {"type": "array", "maxItems": 10, "items": {"type": "string", "maxLength": 5}},
        "many": {"type": "array", "items": {"type": "string"}},
        "map": {"type": "object", "maxProperties": 7, "additionalProperties": {"type": "integer"}}}});
    let table = [
        ("self.n > 0", 3),
        ("self.n > 0 && self.n < 10", 6),
        ("has(self.n) ? self.n > 0 : true", 4),
        // 40 bytes: four for each code point.
        ("self.short.startsWith('abc')", 2 + 1),
        ("self.short.lowerAscii() == 'x'", 2 + 4 + 1),
        ("self.short.contains(self.short)", 4 + 16),
        // Ten rounds of the variable, the comparison, and the loop itself.
        ("self.few.all(f, f == 'x')", 2 + 10 * (3 + 1 + 1) + 1),
        ("self.few.all(f, self.few.all(g, f == g))", 2 + 10 * (3 + 2 + 10 * (3 + 2 + 2) + 1) + 1),
        ("self.map.all(k, self.map[k] > 0)", 2 + 7 * (3 + 2 + 1 + 1 + 1) + 1),
    ];
    for (source, wanted) in table {
        assert_eq!(rule(&schema, source).estimate(), wanted, "{source}");
    }
    for source in [
        "self.many.all(a, self.many.all(b, a == b))",
        "self.many.exists(a, a.contains(self.long))",
        "self.long.contains(self.long)",
        "self.many.map(a, a + a).all(b, b.matches('^[a-z]+$'))",
    ] {
        assert!(rule(&schema, source).estimate() > ESTIMATE_LIMIT, "{source}: {}", rule(&schema, source).estimate());
    }
    assert!(rule(&schema, "self.many.all(a, a != '')").estimate() < ESTIMATE_LIMIT);
}

#[test]
fn the_estimate_of_a_known_refusal_is_known() {
    // 20 cases with messages and expectations of 4096 code points: upstream refuses this by a factor of 5.4.
    let list = json!({"type": "array", "maxItems": 20, "items": {"type": "object", "properties": {
        "message": {"type": "string", "maxLength": 4096}, "expect": {"type": "string", "maxLength": 4096}}}});
    let estimate = rule(&list["items"], "!self.message.contains(self.expect)").estimate();
    let total = estimate * cardinality(&list, 1);
    assert_eq!(total * 10 / ESTIMATE_LIMIT, 53, "{total}");
}

#[test]
fn cardinalities_come_from_bounds_or_from_the_size_of_requests() {
    assert_eq!(cardinality(&json!({"type": "array", "maxItems": 5, "items": {"type": "integer"}}), 3), 15);
    let unbounded = cardinality(&json!({"type": "array", "items": {"type": "integer"}}), 1);
    assert_eq!(unbounded, (3 * 1024 * 1024 - 2) / 2);
    let map = json!({"type": "object", "additionalProperties": {"type": "boolean"}});
    assert_eq!(cardinality(&map, 1), (3 * 1024 * 1024 - 2) / 10);
}
