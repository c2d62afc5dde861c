//! Bodies made to hurt: too deep, too large, broken encodings, lengths that lie. Each gets a Status that names the place,
//! and changes nothing.

use super::rows::*;
use super::*;

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

/// A world with the objects that nothing here may change.
async fn world() -> World {
    let world = World::new().await;
    world.post(CM, &config_map("there")).await.expect(201);
    world.post(DEPLOYMENTS, &deployment("web", 1)).await.expect(201);
    world.post(PODS, &pod("p")).await.expect(201);
    world
}

#[tokio::test]
async fn ten_thousand_levels_are_refused_everywhere() {
    let world = world().await;
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
    let apply = format!("{there}?fieldManager=m");
    let reviews = |kind: &str| format!("/apis/authorization.k8s.io/v1/{kind}");
    let deeper = "nests deeper than 512 levels at byte";
    let too_deep_yaml = "error decoding YAML: line ";
    let too_deep_patch = "error decoding patch: recursion limit exceeded at line 1 column";
    let mut rows = Vec::new();
    for body in [&lists, &maps, &list_in, &map_in] {
        rows.push(row("POST", CM, JSON, body, BAD, deeper));
        rows.push(row("PUT", &there, JSON, body, BAD, deeper));
    }
    for body in [&block_list, &block_keys, &flow_list, &flow_map, &unended, &lists, &maps] {
        for (method, path, media) in
            [("POST", CM, YAML), ("PUT", &*there, YAML), ("DELETE", &*there, YAML), ("PATCH", &*apply, APPLY)]
        {
            rows.push(row(method, path, media, body, BAD, too_deep_yaml));
        }
    }
    for (method, path, media, body, words) in [
        ("PATCH", format!("{CM}/x?fieldManager=m"), APPLY, &list_applied, too_deep_yaml),
        ("PATCH", format!("{CM}/x?fieldManager=m"), APPLY, &map_applied, too_deep_yaml),
        ("PATCH", there.clone(), MERGE, &map_in, deeper),
        ("PATCH", there.clone(), MERGE, &lists, deeper),
        ("PATCH", there.clone(), STRATEGIC, &map_in, deeper),
        ("PATCH", there.clone(), STRATEGIC, &list_in, deeper),
        ("PATCH", there.clone(), JSON_PATCH, &operations, too_deep_patch),
        ("PATCH", there.clone(), JSON_PATCH, &lists, too_deep_patch),
        ("DELETE", there.clone(), JSON, &options, deeper),
        ("DELETE", CM.to_owned(), JSON, &options, deeper),
        ("PUT", format!("{web}/scale"), JSON, &scale, deeper),
        ("PATCH", format!("{web}/scale"), MERGE, &scale, deeper),
        ("PUT", format!("{web}/status"), JSON, &status, deeper),
        ("POST", reviews("selfsubjectaccessreviews"), JSON, &review, deeper),
        ("POST", reviews("selfsubjectrulesreviews"), JSON, &review, deeper),
        ("POST", reviews("subjectaccessreviews"), JSON, &review, deeper),
        ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews".to_owned(), JSON, &review, deeper),
        ("POST", format!("{PODS}/p/binding"), JSON, &target, deeper),
        ("POST", format!("{PODS}/p/eviction"), JSON, &eviction, deeper),
    ] {
        rows.push(row(method, path, media, body, BAD, words));
    }
    refuse(&world, rows).await;
}

