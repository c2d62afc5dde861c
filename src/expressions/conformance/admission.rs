//! Expressions as admission policies and match conditions write them.

use serde_json::json;

use crate::{
    AUTHORIZER, Authorization, Authorizer, Bindings, Budget, Decision, Environment, Error, Program, Question,
    RESOURCE_CHECK, Shape, Type, Value,
};

#[derive(Debug)]
struct Rules;

impl Authorizer for Rules {
    fn decide(&self, question: &Question) -> Decision {
        let allowed = match &question.path {
            Some(path) => path == "/healthz" && question.verb == "get",
            None => question.resource == "pods" && question.namespace == "default" && question.verb == "create",
        };
        let error = (question.verb == "fail").then(|| "no answer".to_owned());
        Decision { allowed, reason: format!("{}/{}", question.group, question.name), error }
    }
}

fn environment() -> Environment {
    let request = [
        ("operation".to_owned(), Type::String.into()),
        ("dryRun".to_owned(), Type::Bool.into()),
        ("userInfo".to_owned(), Shape::object("userInfo", [("username".to_owned(), Type::String.into())])),
    ];
    Environment::default()
        .with("object", Type::Dyn)
        .with("oldObject", Type::Dyn)
        .with("params", Type::Dyn)
        .with("namespaceObject", Type::Dyn)
        .with("request", Shape::object("kubernetes.AdmissionRequest", request))
        .with("authorizer", AUTHORIZER)
        .with("authorizer.requestResource", RESOURCE_CHECK)
}

#[test]
fn policies_are_evaluated() {
    let object = json!({"metadata": {"name": "n", "labels": {"a/b": "c"}}, "spec": {"replicas": 7,
        "template": {"spec": {"containers": [{"name": "c", "image": "reg.io/app:1"}, {"name": "d", "image": "app"}]}}}});
    let params = json!({"spec": {"maxReplicas": 5}});
    let request = json!({"operation": "CREATE", "userInfo": {"username": "system:node:a"}});
    let mut bindings = Bindings::default();
    let nothing = json!(null);
    bindings.bind("object", Value::dynamic(&object));
    bindings.bind("oldObject", Value::dynamic(&nothing));
    bindings.bind("params", Value::dynamic(&params));
    let shape = environment().compile("request").unwrap().result().clone();
    bindings.bind("request", Value::from_json(&request, &shape.ty).unwrap());
    bindings.bind("authorizer", Authorization::authorizer(&Rules));
    let asked = Question { resource: "pods".into(), namespace: "default".into(), ..Question::default() };
    bindings.bind("authorizer.requestResource", Authorization::request_resource(&Rules, asked));
    let table = [
        ("object.spec.replicas <= params.spec.maxReplicas", "false"),
        ("oldObject == null || object.spec.replicas >= oldObject.spec.replicas", "true"),
        ("object.spec.template.spec.containers.all(c, c.image.contains('/'))", "false"),
        ("object.?spec.?paused.orValue(false)", "false"),
        ("object.metadata.labels['a/b'] == 'c' && 'a/b' in object.metadata.labels", "true"),
        ("has(object.metadata.annotations) && object.metadata.annotations.x == 'y'", "false"),
        ("request.operation == 'CREATE' && !request.userInfo.username.startsWith('system:serviceaccount:')", "true"),
        ("'replicas are ' + string(object.spec.replicas)", "\"replicas are 7\""),
        ("authorizer.path('/healthz').check('get').allowed()", "true"),
        ("authorizer.group('').resource('pods').namespace('default').name('x').check('create').allowed()", "true"),
        ("authorizer.group('g').resource('pods').name('x').check('create').reason()", "\"g/x\""),
        ("authorizer.group('').resource('pods').check('fail').errored()", "true"),
        (
            "authorizer.serviceAccount('a', 'b').group('').resource('x').fieldSelector('a=b').check('get').error()",
            "\"\"",
        ),
        ("authorizer.requestResource.check('create').allowed()", "true"),
    ];
    for (source, wanted) in table {
        let program = environment().compile(source).unwrap_or_else(|error| panic!("{source}: {error}"));
        let found = program.evaluate(&bindings, &mut Budget::default()).and_then(|value| value.to_json());
        assert_eq!(found.map_or_else(|error| error.to_string(), |json| json.to_string()), wanted, "{source}");
    }
    let three = "[1, 2, 3].all(i, authorizer.path('/a').check('get').allowed() || true)";
    let program = environment().compile(three).unwrap();
    assert_eq!(program.holds(&bindings, &mut Budget::default()), Err(Error::CostExceeded));
    // An optional that holds is an error of the author, not a truth value.
    let program = environment().compile("object.spec.replicas").unwrap();
    program.require(&[Type::Bool], true).unwrap();
    assert!(program.holds(&bindings, &mut Budget::default()).is_err());
}

