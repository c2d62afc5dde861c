//! Rules with a language that only knows a few words.

use serde_json::json;

use super::*;

/// A language for tests: `true`, `false`, `fail`, `same` (self equals oldSelf), `dear`, `spend`; all else does not compile.
struct Words;

#[derive(Debug)]
struct Word {
    word: String,
    message: Option<String>,
}

impl Rules for Words {
    fn compile(&self, site: &Site<'_>) -> Vec<Result<Compiled, Fault>> {
        let words = site.schema.extensions.rules.iter();
        words
            .map(|rule| {
                let word = rule.rule.to_string();
                if !["true", "false", "fail", "same", "dear", "spend"].contains(&word.as_str()) {
                    return Err(Fault { in_message: false, detail: format!("undeclared reference to '{word}'") });
                }
                let message = Some(rule.message_expression.to_string()).filter(|text| !text.is_empty());
                let cost = if word == "dear" { RULE_COST_MAX + 1 } else { site.cardinality };
                let uses_old_self = word == "same";
                Ok(Compiled { program: Arc::new(Word { word, message }), uses_old_self, cost, message_cost: 0 })
            })
            .collect()
    }

    fn cardinality(&self, schema: &Schema, around: u64) -> u64 {
        let most = schema.checks.as_ref().and_then(|checks| checks.max_items.or(checks.max_properties));
        around.saturating_mul(most.unwrap_or(7))
    }
}

impl Program for Word {
    fn evaluate(&self, scope: &Scope<'_>) -> Outcome {
        let holds = |holds: bool| if holds { Verdict::Holds } else { Verdict::Violated(self.message.clone()) };
        let verdict = match self.word.as_str() {
            "false" => holds(false),
            "fail" => Verdict::Failed("no such key: x".into()),
            "same" => holds(scope.old.is_none_or(|old| old == scope.value)),
            "spend" if scope.budget < OBJECT_COST_MAX / 2 => Verdict::OutOfBudget,
            _ => Verdict::Holds,
        };
        Outcome { cost: if self.word == "spend" { OBJECT_COST_MAX * 3 / 5 } else { 1 }, verdict }
    }
}

fn ruled(value: Value) -> (Schema, Vec<String>) {
    let mut schema = Schema::parse(&value).expect("a schema");
    let causes = compile(&mut schema, Some(&Words), &Place::at("s"));
    (schema, causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect())
}

fn with(rules: Value) -> Value {
    json!({"type": "object", "properties": {"a": {"type": "string", "x-kubernetes-validations": rules}}})
}

#[test]
fn without_the_language_rules_are_refused() {
    let mut schema = Schema::parse(&with(json!([{"rule": "true"}]))).expect("a schema");
    let causes = compile(&mut schema, None, &Place::at("s"));
    assert_eq!(causes.len(), 1);
    assert_eq!(causes[0].field, "s.properties[a].x-kubernetes-validations");
    assert!(causes[0].message.contains("does not evaluate rules in CEL"), "{}", causes[0].message);
    // And what got past that is not let through.
    let causes = evaluate(&schema, &json!({"a": "x"}), None);
    assert_eq!(causes[0].reason, "InternalError");
}

#[test]
fn bad_rules_are_told_why() {
    for (rules, cause) in [
        (
            json!([{"rule": " "}]),
            "s.properties[a].x-kubernetes-validations[0].rule: Required value: rule is not specified",
        ),
        (
            json!([{"rule": "true", "message": " "}]),
            "s.properties[a].x-kubernetes-validations[0].message: Invalid value: \" \": message must be non-empty if specified",
        ),
        (
            json!([{"rule": "tr\nue"}]),
            "s.properties[a].x-kubernetes-validations[0].message: Required value: message must be specified if rule contains line \
             breaks",
        ),
        (
            json!([{"rule": "true", "reason": "Because"}]),
            "s.properties[a].x-kubernetes-validations[0].reason: Unsupported value: \"Because\": supported values: \
             \"FieldValueDuplicate\", \"FieldValueForbidden\", \"FieldValueInvalid\", \"FieldValueRequired\"",
        ),
        (
            json!([{"rule": "true", "fieldPath": ".nope"}]),
            "s.properties[a].x-kubernetes-validations[0].fieldPath: Invalid value: \".nope\": fieldPath must be a valid path",
        ),
        (
            json!([{"rule": "what"}]),
            "s.properties[a].x-kubernetes-validations[0].rule: Invalid value: {\"rule\":\"what\"}: undeclared reference to 'what'",
        ),
        (
            json!([{"rule": "true", "optionalOldSelf": true}]),
            "s.properties[a].x-kubernetes-validations[0].optionalOldSelf: Invalid value: true: may not be set if oldSelf is not \
             used in rule",
        ),
        (
            json!([{"rule": "dear"}]),
            "s.properties[a].x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of \
             1.000000x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and \
             strings are declared)",
        ),
    ] {
        assert_eq!(ruled(with(rules.clone())).1, [cause], "{rules}");
    }
    let (_, causes) = ruled(json!({"type": "object", "properties": {"l": {
        "type": "array", "items": {"type": "string", "x-kubernetes-validations": [{"rule": "same"}]},
    }}}));
    assert_eq!(
        causes,
        [
            "s.properties[l].items.x-kubernetes-validations[0].rule: Invalid value: \"same\": oldSelf cannot be used on the \
          uncorrelatable portion of the schema within s.properties[l]"
        ]
    );
}