#[tokio::test]
async fn protobuf_may_not_nest_or_lie() {
    let world = world().await;
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
    let rows = vec![
        row("POST", CM, PROTOBUF, &nested, BAD, "nests deeper than 64 levels"),
        row("DELETE", &there, PROTOBUF, &nested, BAD, "nests deeper than 64 levels"),
        row("POST", CM, PROTOBUF, &groups, BAD, "nested too deep"),
        row(
            "POST",
            CM,
            PROTOBUF,
            &json_in_fields,
            BAD,
            "unable to decode ManagedFieldsEntry.fieldsV1: invalid JSON: recursion limit exceeded",
        ),
        row("POST", CM, PROTOBUF, &lies, BAD, lying),
        row("POST", CM, PROTOBUF, &bad_text, BAD, text_place),
        row("PUT", &there, PROTOBUF, &bad_text, BAD, text_place),
        row("POST", CM, PROTOBUF, &bad_name, BAD, "unable to decode ObjectMeta.name: text is not"),
        row("POST", CM, PROTOBUF, &wrong_wire, BAD, "unable to decode ConfigMap.immutable: wrong wire"),
        row(
            "DELETE",
            &there,
            PROTOBUF,
            &grace_of_text,
            BAD,
            "unable to decode DeleteOptions.gracePeriodSeconds: wrong wire type",
        ),
        row("DELETE", &there, PROTOBUF, &truncated, BAD, "unexpected EOF"),
        row("DELETE", &there, PROTOBUF, b"{}", BAD, "expected prefix [107 56 115 0]"),
        row("DELETE", &there, PROTOBUF, &sideways, INVALID, "propagationPolicy"),
        row("DELETE", &there, PROTOBUF, &dry_some, INVALID, "dryRun"),
        row("DELETE", &there, PROTOBUF, &other_uid, CONFLICT, "the UID in the precondition (other) does not match"),
        row(
            "DELETE",
            &there,
            PROTOBUF,
            &config_map,
            BAD,
            "kind: \"ConfigMap\": decoded object cannot be converted to DeleteOptions",
        ),
        row(
            "DELETE",
            &there,
            JSON,
            br#"{"kind":"Pod","apiVersion":"v1"}"#,
            BAD,
            "kind: \"Pod\": decoded object cannot be converted to DeleteOptions",
        ),
        row("DELETE", CM, PROTOBUF, &config_map, BAD, "cannot be converted to DeleteOptions"),
    ];
    refuse(&world, rows).await;

    // And what is well-formed is obeyed.
    let before = everything(&world).await;
    let headers = [("content-type", PROTOBUF)];
    let tried = options(&[number(1, 0), field(4, b"Background"), field(5, b"All")].concat());
    world.send(admin(), "DELETE", &there, &headers, &tried).await.expect(200);
    assert_eq!(everything(&world).await, before, "a dry run removes nothing");
    let uid = world.get(&there).await.expect(200)["metadata"]["uid"].as_str().unwrap().to_owned();
    let done = options(&[number(1, 0), field(2, &field(1, uid.as_bytes())), field(4, b"Background")].concat());
    let gone = world.send(admin(), "DELETE", &there, &headers, &done).await.expect(200);
    assert_eq!((&gone["status"], &gone["details"]["uid"]), (&json!("Success"), &json!(uid)));
    world.get(&there).await.expect(404);
}