#[test]
fn variables_are_composed_and_evaluated_once() {
    let object = json!({"items": [1, 2, 3]});
    let sources =
        [("sum", "object.items.map(i, int(i)).sum()"), ("twice", "variables.sum * 2"), ("broken", "object.nothing")];
    let mut programs: Vec<(&str, Program)> = Vec::new();
    let mut fields: Vec<(String, Shape)> = Vec::new();
    for (name, source) in sources {
        let environment = environment().with("variables", Shape::object("kubernetes.variables", fields.clone()));
        let program = environment.compile(source).unwrap_or_else(|error| panic!("{source}: {error}"));
        fields.push((name.to_owned(), program.result().clone()));
        programs.push((name, program));
    }
    let environment = environment().with("variables", Shape::object("kubernetes.variables", fields));
    let mut bindings = Bindings::default();
    bindings.bind("object", Value::dynamic(&object));
    bindings.compose(programs.iter().map(|(name, program)| (*name, program)));
    let mut budget = Budget::default();
    let before = budget.remaining();
    let program = environment.compile("variables.twice == 12 && variables.sum == 6").unwrap();
    assert_eq!(program.holds(&bindings, &mut budget), Ok(true));
    let first = before - budget.remaining();
    assert_eq!(program.holds(&bindings, &mut budget), Ok(true));
    let second = before - first - budget.remaining();
    assert!(second < first, "{second} is not less than {first}: the variables were evaluated again");
    let program = environment.compile("variables.broken == 1").unwrap();
    let error = program.holds(&bindings, &mut budget).unwrap_err();
    assert_eq!(error.to_string(), "composited variable \"broken\" fails to evaluate: no such key: nothing");
    let error = environment.compile("variables.nothing").unwrap_err();
    assert!(error.to_string().contains("undefined field 'nothing'"), "{error}");
    let error = environment.compile("variables.twice == ''").unwrap_err();
    assert!(error.to_string().contains("'_==_' applied to '(int, string)'"), "{error}");
}

#[test]
fn mutations_are_written_as_objects_and_patches() {
    let environment = environment().with_mutation();
    let object = json!({"spec": {"containers": [{"name": "a"}]}, "metadata": {"labels": {"k": "v"}}});
    let mut bindings = Bindings::default();
    bindings.bind("object", Value::dynamic(&object));
    let table = [
        ("Object{spec: Object.spec{replicas: 3, paused: true}}", Ok(json!({"spec": {"replicas": 3, "paused": true}}))),
        (
            "Object{spec: Object.spec{containers: object.spec.containers.map(c, Object.spec.containers{name: c.name})}}",
            Ok(json!({"spec": {"containers": [{"name": "a"}]}})),
        ),
        (
            "Object{metadata: Object.metadata{labels: {'a-b': 'c'}, ?annotations: optional.none()}}",
            Ok(json!({"metadata": {"labels": {"a-b": "c"}}})),
        ),
        ("Object{spec: Object.metadata{a: 1}}", Err("unexpected type name \"Object.metadata\"")),
        (
            "[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b~c'), value: 'x'}]",
            Ok(json!([{"op": "add", "path": "/metadata/labels/a~1b~0c", "value": "x"}])),
        ),
        (
            "[JSONPatch{op: 'add', path: '/spec', value: Object.spec{a: 1}}, JSONPatch{op: 'remove', path: '/x'}]",
            Ok(json!([{"op": "add", "path": "/spec", "value": {"a": 1}}, {"op": "remove", "path": "/x"}])),
        ),
    ];
    for (source, wanted) in table {
        let program = environment.compile(source).unwrap_or_else(|error| panic!("{source}: {error}"));
        let found = program.evaluate(&bindings, &mut Budget::default()).and_then(|value| value.to_json());
        match (found, wanted) {
            (Ok(found), Ok(wanted)) => assert_eq!(found, wanted, "{source}"),
            (Err(error), Err(wanted)) => assert!(error.to_string().contains(wanted), "{source}: {error}"),
            (found, wanted) => panic!("{source}: {found:?}, wanted {wanted:?}"),
        }
    }
    assert_eq!(environment.compile("Object{}").unwrap().result().ty.to_string(), "Object");
    assert_eq!(environment.compile("[JSONPatch{op: 'a'}]").unwrap().result().ty.to_string(), "list(JSONPatch)");
    for (source, wanted) in [
        ("JSONPatch{op: 1}", "expected type of field 'op' is 'string' but provided type is 'int'"),
        ("JSONPatch{foo: 1}", "undefined field 'foo'"),
        ("Pod{}", "undeclared reference to 'Pod'"),
    ] {
        let error = environment.compile(source).unwrap_err().to_string();
        assert!(error.contains(wanted), "{source}: {error}");
    }
}
