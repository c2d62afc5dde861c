//! Policies of the cluster's own.

use super::*;

fn policy(name: &str, spec: Value) -> Value {
    let mut spec = spec;
    if spec["matchConstraints"].is_null() {
        spec["matchConstraints"] = json!({"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"],
            "operations": ["CREATE", "UPDATE"], "resources": ["deployments"]}]});
    }
    object("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", name, json!({ "spec": spec }))
}

fn binding(policy: &str, rest: Value) -> Value {
    let mut spec = json!({"policyName": policy, "validationActions": ["Deny"]});
    for (key, value) in rest.as_object().unwrap() {
        spec[key.as_str()] = value.clone();
    }
    object(
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicyBinding",
        &format!("{policy}-b"),
        json!({ "spec": spec }),
    )
}

fn web(replicas: i64) -> Value {
    object("apps/v1", "Deployment", "web", json!({"spec": {"replicas": replicas}}))
}

#[test]
fn expressions_that_do_not_compile_are_refused_where_they_are_written() {
    let bad = policy(
        "p",
        json!({"validations": [{"expression": "object.spec.replicas <"}, {"expression": "'text'"},
        {"expression": "true", "messageExpression": "1"}, {"expression": "params.x == 1"}, {"expression": "authorizer != null"}],
        "matchConditions": [{"name": "c", "expression": "nothing"}], "variables": [{"name": "v", "expression": "variables.w"}]}),
    );
    let status = validate(&request(&State::default(), &bad, None), &bad).unwrap_err();
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));
    let fields: Vec<&str> = status.details.causes.iter().map(|cause| cause.field.as_str()).collect();
    let wanted = [
        "spec.matchConditions[0].expression",
        "spec.variables[0].expression",
        "spec.validations[0].expression",
        "spec.validations[1].expression",
        "spec.validations[2].messageExpression",
        "spec.validations[3].expression",
        "spec.validations[4].expression",
    ];
    assert_eq!(fields, wanted);
    assert!(
        status.message.contains("compilation failed: ERROR: <input>:1:1: undeclared reference to 'nothing'"),
        "{}",
        status.message
    );
}

#[test]
fn policies_decide_as_they_are_bound() {
    let few = |spec: Value| {
        let mut all = json!({"validations": [{"expression": "object.spec.replicas <= 5"}]});
        for (key, value) in spec.as_object().unwrap() {
            all[key.as_str()] = value.clone();
        }
        policy("few", all)
    };
    let head =
        "deployments.apps \"web\" is forbidden: ValidatingAdmissionPolicy 'few' with binding 'few-b' denied request: ";
    let rows = [
        (few(json!({})), json!({}), web(6), "failed expression: object.spec.replicas <= 5"),
        (few(json!({})), json!({}), web(5), ""),
        (few(json!({"validations": [{"expression": "false", "message": "no"}]})), json!({}), web(1), "no"),
        (
            few(json!({"variables": [{"name": "n", "expression": "object.spec.replicas"}],
                "validations": [{"expression": "variables.n < 3", "message": "no", "messageExpression": "'not ' + string(variables.n)"}]})),
            json!({}),
            web(4),
            "not 4",
        ),
        (
            few(json!({"validations": [{"expression": "object.spec.none == 1"}]})),
            json!({}),
            web(1),
            "expression 'object.spec.none == 1' resulted in error: no such key: none",
        ),
        (
            few(json!({"validations": [{"expression": "object.spec.none == 1"}], "failurePolicy": "Ignore"})),
            json!({}),
            web(1),
            "",
        ),
        (
            few(json!({"matchConditions": [{"name": "c", "expression": "request.operation == 'UPDATE'"}]})),
            json!({}),
            web(6),
            "",
        ),
        (
            few(
                json!({"matchConditions": [{"name": "c", "expression": "request.namespace == 'd' && !request.dryRun"}]}),
            ),
            json!({}),
            web(6),
            "failed expression: object.spec.replicas <= 5",
        ),
        (
            few(json!({})),
            json!({"matchResources": {"namespaceSelector": {"matchLabels": {"strict": "yes"}}}}),
            web(6),
            "",
        ),
        (few(json!({})), json!({"matchResources": {"objectSelector": {"matchLabels": {"strict": "yes"}}}}), web(6), ""),
        (
            few(json!({})),
            json!({"matchResources": {"resourceRules": [{"apiGroups": ["*"], "apiVersions": ["*"],
            "operations": ["DELETE"], "resources": ["*"]}]}}),
            web(6),
            "",
        ),
        (
            few(json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
            "validations": [{"expression": "object.spec.replicas <= int(params.data.most)"}]})),
            json!({"paramRef": {"name": "most"}}),
            web(3),
            "failed expression: object.spec.replicas <= int(params.data.most)",
        ),
        (
            few(json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}})),
            json!({"paramRef": {"name": "gone"}}),
            web(3),
            "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction",
        ),
        (
            few(json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}})),
            json!({"paramRef": {"name": "gone", "parameterNotFoundAction": "Allow"}}),
            web(9),
            "",
        ),
    ];
    for (policy, rest, value, wanted) in rows {
        let most = object("v1", "ConfigMap", "most", json!({"data": {"most": "2"}}));
        let state = state(&[namespace(json!({})), policy.clone(), binding("few", rest.clone()), most]);
        let found = verdict(&state, &value, None);
        let wanted = if wanted.is_empty() { String::new() } else { format!("{head}{wanted}") };
        assert_eq!(found, wanted, "{policy} {rest}");
    }
    // Not bound, or bound and only to be told.
    assert_eq!(verdict(&state(&[few(json!({}))]), &web(6), None), "");
    let warned = state(&[few(json!({})), binding("few", json!({"validationActions": ["Warn", "Audit"]}))]);
    let warnings = validate(&request(&warned, &web(6), None), &web(6)).unwrap();
    let wanted = "Validation failed for ValidatingAdmissionPolicy 'few' with binding 'few-b': failed expression: object.spec.replicas <= 5";
    assert_eq!(warnings, [wanted]);
}

#[test]
fn reasons_have_their_codes_and_deletions_are_asked_about() {
    let spec = json!({"validations": [{"expression": "oldObject.spec.replicas == 0", "reason": "Forbidden"}],
        "matchConstraints": {"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["*"], "operations": ["DELETE"], "resources": ["*/*"]}]}});
    let state = state(&[policy("keep", spec), binding("keep", json!({}))]);
    let value = web(1);
    let going = Request { operation: Operation::Delete, ..request(&state, &value, Some(&value)) };
    let status = ask(&going, &json!(null)).unwrap_err();
    assert_eq!((status.code, status.reason.as_str()), (403, "Forbidden"));
    let value = web(0);
    ask(&Request { operation: Operation::Delete, ..request(&state, &value, Some(&value)) }, &json!(null)).unwrap();
    // Nobody can lock himself out with a policy about policies.
    let all = json!({"validations": [{"expression": "false"}],
        "matchConstraints": {"resourceRules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}]}});
    let locked = super::state(&[policy("none", all.clone()), binding("none", json!({}))]);
    assert_eq!(verdict(&locked, &policy("none", all), None), "");
    assert!(!verdict(&locked, &web(1), None).is_empty());
}
