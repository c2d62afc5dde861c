//! What must be refused, and in which words.

use super::*;

const CM: &str = "/api/v1/namespaces/d/configmaps";
const JSON: &str = "application/json";

/// Method, path, content type, body, and what is wanted: code, reason, part of the message.
pub(super) type Row<'a> = (&'a str, String, &'a str, &'a [u8], u16, &'a str, &'a str);

#[tokio::test]
async fn bad_requests_are_refused_in_upstreams_words() {
    let world = World::new().await;
    world.post(CM, &config_map("there")).await.expect(201);
    let there = format!("{CM}/there");
    let truncated = b"k8s\0\x0a\xff\x01";
    let oversize = format!(r#"{{"metadata":{{"name":"x"}},"data":{{"a":"{}"}}}}"#, "x".repeat(3 << 20));
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let merge = "application/merge-patch+json";
    let strategic = "application/strategic-merge-patch+json";
    let json_patch = "application/json-patch+json";
    let apply = "application/apply-patch+yaml";
    let c = |suffix: &str| format!("{CM}{suffix}");
    let t = |suffix: &str| format!("{there}{suffix}");
    let rows: Vec<Row<'_>> = vec![
        // Paths and methods.
        (
            "GET",
            "/api/v1/namespaces/d/../secrets".into(),
            JSON,
            b"",
            404,
            "NotFound",
            "could not find the requested resource",
        ),
        ("GET", "/api/v1/namespaces/d%2f..%2fx/configmaps".into(), JSON, b"", 404, "NotFound", "could not find"),
        ("GET", "/api/v1/namespaces//configmaps".into(), JSON, b"", 404, "NotFound", "could not find"),
        ("GET", "/api/v1/nonsense".into(), JSON, b"", 404, "NotFound", "could not find the requested resource"),
        ("GET", "/apis/nope/v1/x".into(), JSON, b"", 404, "NotFound", "could not find the requested resource"),
        ("GET", "/apis/nope".into(), JSON, b"", 404, "NotFound", "could not find the requested resource"),
        ("GET", t("/scale"), JSON, b"", 404, "NotFound", "could not find the requested resource"),
        ("POST", there.clone(), JSON, b"{}", 405, "MethodNotAllowed", "does not allow this method"),
        ("POST", "/api/v1/configmaps".into(), JSON, b"{}", 405, "MethodNotAllowed", "does not allow this method"),
        ("DELETE", "/api/v1/pods".into(), JSON, b"", 405, "MethodNotAllowed", "does not allow this method"),
        ("TRACE", there.clone(), JSON, b"", 405, "MethodNotAllowed", "does not allow this method"),
        ("PATCH", "/livez".into(), JSON, b"", 405, "MethodNotAllowed", "does not allow this method"),
        // Objects that are not there.
        ("GET", c("/none"), JSON, b"", 404, "NotFound", "configmaps \"none\" not found"),
        ("DELETE", c("/none"), JSON, b"", 404, "NotFound", "configmaps \"none\" not found"),
        ("PUT", c("/none"), JSON, br#"{"metadata":{"name":"none"}}"#, 404, "NotFound", "configmaps \"none\" not found"),
        ("PATCH", c("/none"), merge, b"{}", 404, "NotFound", "configmaps \"none\" not found"),
        (
            "POST",
            "/api/v1/namespaces/none/configmaps".into(),
            JSON,
            br#"{"metadata":{"name":"x"}}"#,
            404,
            "NotFound",
            "namespaces \"none\" not found",
        ),
        // Bodies.
        ("POST", c(""), JSON, b"", 400, "BadRequest", "unrecognized (must be of type ConfigMap)"),
        ("POST", c(""), JSON, b"{", 400, "BadRequest", "unrecognized (must be of type ConfigMap)"),
        ("POST", c(""), JSON, b"[]", 400, "BadRequest", "ConfigMap"),
        ("POST", c(""), JSON, b"null", 400, "BadRequest", "ConfigMap"),
        ("POST", c(""), JSON, b"\xff\xfe", 400, "BadRequest", "ConfigMap"),
        ("POST", c(""), JSON, deep.as_bytes(), 400, "BadRequest", "nests deeper"),
        (
            "POST",
            c(""),
            JSON,
            br#"{"kind":"Pod","apiVersion":"v1"}"#,
            400,
            "BadRequest",
            "does not match the expected kind (ConfigMap)",
        ),
        (
            "POST",
            c(""),
            JSON,
            br#"{"kind":"ConfigMap","apiVersion":"v2"}"#,
            400,
            "BadRequest",
            "does not match the expected API version",
        ),
        (
            "POST",
            c(""),
            JSON,
            br#"{"metadata":{"name":"x"},"data":{"a":1}}"#,
            400,
            "BadRequest",
            "cannot be handled as a ConfigMap",
        ),
        ("POST", c(""), JSON, oversize.as_bytes(), 413, "RequestEntityTooLarge", "limit is 3145728"),
        ("POST", c(""), "application/vnd.kubernetes.protobuf", truncated, 400, "BadRequest", ""),
        (
            "POST",
            c(""),
            "application/vnd.kubernetes.protobuf",
            b"{}",
            400,
            "BadRequest",
            "does not appear to be a protobuf message",
        ),
        (
            "POST",
            c(""),
            "text/html",
            b"{}",
            415,
            "UnsupportedMediaType",
            "accepted media types include: application/json",
        ),
        ("POST", c(""), "application/yaml", b"a: [", 400, "BadRequest", "error decoding YAML"),
        ("POST", c(""), "application/yaml", b"data: &a [*a, *a]", 400, "BadRequest", ""),
        (
            "POST",
            c(""),
            JSON,
            br#"{"metadata":{"name":"x","namespace":"other"}}"#,
            400,
            "BadRequest",
            "namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            "POST",
            "/api/v1/namespaces".into(),
            JSON,
            br#"{"metadata":{"name":"x","namespace":"d"}}"#,
            400,
            "BadRequest",
            "does not match",
        ),
        (
            "POST",
            c(""),
            JSON,
            br#"{"metadata":{"name":"x","resourceVersion":"7"}}"#,
            400,
            "BadRequest",
            "resourceVersion should not be set on objects to be created",
        ),
        ("POST", c(""), JSON, br#"{"metadata":{}}"#, 422, "Invalid", "name or generateName is required"),
        ("POST", c(""), JSON, br#"{}"#, 422, "Invalid", "name or generateName is required"),
        (
            "POST",
            c(""),
            JSON,
            br#"{"metadata":{"name":"A_B"}}"#,
            422,
            "Invalid",
            "metadata.name: Invalid value: \"A_B\"",
        ),
        (
            "POST",
            c(""),
            JSON,
            br#"{"metadata":{"name":"there"}}"#,
            409,
            "AlreadyExists",
            "configmaps \"there\" already exists",
        ),
        (
            "PUT",
            there.clone(),
            JSON,
            br#"{"metadata":{"name":"other"}}"#,
            400,
            "BadRequest",
            "the name of the object (other) does not match the name on the URL (there)",
        ),
        (
            "PUT",
            there.clone(),
            JSON,
            br#"{"metadata":{"name":"there","namespace":"e"}}"#,
            400,
            "BadRequest",
            "does not match the namespace",
        ),
        ("PUT", there.clone(), JSON, br#"{"metadata":{"name":"there","uid":"other"}}"#, 409, "Conflict", "UID"),
        (
            "PUT",
            there.clone(),
            JSON,
            br#"{"metadata":{"name":"there","resourceVersion":"1"}}"#,
            409,
            "Conflict",
            "Operation cannot be fulfilled on configmaps \"there\": the object has been modified; please apply your changes to the latest version and try again",
        ),
        (
            "PUT",
            there.clone(),
            JSON,
            br#"{"metadata":{"name":"there","resourceVersion":"x"}}"#,
            400,
            "BadRequest",
            "invalid resource version",
        ),
        // Options.
        (
            "POST",
            c("?dryRun=Some"),
            JSON,
            br#"{"metadata":{"name":"x"}}"#,
            422,
            "Invalid",
            "dryRun: Unsupported value: \"Some\"",
        ),
        (
            "POST",
            c("?fieldValidation=Loose"),
            JSON,
            br#"{"metadata":{"name":"x"}}"#,
            422,
            "Invalid",
            "fieldValidation: Unsupported value",
        ),
        (
            "POST",
            c("?fieldValidation=Strict"),
            JSON,
            br#"{"metadata":{"name":"x"},"daat":{}}"#,
            400,
            "BadRequest",
            "strict decoding error: unknown field \"daat\"",
        ),
        (
            "POST",
            c("?fieldValidation=Strict"),
            JSON,
            br#"{"metadata":{"name":"x"},"data":{},"data":{}}"#,
            400,
            "BadRequest",
            "strict decoding error: duplicate field \"data\"",
        ),
        ("DELETE", t("?dryRun=Some"), JSON, b"", 422, "Invalid", "dryRun"),
        ("DELETE", there.clone(), JSON, br#"{"propagationPolicy":"Sideways"}"#, 422, "Invalid", "propagationPolicy"),
        ("DELETE", there.clone(), JSON, br#"{"gracePeriodSeconds":"soon"}"#, 400, "BadRequest", ""),
        ("DELETE", there.clone(), JSON, br#"{"preconditions":{"uid":"other"}}"#, 409, "Conflict", "UID"),
        (
            "DELETE",
            there.clone(),
            JSON,
            br#"{"preconditions":{"resourceVersion":"1"}}"#,
            409,
            "Conflict",
            "Precondition failed: ResourceVersion",
        ),
        (
            "DELETE",
            "/api/v1/namespaces/default".into(),
            JSON,
            b"",
            403,
            "Forbidden",
            "namespaces \"default\" is forbidden: this namespace may not be deleted",
        ),
        // Patches.
        ("PATCH", there.clone(), JSON, b"{}", 415, "UnsupportedMediaType", "application/apply-patch+yaml"),
        ("PATCH", there.clone(), merge, b"{", 400, "BadRequest", ""),
        ("PATCH", there.clone(), merge, b"7", 400, "BadRequest", ""),
        ("PATCH", there.clone(), merge, br#"{"data":7}"#, 422, "Invalid", "patch: Invalid value"),
        (
            "PATCH",
            t("?fieldValidation=Strict"),
            merge,
            br#"{"daat":{}}"#,
            422,
            "Invalid",
            "strict decoding error: unknown field \"daat\"",
        ),
        (
            "PATCH",
            there.clone(),
            merge,
            br#"{"metadata":{"name":"other"}}"#,
            400,
            "BadRequest",
            "does not match the name on the URL",
        ),
        (
            "PATCH",
            there.clone(),
            merge,
            br#"{"metadata":{"resourceVersion":"1"}}"#,
            409,
            "Conflict",
            "the object has been modified",
        ),
        ("PATCH", there.clone(), strategic, br#"{"$patch":"nonsense"}"#, 400, "BadRequest", ""),
        ("PATCH", there.clone(), json_patch, b"{}", 400, "BadRequest", ""),
        ("PATCH", there.clone(), json_patch, br#"[{"op":"test","path":"/data/a","value":"2"}]"#, 422, "Invalid", ""),
        ("PATCH", there.clone(), json_patch, br#"[{"op":"remove","path":"/data/none"}]"#, 422, "Invalid", ""),
        ("PATCH", t("?force=true"), merge, b"{}", 422, "Invalid", "may not be specified for non-apply patch"),
        (
            "PATCH",
            there.clone(),
            apply,
            br#"{"apiVersion":"v1","kind":"ConfigMap"}"#,
            422,
            "Invalid",
            "is required for apply patch",
        ),
        ("PATCH", t("?fieldManager=m"), apply, b"a: [", 400, "BadRequest", "error decoding YAML"),
        (
            "PATCH",
            t("?fieldManager=m"),
            apply,
            br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"other"}}"#,
            400,
            "BadRequest",
            "does not match",
        ),
        // Reads.
        ("GET", c("?labelSelector=a=b=c"), JSON, b"", 400, "BadRequest", ""),
        ("GET", c("?labelSelector=!!"), JSON, b"", 400, "BadRequest", ""),
        ("GET", c("?fieldSelector=spec.nodeName%3Dn"), JSON, b"", 400, "BadRequest", "is not a known field selector"),
        (
            "GET",
            "/api/v1/pods?fieldSelector=spec.nonsense%3Dn".into(),
            JSON,
            b"",
            400,
            "BadRequest",
            "field label not supported",
        ),
        ("GET", c("?limit=-1"), JSON, b"", 400, "BadRequest", "limit"),
        ("GET", c("?limit=x"), JSON, b"", 400, "BadRequest", "limit"),
        ("GET", c("?continue=%21%21"), JSON, b"", 400, "BadRequest", "continue key is not valid"),
        ("GET", c("?resourceVersion=x"), JSON, b"", 400, "BadRequest", "invalid resource version"),
        (
            "GET",
            c("?resourceVersionMatch=Exact"),
            JSON,
            b"",
            422,
            "Invalid",
            "forbidden unless resourceVersion is provided",
        ),
        ("GET", c("?watch=1&sendInitialEvents=true"), JSON, b"", 422, "Invalid", "resourceVersionMatch"),
        ("GET", c("?watch=maybe"), JSON, b"", 400, "BadRequest", "no boolean"),
        ("GET", c("?timeout=soon"), JSON, b"", 400, "BadRequest", "no duration"),
        ("GET", c("?includeObject=Half"), JSON, b"", 400, "BadRequest", "includeObject"),
        ("GET", c("?a=%zz"), JSON, b"", 400, "BadRequest", "not properly encoded"),
    ];
    refuse(&world, rows).await;
    let after = world.get(&there).await.expect(200);
    assert_eq!(after["data"], json!({"a": "1"}), "refused writes change nothing");
    assert_eq!(world.get(CM).await.expect(200)["items"].as_array().unwrap().len(), 1);
}

/// Sends each row's request as an administrator, and checks what it is answered.
pub(super) async fn refuse(world: &World, rows: Vec<Row<'_>>) {
    for (method, path, content_type, body, code, reason, fragment) in rows {
        let answer = world.send(admin(), method, &path, &[("content-type", content_type)], body).await;
        let shown: String = String::from_utf8_lossy(body).chars().take(80).collect();
        assert_eq!(answer.code, code, "{method} {path} {shown}: {}", answer.text);
        let status = answer.value();
        assert_eq!(status["reason"], reason, "{method} {path} {shown}: {}", answer.text);
        assert_eq!((&status["kind"], &status["code"]), (&json!("Status"), &json!(code)), "{method} {path}");
        let message = status["message"].as_str().unwrap();
        assert!(message.contains(fragment), "{method} {path} {shown}: {message}");
    }
}

#[tokio::test]
async fn what_cannot_be_made_is_not_acceptable() {
    let world = World::new().await;
    for accept in ["text/html", "application/vnd.kubernetes.protobuf", "application/json;as=Table;g=meta.k8s.io;v=v7"] {
        let status = world.accepting(CM, accept).await.expect(406);
        assert_eq!(status["reason"], "NotAcceptable");
    }
    let answer = world.accepting(CM, "application/vnd.kubernetes.protobuf, */*").await;
    assert_eq!(answer.expect(200)["kind"], "ConfigMapList");
    assert_eq!(answer.headers["content-type"], "application/json");
}

#[tokio::test]
async fn a_cluster_without_a_leader_says_so() {
    let world = World::new().await;
    world.post(CM, &config_map("a")).await.expect(201);
    world.direct.fail(Some(Error::Unavailable("no leader".into())));
    for (method, path) in [("GET", CM.to_owned()), ("GET", format!("{CM}/a")), ("DELETE", format!("{CM}/a"))] {
        let answer = world.send(admin(), method, &path, &[], b"").await;
        let status = answer.expect(503);
        assert_eq!(
            (status["reason"].as_str(), answer.headers["retry-after"].to_str().unwrap()),
            (Some("ServiceUnavailable"), "1")
        );
    }
    world.get(&format!("{CM}?resourceVersion=0")).await.expect(200);
    world.direct.fail(Some(Error::Unknown("the leader has changed".into())));
    let status = world.post(CM, &config_map("b")).await.expect(504);
    assert_eq!(status["reason"], "Timeout");
    assert!(status["message"].as_str().unwrap().contains("may or may not have taken place"), "{status}");
    world.direct.fail(Some(Error::TooLarge { size: 9, max: 8 }));
    world.post(CM, &config_map("b")).await.expect(413);
}

#[tokio::test]
async fn overload_is_refused_with_a_time_to_come_back() {
    let world =
        World::with(Options { reads_max: 0, longrunning_max: 0, ..Options::default() }, Stopping::never()).await;
    for path in [CM.to_owned(), format!("{CM}?watch=1"), "/api/v1/namespaces/d".to_owned()] {
        let answer = world.get(&path).await;
        assert_eq!(answer.expect(429)["reason"], "TooManyRequests", "{path}");
        assert_eq!(answer.headers["retry-after"], "1");
    }
    world.post(CM, &config_map("a")).await.expect(201);
    // A busy API does not make nodes look dead.
    let beat = world.send(node("n1"), "POST", "/barque/v1/heartbeat", &[], br#"{"node":"n1","uid":"u"}"#).await;
    beat.expect(200);
}