#[tokio::test]
async fn encodings_are_held_to_the_same_rules() {
    let world = world().await;
    let there = format!("{CM}/there");
    let strict = format!("{CM}?fieldValidation=Strict");
    let strict_there = format!("{there}?fieldValidation=Strict");
    let apply = format!("{there}?fieldManager=m");
    let apply_strict = format!("{apply}&force=true&fieldValidation=Strict");
    let name = |name: &str| field(1, &field(1, name.as_bytes()));
    let unknown = envelope("v1", "ConfigMap", &[name("x"), field(15, b"later")].concat());
    let unknown_inside = envelope("v1", "ConfigMap", &field(1, &[field(1, b"x"), vec![0x98, 0x06, 0x01]].concat()));
    let rows = vec![
        // Repeated keys: in YAML an error of the text itself.
        row("POST", CM, YAML, b"metadata: {name: x}\ndata:\n  a: b\n  a: c\n", BAD, "duplicate mapping key: a"),
        row("POST", CM, YAML, b"metadata: {name: x, name: y}\n", BAD, "duplicate mapping key: name"),
        row("POST", &strict, YAML, b"data: {}\ndata: {}\n", BAD, "duplicate mapping key: data"),
        row("PUT", &there, YAML, b"data: {}\ndata: {}\n", BAD, "duplicate mapping key: data"),
        row("PATCH", &apply, APPLY, b"data:\n  a: b\n  a: c\n", BAD, "duplicate mapping key: a"),
        row(
            "PATCH",
            &strict_there,
            MERGE,
            br#"{"data":{"a":"2","a":"3"}}"#,
            INVALID,
            "strict decoding error: duplicate field \"data.a\"",
        ),
        row(
            "PATCH",
            &apply_strict,
            APPLY,
            br#"{"apiVersion":"v1","kind":"ConfigMap","data":{"a":"2","a":"3"}}"#,
            BAD,
            "strict decoding error: duplicate field \"data.a\"",
        ),
        // Bytes that are no text.
        row("POST", CM, YAML, b"metadata: {name: x}\ndata: {a: \xff}\n", BAD, "byte 30 is not UTF-8"),
        row("PUT", &there, YAML, b"\xff\xfe", BAD, "byte 0 is not UTF-8"),
        row("PATCH", &apply, APPLY, b"data: \"\xc3\x28\"", BAD, "byte 7 is not UTF-8"),
        row("POST", CM, JSON, b"{\"metadata\":{\"name\":\"x\"},\"data\":{\"a\":\"\xff\"}}", BAD, "line 1 column 39"),
        row("POST", CM, JSON, b"{\"metadata\":{\"name\":\"x\"},\"data\":{\"\xc3\x28\":\"\"}}", BAD, "line 1 column 3"),
        row("PUT", &there, JSON, b"{\"data\":{\"a\":\"\xed\xa0\x80\"}}", BAD, "line 1 column 1"),
        row("PUT", &there, JSON, br#"{"data":{"a":"\ud800"}}"#, BAD, "line 1 column 2"),
        row("PATCH", &there, MERGE, b"{\"data\":{\"a\":\"\xff\"}}", BAD, "line 1 column 1"),
        row("PATCH", &there, STRATEGIC, b"{\"data\":{\"a\":\"\xff\"}}", BAD, "line 1 column 1"),
        row(
            "PATCH",
            &there,
            JSON_PATCH,
            b"[{\"op\":\"add\",\"path\":\"/data/a\",\"value\":\"\xff\"}]",
            BAD,
            "line 1 column 4",
        ),
        row("DELETE", &there, JSON, b"{\"propagationPolicy\":\"\xff\"}", BAD, "line 1 column 2"),
        // Fields that do not exist, asked to be strict about.
        row(
            "POST",
            &strict,
            YAML,
            b"metadata: {name: x}\ndaat: {}\n",
            BAD,
            "strict decoding error: unknown field \"daat\"",
        ),
        row(
            "PUT",
            &strict_there,
            YAML,
            b"metadata: {nmae: x}\n",
            BAD,
            "strict decoding error: unknown field \"metadata.nmae\"",
        ),
        row(
            "PATCH",
            &apply_strict,
            APPLY,
            b"apiVersion: v1\nkind: ConfigMap\ndaat: {}\n",
            BAD,
            ".daat: field not declared in schema",
        ),
        row("POST", &strict, PROTOBUF, &unknown, BAD, "strict decoding error: unknown field \"#15\""),
        row("POST", &strict, PROTOBUF, &unknown_inside, BAD, "strict decoding error: unknown field \"metadata.#99\""),
        row("PUT", &strict_there, PROTOBUF, &unknown, BAD, "strict decoding error: unknown field \"#15\""),
        // Wrong types.
        row("POST", CM, YAML, b"metadata: {name: x}\ndata: {a: 1}\n", BAD, "field ConfigMap.data of type string"),
        row("POST", CM, YAML, b"- 1\n", BAD, "must be of type ConfigMap"),
        row("POST", CM, YAML, b"a: 1\n---\nb: 2\n", BAD, "line 3 column 1: multiple YAML documents"),
    ];
    refuse(&world, rows).await;

    // Not asked to be strict: told, and passed over.
    let before = everything(&world).await;
    let headers = [("content-type", PROTOBUF)];
    let answer = world.send(admin(), "POST", &format!("{CM}?dryRun=All"), &headers, &unknown).await;
    assert_eq!(answer.warnings(), [r##"299 - "unknown field \"#15\"""##]);
    answer.expect(201);
    assert_eq!(everything(&world).await, before);
}

#[tokio::test]
async fn objects_and_requests_have_a_size() {
    let world = world().await;
    let (there, web) = (format!("{CM}/there"), format!("{DEPLOYMENTS}/web"));
    let text = |kib: usize| "x".repeat(kib << 10);
    let with_args = |name: &str, kib: usize| {
        let mut object = deployment(name, 1);
        object["spec"]["template"]["spec"]["containers"][0]["args"] = json!([text(kib)]);
        object
    };
    let (huge, huge_web) = (with_args("huge", 1_600).to_string(), with_args("web", 1_600).to_string());
    let data = json!({"metadata": {"name": "x"}, "data": {"a": text(1_100)}}).to_string();
    let data_there = data.replace("\"x\"", "\"there\"");
    let annotated = json!({"metadata": {"name": "x", "annotations": {"a": text(300)}}}).to_string();
    let merged = json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "busybox", "args": [text(1_600)]}]}}}})
        .to_string();
    let added =
        json!([{"op": "add", "path": "/spec/template/spec/containers/0/args", "value": [text(1_600)]}]).to_string();
    let too_large = "at most 1572864 are taken";
    let data_too_long = "Too long: may not be more than 1048576 bytes";
    let oversize = format!(r#"{{"metadata":{{"name":"x"}},"data":{{"a":"{}"}}}}"#, text(3 << 10));
    let mut rows = Vec::new();
    for dry in ["", "dryRun=All"] {
        let ask = |path: &str| format!("{path}?{dry}");
        let apply = |path: &str| format!("{path}?fieldManager=m&force=true&{dry}");
        for (method, path, media, body, wanted, words) in [
            ("POST", ask(DEPLOYMENTS), JSON, &huge, TOO_LARGE, too_large),
            ("POST", ask(DEPLOYMENTS), YAML, &huge, TOO_LARGE, too_large),
            ("PUT", ask(&web), JSON, &huge_web, TOO_LARGE, too_large),
            ("PATCH", apply(&format!("{DEPLOYMENTS}/huge")), APPLY, &huge, TOO_LARGE, too_large),
            ("PATCH", apply(&web), APPLY, &huge_web, TOO_LARGE, too_large),
            ("PATCH", ask(&web), MERGE, &merged, TOO_LARGE, too_large),
            ("PATCH", ask(&web), STRATEGIC, &merged, TOO_LARGE, too_large),
            ("PATCH", ask(&web), JSON_PATCH, &added, TOO_LARGE, too_large),
            ("POST", ask(CM), JSON, &data, INVALID, data_too_long),
            ("PATCH", ask(&there), MERGE, &data_there, INVALID, data_too_long),
            ("POST", ask(CM), JSON, &annotated, INVALID, "metadata.annotations: Too long"),
        ] {
            rows.push(row(method, path, media, body, wanted, words));
        }
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
        ("POST", format!("{PODS}/p/binding"), JSON),
        ("POST", format!("{PODS}/p/eviction"), JSON),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned(), JSON),
    ] {
        rows.push(row(method, path, media, &oversize, TOO_LARGE, "limit is 3145728"));
    }
    refuse(&world, rows).await;

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
