//! Rules of CRDs in the wild, against schemas like theirs.

use serde_json::{Value as Json, json};

use crate::{Bindings, Budget, ESTIMATE_LIMIT, Environment, Value, shape_of_schema};

/// Every row: schema, rule, an object, the object before it, whether it holds.
#[test]
fn rules_of_well_known_crds() {
    let route = json!({"type": "object", "required": ["name"], "properties": {
        "name": {"type": "string", "maxLength": 253},
        "group": {"type": "string", "maxLength": 253},
        "kind": {"type": "string", "maxLength": 63},
        "namespace": {"type": "string", "maxLength": 63},
        "port": {"type": "integer"}}});
    let listeners = json!({"type": "array", "maxItems": 64, "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"], "items": {"type": "object", "properties": {
            "name": {"type": "string", "maxLength": 253}, "hostname": {"type": "string", "maxLength": 253},
            "port": {"type": "integer"}, "protocol": {"type": "string", "maxLength": 255},
            "tls": {"type": "object", "properties": {"mode": {"type": "string", "maxLength": 63}}}}}});
    let spec = json!({"type": "object", "properties": {
        "minReplicas": {"type": "integer"}, "maxReplicas": {"type": "integer"}, "replicas": {"type": "integer"},
        "storageClass": {"type": "string", "maxLength": 63}, "size": {"x-kubernetes-int-or-string": true, "maxLength": 20},
        "schedule": {"type": "string", "maxLength": 100}, "ttl": {"type": "string", "format": "duration"},
        "cidr": {"type": "string", "maxLength": 50},
        "labels": {"type": "object", "maxProperties": 20, "additionalProperties": {"type": "string", "maxLength": 63}}}});
    let table: Vec<(&Json, &str, Json, Json, bool)> = vec![
        (
            &route,
            "(size(self.group) == 0 && self.kind == 'Service') ? has(self.port) : true",
            json!({"name": "a", "group": "", "kind": "Service"}),
            json!(null),
            false,
        ),
        (
            &listeners,
            "self.all(l, l.protocol in ['HTTP', 'TCP', 'UDP'] ? !has(l.tls) : true)",
            json!([{"name": "a", "protocol": "HTTP", "tls": {}}]),
            json!(null),
            false,
        ),
        (
            &listeners,
            "self.all(l, !(l.protocol == 'TLS') || (has(l.tls) && has(l.tls.mode) && l.tls.mode != ''))",
            json!([{"name": "a", "protocol": "TLS", "tls": {"mode": "Terminate"}}]),
            json!(null),
            true,
        ),
        (
            &listeners,
            "self.all(l1, self.exists_one(l2, l1.port == l2.port && l1.protocol == l2.protocol && (has(l1.hostname) && \
             has(l2.hostname) ? l1.hostname == l2.hostname : !has(l1.hostname) && !has(l2.hostname))))",
            json!([{"name": "a", "port": 1, "protocol": "TCP"}, {"name": "b", "port": 1, "protocol": "TCP"}]),
            json!(null),
            false,
        ),
        (&spec, "self.minReplicas <= self.maxReplicas", json!({"minReplicas": 1, "maxReplicas": 3}), json!(null), true),
        (
            &spec,
            "self.storageClass == oldSelf.storageClass",
            json!({"storageClass": "a"}),
            json!({"storageClass": "b"}),
            false,
        ),
        (
            &spec,
            "!has(oldSelf.replicas) || self.replicas >= oldSelf.replicas",
            json!({"replicas": 3}),
            json!({"replicas": 2}),
            true,
        ),
        (
            &spec,
            "type(self.size) == int ? self.size > 0 : quantity(self.size).isGreaterThan(quantity('0'))",
            json!({"size": "10Gi"}),
            json!(null),
            true,
        ),
        (&spec, r"self.schedule.matches('^(\\S+\\s+){4}\\S+$')", json!({"schedule": "0 0 * * *"}), json!(null), true),
        (&spec, "self.ttl >= duration('30s')", json!({"ttl": "1m"}), json!(null), true),
        (&spec, "self.ttl >= duration('30s')", json!({"ttl": "1s"}), json!(null), false),
        (
            &spec,
            "isCIDR(self.cidr) && cidr(self.cidr).ip().family() == 4",
            json!({"cidr": "10.0.0.0/8"}),
            json!(null),
            true,
        ),
        (
            &spec,
            "self.labels.all(k, self.labels[k].matches('^[a-z]+$') && k.size() < 10)",
            json!({"labels": {"a": "b", "c": "D"}}),
            json!(null),
            false,
        ),
        (&spec, "!('x' in self.labels) || self.labels.x == 'y'", json!({"labels": {"x": "y"}}), json!(null), true),
        (&spec, "[has(self.cidr), has(self.ttl)].exists_one(x, x)", json!({"cidr": ""}), json!(null), true),
    ];
    for (schema, source, new, old, wanted) in table {
        let shape = shape_of_schema(schema, false, "self").unwrap();
        let environment = Environment::default().with("self", shape.clone()).with("oldSelf", shape.clone());
        let program = environment.compile(source).unwrap_or_else(|error| panic!("{source}: {error}"));
        program.require(&[crate::Type::Bool], false).unwrap_or_else(|error| panic!("{source}: {error}"));
        assert!(program.estimate() <= ESTIMATE_LIMIT, "{source}: {}", program.estimate());
        assert_eq!(program.uses().contains("oldSelf"), source.contains("oldSelf"));
        let mut bindings = Bindings::default();
        bindings.bind("self", Value::from_json(&new, &shape.ty).unwrap());
        if !old.is_null() {
            bindings.bind("oldSelf", Value::from_json(&old, &shape.ty).unwrap());
        }
        assert_eq!(program.holds(&bindings, &mut Budget::default()), Ok(wanted), "{source}");
    }
}

#[test]
fn schemas_that_expressions_cannot_see_have_no_shape() {
    for schema in [
        json!({}),
        json!({"x-kubernetes-preserve-unknown-fields": true}),
        json!({"type": "array"}),
        json!({"type": "array", "items": {"x-kubernetes-preserve-unknown-fields": true}}),
        json!({"type": "object", "additionalProperties": {}}),
    ] {
        assert!(shape_of_schema(&schema, false, "self").is_none(), "{schema}");
    }
    // An object without properties is visible, and has no fields.
    assert!(shape_of_schema(&json!({"type": "object"}), false, "self").is_some());
}