#[test]
fn violations_read_as_upstreams() {
    for (rule, message) in [
        (json!({"rule": "true"}), None),
        (json!({"rule": "false"}), Some("Invalid value: \"x\": failed rule: false")),
        (json!({"rule": "false", "message": " m "}), Some("Invalid value: \"x\": m")),
        (json!({"rule": "false", "message": "m", "messageExpression": "e"}), Some("Invalid value: \"x\": e")),
        (json!({"rule": "false", "message": "m", "reason": "FieldValueForbidden"}), Some("Forbidden: m")),
        (json!({"rule": "false", "message": "m", "reason": "FieldValueRequired"}), Some("Required value: m")),
        (json!({"rule": "false", "message": "m", "reason": "FieldValueDuplicate"}), Some("Duplicate value: \"x\"")),
        (json!({"rule": "fail"}), Some("Invalid value: \"x\": no such key: x evaluating rule: fail")),
    ] {
        let (schema, causes) = ruled(with(json!([rule])));
        assert_eq!(causes, Vec::<String>::new(), "{rule}");
        let found = evaluate(&schema, &json!({"a": "x"}), None);
        assert_eq!(found.first().map(|cause| cause.message.as_str()), message, "{rule}");
        assert!(found.iter().all(|cause| cause.field == "a"));
    }
    let (schema, _) = ruled(json!({
        "type": "object", "properties": {"a": {"type": "object", "properties": {"b": {"type": "string"}}}},
        "x-kubernetes-validations": [{"rule": "false", "message": "m", "fieldPath": ".a.b"}],
    }));
    let found = evaluate(&schema, &json!({"a": {}}), None);
    assert_eq!((found[0].field.as_str(), found[0].message.as_str()), ("a.b", "Invalid value: m"));
}

#[test]
fn old_values_are_paired_and_unchanged_ones_forgiven() {
    let (schema, causes) = ruled(json!({"type": "object", "properties": {
        "fixed": {"type": "string", "x-kubernetes-validations": [{"rule": "same"}]},
        "bad": {"type": "string", "x-kubernetes-validations": [{"rule": "false"}]},
        "list": {
            "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {
                "type": "object", "x-kubernetes-validations": [{"rule": "same"}],
                "properties": {"k": {"type": "string"}, "v": {"type": "string"}},
            },
        },
    }}));
    assert_eq!(causes, Vec::<String>::new());
    let old = json!({"fixed": "x", "bad": "x", "list": [{"k": "1", "v": "a"}]});
    let fields = |new: Value, old: Option<&Value>| -> Vec<String> {
        evaluate(&schema, &new, old).into_iter().map(|cause| cause.field).collect()
    };
    assert_eq!(fields(old.clone(), None), ["bad"]);
    assert_eq!(fields(old.clone(), Some(&old)), Vec::<String>::new());
    let new = json!({"fixed": "y", "bad": "y", "list": [{"k": "2"}, {"k": "1", "v": "b"}]});
    assert_eq!(fields(new, Some(&old)), ["bad", "fixed", "list[1]"]);
}

#[test]
fn what_may_be_spent_is_bounded() {
    let (schema, _) = ruled(json!({"type": "object", "properties": {"l": {
        "type": "array", "items": {"type": "string", "x-kubernetes-validations": [{"rule": "spend"}]},
    }}}));
    let found = evaluate(&schema, &json!({"l": ["a", "b", "c", "d"]}), None);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].field, "l[1]");
    assert!(found[0].message.contains("running out of cost budget"));
}
