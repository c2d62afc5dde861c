//! What the type check refuses, and in which words.

use serde_json::json;

use crate::{Bindings, Budget, Environment, Error, Shape, Type, Value, escape, shape_of_schema, unescape};

fn environment() -> Environment {
    let schema = json!({"type": "object", "properties": {
        "name": {"type": "string", "maxLength": 10},
        "replicas": {"type": "integer"},
        "ratio": {"type": "number"},
        "on": {"type": "boolean"},
        "when": {"type": "string", "format": "date-time"},
        "every": {"type": "string", "format": "duration"},
        "data": {"type": "string", "format": "byte"},
        "port": {"x-kubernetes-int-or-string": true},
        "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "raw": {"x-kubernetes-preserve-unknown-fields": true},
        "namespace": {"type": "string"},
        "a-b.c/d": {"type": "integer"},
        "a__b": {"type": "integer"},
        "nested": {"type": "object", "properties": {"x": {"type": "integer"}}}}});
    Environment::default().with("self", shape_of_schema(&schema, true, "selfType").unwrap())
}

#[test]
fn results_have_types() {
    let table = [
        ("self.name", Type::String),
        ("self.replicas + 1", Type::Int),
        ("self.ratio > 1", Type::Bool),
        ("self.when", Type::Timestamp),
        ("self.when - self.when", Type::Duration),
        ("self.every + self.every", Type::Duration),
        ("self.data", Type::Bytes),
        ("self.port", Type::Dyn),
        ("self.tags.map(t, size(t))", Type::list(Type::Int)),
        ("self.labels.all(k, self.labels[k] != '')", Type::Bool),
        ("self.__namespace__", Type::String),
        ("self.a__dash__b__dot__c__slash__d + self.a__underscores__b", Type::Int),
        ("self.metadata.name + self.kind", Type::String),
        ("self.?name", Type::optional(Type::String)),
        ("self.?nested.x.orValue(1)", Type::Int),
        ("[] + [1]", Type::list(Type::Int)),
        ("self.on ? [] : ['a']", Type::list(Type::String)),
        ("self.on ? 1 : dyn('a')", Type::Dyn),
        ("[[1], [dyn('a')]]", Type::list(Type::list(Type::Dyn))),
        ("type(self.port) == int ? int(self.port) > 1 : true", Type::Bool),
        ("quantity('1').isGreaterThan(quantity('2'))", Type::Bool),
        ("[1, 2].min()", Type::Int),
        ("{'a': 1}", Type::map(Type::String, Type::Int)),
    ];
    for (source, wanted) in table {
        let program = environment().compile(source).unwrap_or_else(|error| panic!("{source}: {error}"));
        assert_eq!(program.result().ty.to_string(), wanted.to_string(), "{source}");
    }
}

#[test]
fn faults_are_named_as_upstream_names_them() {
    let table = [
        ("foo", "1:1: undeclared reference to 'foo' (in container '')\n | foo\n | ^"),
        ("self.foo", "1:5: undefined field 'foo'\n | self.foo\n | ....^"),
        ("self.raw", "1:5: undefined field 'raw'\n | self.raw\n | ....^"),
        ("self.namespace == ''", "1:5: undefined field 'namespace'"),
        ("self.nested.y", "1:12: undefined field 'y'"),
        ("has(self.foo)", "1:4: undefined field 'foo'"),
        ("self.name.x", "1:10: type 'string' does not support field selection"),
        ("self.replicas == 'a'", "1:15: found no matching overload for '_==_' applied to '(int, string)'"),
        ("self.name + 1", "1:11: found no matching overload for '_+_' applied to '(string, int)'"),
        ("self.name.startsWith(1)", "1:21: found no matching overload for 'startsWith' applied to 'string.(int)'"),
        ("self.name.foo()", "1:14: undeclared reference to 'foo' (in container '')"),
        ("foo(1)", "1:4: undeclared reference to 'foo' (in container '')"),
        ("self.tags.all(t, t + 1)", "found no matching overload for '_+_' applied to '(string, int)'"),
        ("self.tags.all(t, t)", "found no matching overload for '_&&_' applied to '(bool, string)'"),
        ("self.name.all(t, true)", "expression of type 'string' cannot be range of a comprehension"),
        ("[1, 'a']", "1:5: expected type 'int' but found 'string'"),
        ("self.name == null", "found no matching overload for '_==_' applied to '(string, null)'"),
        ("self.name ? 1 : 2", "found no matching overload for '_?_:_' applied to '(string, int, int)'"),
        ("self.on ? 1 : 'a'", "found no matching overload for '_?_:_' applied to '(bool, int, string)'"),
        ("1 == 1u", "found no matching overload for '_==_' applied to '(int, uint)'"),
        ("self.name.matches('(')", "1:19: invalid matches argument"),
        ("self.every > duration('1x')", "invalid duration argument"),
        ("self.when > timestamp('yesterday')", "invalid timestamp argument"),
        ("self.when.getHours('Europe/Berlin') > 1", "invalid getHours argument"),
        ("Object{a: 1}", "undeclared reference to 'Object' (in container '')"),
        ("cel.bind(a, 1, a)", "undeclared reference to 'cel' (in container '')"),
        ("math.greatest(1, 2)", "undeclared reference to 'math' (in container '')"),
        ("{1.5: 1}", "unsupported key type: double"),
    ];
    for (source, wanted) in table {
        let error = environment().compile(source).unwrap_err().to_string();
        assert!(error.starts_with("compilation failed: ERROR: <input>:"), "{source}: {error}");
        assert!(error.contains(wanted), "{source}\n  gives  {error}\n  wanted {wanted}");
    }
    let Err(Error::Compile(issues)) = environment().compile("foo + self.bar == baz") else { panic!("compiled") };
    assert_eq!(issues.len(), 3, "{issues:?}");
}

