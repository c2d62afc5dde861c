//! Bodies made to hurt: too deep, too large, broken encodings, lengths that lie. Each gets a Status that names the place,
//! and changes nothing.

use super::refusals::{Row, refuse};
use super::*;

const CM: &str = "/api/v1/namespaces/d/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/d/deployments";
const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";
const APPLY: &str = "application/apply-patch+yaml";
const LEVELS: usize = 10_000;

/// A field of a protobuf message that holds bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend(bytes);
    out
}

/// A field of a protobuf message that holds a number.
fn number(number: u8, value: u8) -> Vec<u8> {
    vec![number << 3, value]
}

fn envelope(api_version: &str, kind: &str, object: &[u8]) -> Vec<u8> {
    let types = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
    [b"k8s\0".to_vec(), field(1, &types), field(2, object)].concat()
}

/// A world with the ConfigMap and the Deployment that nothing here may change.
async fn world() -> (World, Vec<Value>) {
    let world = World::new().await;
    world.post(CM, &config_map("there")).await.expect(201);
    world.post(DEPLOYMENTS, &deployment("web", 1)).await.expect(201);
    world.post("/api/v1/namespaces/d/pods", &pod("p")).await.expect(201);
    let before = everything(&world).await;
    (world, before)
}

async fn everything(world: &World) -> Vec<Value> {
    let mut all = Vec::new();
    for path in [CM, DEPLOYMENTS, "/api/v1/namespaces/d/pods"] {
        all.push(world.get(path).await.expect(200)["items"].clone());
    }
    all
}