#[test]
fn results_are_required() {
    let program = environment().compile("self.replicas").unwrap();
    let error = program.require(&[Type::Bool], false).unwrap_err();
    assert_eq!(error.to_string(), "must evaluate to bool");
    let error = program.require(&[Type::String, Type::Null], false).unwrap_err();
    assert_eq!(error.to_string(), "must evaluate to one of [string null_type]");
    let dynamic = environment().compile("self.port").unwrap();
    assert!(dynamic.require(&[Type::Bool], true).is_ok());
    assert!(dynamic.require(&[Type::Bool], false).is_err());
}

#[test]
fn names_are_escaped_both_ways() {
    let table = [
        ("a", Some("a")),
        ("a.b", Some("a__dot__b")),
        ("a-b", Some("a__dash__b")),
        ("a/b", Some("a__slash__b")),
        ("a__b", Some("a__underscores__b")),
        ("namespace", Some("__namespace__")),
        ("in", Some("__in__")),
        ("a_b", Some("a_b")),
        ("int", Some("int")),
        ("1a", None),
        ("", None),
        ("a b", None),
        ("é", None),
    ];
    for (name, escaped) in table {
        assert_eq!(escape(name).as_deref(), escaped, "{name}");
        if let Some(escaped) = escaped {
            assert_eq!(unescape(escaped).as_deref(), Some(name));
        }
    }
    assert_eq!(unescape("a__nothing__b"), None);
}

#[test]
fn declared_types_decide_how_json_is_read() {
    let object = json!({"name": "n", "replicas": 3, "ratio": 2, "when": "2020-01-02T03:04:05Z", "every": "90m",
        "data": "YWJj", "port": "80%", "tags": ["b", "a"], "labels": {"k": "v"}, "namespace": "ns", "a-b.c/d": 7,
        "nested": {}, "on": null});
    let table = [
        ("self.ratio == 2.0", "true"),
        ("type(self.ratio) == double", "true"),
        ("self.when.getFullYear()", "2020"),
        ("self.every == duration('1h30m')", "true"),
        ("string(self.data)", "\"abc\""),
        ("type(self.port) == string", "true"),
        ("self.tags == ['a', 'b']", "true"),
        ("self.tags + ['a', 'c']", r#"["b","a","c"]"#),
        ("self.labels.k", "\"v\""),
        ("self.__namespace__ + string(self.a__dash__b__dot__c__slash__d)", "\"ns7\""),
        ("has(self.nested.x)", "false"),
        ("self.nested.x", "no such key: x"),
        ("has(self.on)", "false"),
        ("self == self", "true"),
    ];
    let environment = environment();
    let shape = environment.compile("self").unwrap().result().clone();
    for (source, wanted) in table {
        let program = environment.compile(source).unwrap_or_else(|error| panic!("{source}: {error}"));
        let mut bindings = Bindings::default();
        bindings.bind("self", Value::from_json(&object, &shape.ty).unwrap());
        let found = program.evaluate(&bindings, &mut Budget::default()).and_then(|value| value.to_json());
        let found = found.map_or_else(|error| error.to_string(), |json| json.to_string());
        assert_eq!(found, wanted, "{source}");
    }
}

#[test]
fn lists_with_keys_compare_and_join_by_them() {
    let schema = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
        "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}}});
    let shape: Shape = shape_of_schema(&schema, false, "self").unwrap();
    let environment = Environment::default().with("self", shape.clone()).with("oldSelf", shape.clone());
    let (new, old) = (json!([{"k": "a", "v": 1}, {"k": "b", "v": 2}]), json!([{"k": "b", "v": 2}, {"k": "a", "v": 1}]));
    let mut bindings = Bindings::default();
    bindings.bind("self", Value::from_json(&new, &shape.ty).unwrap());
    bindings.bind("oldSelf", Value::from_json(&old, &shape.ty).unwrap());
    for source in ["self == oldSelf", "size(self + oldSelf) == 2", "(self + oldSelf)[0].k == 'a'"] {
        let program = environment.compile(source).unwrap();
        assert_eq!(program.holds(&bindings, &mut Budget::default()), Ok(true), "{source}");
    }
    assert!(environment.compile("self == oldSelf").unwrap().uses().contains("oldSelf"));
}