#[tokio::test]
async fn ten_thousand_levels_are_refused_everywhere() {
    let (world, before) = world().await;
    let lists = format!("{}1{}", "[".repeat(LEVELS), "]".repeat(LEVELS));
    let maps = format!("{}1{}", "{\"a\":".repeat(LEVELS), "}".repeat(LEVELS));
    let in_data = |deep: &str| format!(r#"{{"metadata":{{"name":"x"}},"data":{deep}}}"#);
    let (list_in, map_in) = (in_data(&lists), in_data(&maps));
    let applied =
        |deep: &str| format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"x"}},"data":{deep}}}"#);
    let (list_applied, map_applied) = (applied(&lists), applied(&maps));
    let block_list = format!("metadata:\n  name: x\ndata:\n  {}1\n", "- ".repeat(LEVELS));
    let block_keys = format!("data:\n  {}1\n", "? ".repeat(LEVELS));
    let flow_list = format!("metadata: {{name: x}}\ndata: {}1{}\n", "[".repeat(LEVELS), "]".repeat(LEVELS));
    let flow_map = format!("data: {}1{}\n", "{a: ".repeat(LEVELS), "}".repeat(LEVELS));
    let unended = "[".repeat(LEVELS);
    let operations = format!(r#"[{{"op":"add","path":"/data","value":{maps}}}]"#);
    let options = format!(r#"{{"preconditions":{maps}}}"#);
    let scale = format!(r#"{{"kind":"Scale","apiVersion":"autoscaling/v1","spec":{maps}}}"#);
    let review = format!(r#"{{"spec":{maps}}}"#);
    let target = format!(r#"{{"target":{maps}}}"#);
    let eviction = format!(r#"{{"deleteOptions":{maps}}}"#);
    let status = format!(r#"{{"status":{maps}}}"#);
    let (there, web) = (format!("{CM}/there"), format!("{DEPLOYMENTS}/web"));
    let pods = "/api/v1/namespaces/d/pods/p";
    let reviews = |kind: &str| format!("/apis/authorization.k8s.io/v1/{kind}");
    let deeper = "nests deeper than 512 levels at byte";
    let too_deep_yaml = "error decoding YAML: line ";
    let mut rows: Vec<Row<'_>> = Vec::new();
    for body in [&lists, &maps, &list_in, &map_in] {
        rows.push(("POST", CM.into(), JSON, body.as_bytes(), 400, "BadRequest", deeper));
        rows.push(("PUT", there.clone(), JSON, body.as_bytes(), 400, "BadRequest", deeper));
    }
    for body in [&block_list, &block_keys, &flow_list, &flow_map, &unended, &lists, &maps] {
        rows.push(("POST", CM.into(), YAML, body.as_bytes(), 400, "BadRequest", too_deep_yaml));
        rows.push(("PUT", there.clone(), YAML, body.as_bytes(), 400, "BadRequest", too_deep_yaml));
        rows.push(("DELETE", there.clone(), YAML, body.as_bytes(), 400, "BadRequest", too_deep_yaml));
        let apply = format!("{there}?fieldManager=m");
        rows.push(("PATCH", apply, APPLY, body.as_bytes(), 400, "BadRequest", too_deep_yaml));
    }
    for body in [&list_applied, &map_applied] {
        let create = format!("{CM}/x?fieldManager=m");
        rows.push(("PATCH", create, APPLY, body.as_bytes(), 400, "BadRequest", too_deep_yaml));
    }
    for (media, body, words) in [
        (MERGE, &map_in, deeper),
        (MERGE, &lists, deeper),
        (STRATEGIC, &map_in, deeper),
        (STRATEGIC, &list_in, deeper),
        (JSON_PATCH, &operations, "error decoding patch: recursion limit exceeded at line 1 column"),
        (JSON_PATCH, &lists, "error decoding patch: recursion limit exceeded at line 1 column"),
    ] {
        rows.push(("PATCH", there.clone(), media, body.as_bytes(), 400, "BadRequest", words));
    }
    for (method, path, media, body) in [
        ("DELETE", there.clone(), JSON, &options),
        ("DELETE", CM.to_owned(), JSON, &options),
        ("PUT", format!("{web}/scale"), JSON, &scale),
        ("PATCH", format!("{web}/scale"), MERGE, &scale),
        ("PUT", format!("{web}/status"), JSON, &status),
        ("POST", reviews("selfsubjectaccessreviews"), JSON, &review),
        ("POST", reviews("selfsubjectrulesreviews"), JSON, &review),
        ("POST", reviews("subjectaccessreviews"), JSON, &review),
        ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews".to_owned(), JSON, &review),
        ("POST", format!("{pods}/binding"), JSON, &target),
        ("POST", format!("{pods}/eviction"), JSON, &eviction),
    ] {
        rows.push((method, path, media, body.as_bytes(), 400, "BadRequest", deeper));
    }
    refuse(&world, rows).await;
    assert_eq!(everything(&world).await, before);
}

#[tokio::test]
async fn protobuf_may_not_nest_or_lie() {
    let (world, before) = world().await;
    let there = format!("{CM}/there");
    // Lists of lists of lists, each in an envelope of its own: prefixes only, so that it is built from the inside in one go.
    let mut nested = envelope("v1", "ConfigMap", b"");
    for _ in 0..1_000 {
        nested = envelope("v1", "List", &field(2, &field(1, &nested)));
    }
    let groups = envelope("v1", "ConfigMap", &[0x0b; LEVELS]);
    let json_in_fields = {
        let deep = format!("{}1{}", "{\"a\":".repeat(LEVELS), "}".repeat(LEVELS));
        let entry = field(7, &field(1, deep.as_bytes()));
        // managedFields is field 17: a tag of two bytes.
        let mut metadata = vec![0x8a, 0x01];
        metadata.extend(&field(1, &entry)[1..]);
        envelope("v1", "ConfigMap", &field(1, &metadata))
    };
    let name = |name: &str| field(1, &field(1, name.as_bytes()));
    let lies = envelope("v1", "ConfigMap", &[name("x"), vec![0x12, 0xff, 0xff, 0x03, b'a']].concat());
    let bad_text =
        envelope("v1", "ConfigMap", &[name("x"), field(2, &[field(1, b"k"), field(2, b"\xff")].concat())].concat());
    let bad_name = envelope("v1", "ConfigMap", &field(1, &field(1, b"\xc3\x28")));
    let wrong_wire = envelope("v1", "ConfigMap", &[name("x"), field(4, b"yes")].concat());
    let options = |object: &[u8]| envelope("v1", "DeleteOptions", object);
    let grace_of_text = options(&field(1, b"soon"));
    let truncated = {
        let mut body = options(&field(4, b"Background"));
        body.truncate(body.len() - 3);
        body
    };
    let sideways = options(&field(4, b"Sideways"));
    let dry_some = options(&field(5, b"Some"));
    let other_uid = options(&field(2, &field(1, b"other")));
    let config_map = envelope("v1", "ConfigMap", &name("there"));
    let (lying, text_place) = ("unexpected EOF", "unable to decode ConfigMap.data: text is not valid UTF-8");
    let rows: Vec<Row<'_>> = vec![
        ("POST", CM.into(), PROTOBUF, &nested, 400, "BadRequest", "nests deeper than 64 levels"),
        ("DELETE", there.clone(), PROTOBUF, &nested, 400, "BadRequest", "nests deeper than 64 levels"),
        ("POST", CM.into(), PROTOBUF, &groups, 400, "BadRequest", "nested too deep"),
        (
            "POST",
            CM.into(),
            PROTOBUF,
            &json_in_fields,
            400,
            "BadRequest",
            "unable to decode ManagedFieldsEntry.fieldsV1: invalid JSON: recursion limit exceeded",
        ),
        ("POST", CM.into(), PROTOBUF, &lies, 400, "BadRequest", lying),
        ("POST", CM.into(), PROTOBUF, &bad_text, 400, "BadRequest", text_place),
        ("PUT", there.clone(), PROTOBUF, &bad_text, 400, "BadRequest", text_place),
        ("POST", CM.into(), PROTOBUF, &bad_name, 400, "BadRequest", "unable to decode ObjectMeta.name: text is not"),
        (
            "POST",
            CM.into(),
            PROTOBUF,
            &wrong_wire,
            400,
            "BadRequest",
            "unable to decode ConfigMap.immutable: wrong wire",
        ),
        (
            "DELETE",
            there.clone(),
            PROTOBUF,
            &grace_of_text,
            400,
            "BadRequest",
            "unable to decode DeleteOptions.gracePeriodSeconds: wrong wire type",
        ),
        ("DELETE", there.clone(), PROTOBUF, &truncated, 400, "BadRequest", "unexpected EOF"),
        ("DELETE", there.clone(), PROTOBUF, b"{}", 400, "BadRequest", "expected prefix [107 56 115 0]"),
        ("DELETE", there.clone(), PROTOBUF, &sideways, 422, "Invalid", "propagationPolicy"),
        ("DELETE", there.clone(), PROTOBUF, &dry_some, 422, "Invalid", "dryRun"),
        (
            "DELETE",
            there.clone(),
            PROTOBUF,
            &other_uid,
            409,
            "Conflict",
            "the UID in the precondition (other) does not match",
        ),
        (
            "DELETE",
            there.clone(),
            PROTOBUF,
            &config_map,
            400,
            "BadRequest",
            "kind: \"ConfigMap\": decoded object cannot be converted to DeleteOptions",
        ),
        (
            "DELETE",
            there.clone(),
            JSON,
            br#"{"kind":"Pod","apiVersion":"v1"}"#,
            400,
            "BadRequest",
            "kind: \"Pod\": decoded object cannot be converted to DeleteOptions",
        ),
        ("DELETE", CM.into(), PROTOBUF, &config_map, 400, "BadRequest", "cannot be converted to DeleteOptions"),
    ];
    refuse(&world, rows).await;
    assert_eq!(everything(&world).await, before);

    // And what is well-formed is obeyed.
    let headers = [("content-type", PROTOBUF)];
    let tried = options(&[number(1, 0), field(4, b"Background"), field(5, b"All")].concat());
    world.send(admin(), "DELETE", &there, &headers, &tried).await.expect(200);
    assert_eq!(everything(&world).await, before, "a dry run removes nothing");
    let uid = before[0][0]["metadata"]["uid"].as_str().unwrap().to_owned();
    let done = options(&[number(1, 0), field(2, &field(1, uid.as_bytes())), field(4, b"Background")].concat());
    let gone = world.send(admin(), "DELETE", &there, &headers, &done).await.expect(200);
    assert_eq!((&gone["status"], &gone["details"]["uid"]), (&json!("Success"), &json!(uid)));
    world.get(&there).await.expect(404);
}

#[tokio::test]
async fn encodings_are_held_to_the_same_rules() {
    let (world, before) = world().await;
    let there = format!("{CM}/there");
    let strict = format!("{CM}?fieldValidation=Strict");
    let strict_there = format!("{there}?fieldValidation=Strict");
    let apply = format!("{there}?fieldManager=m");
    let apply_strict = format!("{apply}&force=true&fieldValidation=Strict");
    let name = |name: &str| field(1, &field(1, name.as_bytes()));
    let unknown = envelope("v1", "ConfigMap", &[name("x"), field(15, b"later")].concat());
    let unknown_inside = envelope("v1", "ConfigMap", &field(1, &[field(1, b"x"), vec![0x98, 0x06, 0x01]].concat()));
    let rows: Vec<Row<'_>> = vec![
        // Repeated keys: in YAML an error of the text itself.
        (
            "POST",
            CM.into(),
            YAML,
            b"metadata: {name: x}\ndata:\n  a: b\n  a: c\n",
            400,
            "BadRequest",
            "duplicate mapping key: a",
        ),
        ("POST", CM.into(), YAML, b"metadata: {name: x, name: y}\n", 400, "BadRequest", "duplicate mapping key: name"),
        ("POST", strict.clone(), YAML, b"data: {}\ndata: {}\n", 400, "BadRequest", "duplicate mapping key: data"),
        ("PUT", there.clone(), YAML, b"data: {}\ndata: {}\n", 400, "BadRequest", "duplicate mapping key: data"),
        ("PATCH", apply.clone(), APPLY, b"data:\n  a: b\n  a: c\n", 400, "BadRequest", "duplicate mapping key: a"),
        (
            "PATCH",
            strict_there.clone(),
            MERGE,
            br#"{"data":{"a":"2","a":"3"}}"#,
            422,
            "Invalid",
            "strict decoding error: duplicate field \"data.a\"",
        ),
        (
            "PATCH",
            apply_strict.clone(),
            APPLY,
            br#"{"apiVersion":"v1","kind":"ConfigMap","data":{"a":"2","a":"3"}}"#,
            400,
            "BadRequest",
            "strict decoding error: duplicate field \"data.a\"",
        ),
        // Bytes that are no text.
        ("POST", CM.into(), YAML, b"metadata: {name: x}\ndata: {a: \xff}\n", 400, "BadRequest", "byte 30 is not UTF-8"),
        ("PUT", there.clone(), YAML, b"\xff\xfe", 400, "BadRequest", "byte 0 is not UTF-8"),
        ("PATCH", apply.clone(), APPLY, b"data: \"\xc3\x28\"", 400, "BadRequest", "byte 7 is not UTF-8"),
        (
            "POST",
            CM.into(),
            JSON,
            b"{\"metadata\":{\"name\":\"x\"},\"data\":{\"a\":\"\xff\"}}",
            400,
            "BadRequest",
            "line 1 column 39",
        ),
        (
            "POST",
            CM.into(),
            JSON,
            b"{\"metadata\":{\"name\":\"x\"},\"data\":{\"\xc3\x28\":\"\"}}",
            400,
            "BadRequest",
            "line 1 column 3",
        ),
        ("PUT", there.clone(), JSON, b"{\"data\":{\"a\":\"\xed\xa0\x80\"}}", 400, "BadRequest", "line 1 column 1"),
        ("PUT", there.clone(), JSON, br#"{"data":{"a":"\ud800"}}"#, 400, "BadRequest", "line 1 column 2"),
        ("PATCH", there.clone(), MERGE, b"{\"data\":{\"a\":\"\xff\"}}", 400, "BadRequest", "line 1 column 1"),
        ("PATCH", there.clone(), STRATEGIC, b"{\"data\":{\"a\":\"\xff\"}}", 400, "BadRequest", "line 1 column 1"),
        (
            "PATCH",
            there.clone(),
            JSON_PATCH,
            b"[{\"op\":\"add\",\"path\":\"/data/a\",\"value\":\"\xff\"}]",
            400,
            "BadRequest",
            "line 1 column 4",
        ),
        ("DELETE", there.clone(), JSON, b"{\"propagationPolicy\":\"\xff\"}", 400, "BadRequest", "line 1 column 2"),
        // Fields that do not exist, asked to be strict about.
        (
            "POST",
            strict.clone(),
            YAML,
            b"metadata: {name: x}\ndaat: {}\n",
            400,
            "BadRequest",
            "strict decoding error: unknown field \"daat\"",
        ),
        (
            "PUT",
            strict_there.clone(),
            YAML,
            b"metadata: {nmae: x}\n",
            400,
            "BadRequest",
            "strict decoding error: unknown field \"metadata.nmae\"",
        ),
        (
            "PATCH",
            apply_strict,
            APPLY,
            b"apiVersion: v1\nkind: ConfigMap\ndaat: {}\n",
            400,
            "BadRequest",
            ".daat: field not declared in schema",
        ),
        ("POST", strict.clone(), PROTOBUF, &unknown, 400, "BadRequest", "strict decoding error: unknown field \"#15\""),
        (
            "POST",
            strict,
            PROTOBUF,
            &unknown_inside,
            400,
            "BadRequest",
            "strict decoding error: unknown field \"metadata.#99\"",
        ),
        ("PUT", strict_there, PROTOBUF, &unknown, 400, "BadRequest", "strict decoding error: unknown field \"#15\""),
        // Wrong types.
        (
            "POST",
            CM.into(),
            YAML,
            b"metadata: {name: x}\ndata: {a: 1}\n",
            400,
            "BadRequest",
            "field ConfigMap.data of type string",
        ),
        ("POST", CM.into(), YAML, b"- 1\n", 400, "BadRequest", "must be of type ConfigMap"),
        ("POST", CM.into(), YAML, b"a: 1\n---\nb: 2\n", 400, "BadRequest", "line 3 column 1: multiple YAML documents"),
    ];
    refuse(&world, rows).await;
    assert_eq!(everything(&world).await, before);

    // Not asked to be strict: told, and passed over.
    let headers = [("content-type", PROTOBUF)];
    let answer = world.send(admin(), "POST", &format!("{CM}?dryRun=All"), &headers, &unknown).await;
    assert_eq!(answer.warnings(), [r##"299 - "unknown field \"#15\"""##]);
    answer.expect(201);
    assert_eq!(everything(&world).await, before);
}

#[tokio::test]
async fn objects_and_requests_have_a_size() {
    let (world, before) = world().await;
    let (there, web) = (format!("{CM}/there"), format!("{DEPLOYMENTS}/web"));
    let text = |kib: usize| "x".repeat(kib << 10);
    let with_args = |name: &str, kib: usize| {
        let mut object = deployment(name, 1);
        object["spec"]["template"]["spec"]["containers"][0]["args"] = json!([text(kib)]);
        object
    };
    let (huge, huge_web) = (with_args("huge", 1_600).to_string(), with_args("web", 1_600).to_string());
    let data = json!({"metadata": {"name": "x"}, "data": {"a": text(1_100)}}).to_string();
    let annotated = json!({"metadata": {"name": "x", "annotations": {"a": text(300)}}}).to_string();
    let merged = json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "busybox", "args": [text(1_600)]}]}}}})
        .to_string();
    let added =
        json!([{"op": "add", "path": "/spec/template/spec/containers/0/args", "value": [text(1_600)]}]).to_string();
    let too_large = "at most 1572864 are taken";
    let data_too_long = "Too long: may not be more than 1048576 bytes";
    let oversize = format!(r#"{{"metadata":{{"name":"x"}},"data":{{"a":"{}"}}}}"#, text(3 << 10));
    let limit = "limit is 3145728";
    let pods = "/api/v1/namespaces/d/pods/p";
    let mut rows: Vec<Row<'_>> = Vec::new();
    for dry in ["", "dryRun=All"] {
        let ask = |path: &str| format!("{path}?{dry}");
        let apply = |path: &str| format!("{path}?fieldManager=m&force=true&{dry}");
        let large = (413, "RequestEntityTooLarge", too_large);
        for (method, path, media, body, (code, reason, words)) in [
            ("POST", ask(DEPLOYMENTS), JSON, &huge, large),
            ("POST", ask(DEPLOYMENTS), YAML, &huge, large),
            ("PUT", ask(&web), JSON, &huge_web, large),
            ("PATCH", apply(&format!("{DEPLOYMENTS}/huge")), APPLY, &huge, large),
            ("PATCH", apply(&web), APPLY, &huge_web, large),
            ("PATCH", ask(&web), MERGE, &merged, large),
            ("PATCH", ask(&web), STRATEGIC, &merged, large),
            ("PATCH", ask(&web), JSON_PATCH, &added, large),
            ("POST", ask(CM), JSON, &data, (422, "Invalid", data_too_long)),
            ("PATCH", ask(&there), MERGE, &data.replace("\"x\"", "\"there\""), (422, "Invalid", data_too_long)),
            ("POST", ask(CM), JSON, &annotated, (422, "Invalid", "metadata.annotations: Too long")),
        ] {
            let answer = world.send(admin(), method, &path, &[("content-type", media)], body.as_bytes()).await;
            assert_eq!(answer.code, code, "{method} {path} {media}: {}", answer.text);
            let status = answer.value();
            assert_eq!(status["reason"], reason, "{method} {path} {media}");
            let message = status["message"].as_str().unwrap();
            assert!(message.contains(words), "{method} {path} {media}: {message}");
            assert!(message.len() < 1_000, "what is too large is not quoted: {} bytes", message.len());
        }
        assert_eq!(everything(&world).await, before, "{dry}");
    }
    for (method, path, media) in [
        ("POST", CM.to_owned(), JSON),
        ("POST", CM.to_owned(), YAML),
        ("POST", CM.to_owned(), PROTOBUF),
        ("PUT", there.clone(), JSON),
        ("PATCH", there.clone(), MERGE),
        ("PATCH", there.clone(), JSON_PATCH),
        ("PATCH", format!("{there}?fieldManager=m"), APPLY),
        ("DELETE", there.clone(), JSON),
        ("DELETE", CM.to_owned(), JSON),
        ("PUT", format!("{web}/scale"), JSON),
        ("POST", format!("{pods}/binding"), JSON),
        ("POST", format!("{pods}/eviction"), JSON),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned(), JSON),
    ] {
        rows.push((method, path, media, oversize.as_bytes(), 413, "RequestEntityTooLarge", limit));
    }
    refuse(&world, rows).await;
    assert_eq!(everything(&world).await, before);

    // Growth in steps that each fit ends at the same limit.
    world.patch(&web, "merge-patch", &with_args("web", 1_000)).await.expect(200);
    let grown = everything(&world).await;
    let more = json!([{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": text(700)}]);
    for dry in ["", "?dryRun=All"] {
        let refused = world.patch(&format!("{web}{dry}"), "json-patch", &more).await.expect(413);
        assert!(refused["message"].as_str().unwrap().contains(too_large), "{refused}");
    }
    assert_eq!(everything(&world).await, grown);
}
