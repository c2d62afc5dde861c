//! What must be refused, and in which words.

use super::rows::*;
use super::*;

#[tokio::test]
async fn bad_requests_are_refused_in_upstreams_words() {
    let world = World::new().await;
    world.post(CM, &config_map("there")).await.expect(201);
    let there = format!("{CM}/there");
    let truncated = b"k8s\0\x0a\xff\x01";
    let oversize = format!(r#"{{"metadata":{{"name":"x"}},"data":{{"a":"{}"}}}}"#, "x".repeat(3 << 20));
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let c = |suffix: &str| format!("{CM}{suffix}");
    let t = |suffix: &str| format!("{there}{suffix}");
    let rows = vec![
        // Paths and methods.
        row("GET", "/api/v1/namespaces/d/../secrets", JSON, b"", NOT_FOUND, "could not find the requested resource"),
        row("GET", "/api/v1/namespaces/d%2f..%2fx/configmaps", JSON, b"", NOT_FOUND, "could not find"),
        row("GET", "/api/v1/namespaces//configmaps", JSON, b"", NOT_FOUND, "could not find"),
        row("GET", "/api/v1/nonsense", JSON, b"", NOT_FOUND, "could not find the requested resource"),
        row("GET", "/apis/nope/v1/x", JSON, b"", NOT_FOUND, "could not find the requested resource"),
        row("GET", "/apis/nope", JSON, b"", NOT_FOUND, "could not find the requested resource"),
        row("GET", t("/scale"), JSON, b"", NOT_FOUND, "could not find the requested resource"),
        row("POST", &there, JSON, b"{}", NO_METHOD, "does not allow this method"),
        row("POST", "/api/v1/configmaps", JSON, b"{}", NO_METHOD, "does not allow this method"),
        row("DELETE", "/api/v1/pods", JSON, b"", NO_METHOD, "does not allow this method"),
        row("TRACE", &there, JSON, b"", NO_METHOD, "does not allow this method"),
        row("PATCH", "/livez", JSON, b"", NO_METHOD, "does not allow this method"),
        // Objects that are not there.
        row("GET", c("/none"), JSON, b"", NOT_FOUND, "configmaps \"none\" not found"),
        row("DELETE", c("/none"), JSON, b"", NOT_FOUND, "configmaps \"none\" not found"),
        row("PUT", c("/none"), JSON, br#"{"metadata":{"name":"none"}}"#, NOT_FOUND, "configmaps \"none\" not found"),
        row("PATCH", c("/none"), MERGE, b"{}", NOT_FOUND, "configmaps \"none\" not found"),
        row(
            "POST",
            "/api/v1/namespaces/none/configmaps",
            JSON,
            br#"{"metadata":{"name":"x"}}"#,
            NOT_FOUND,
            "namespaces \"none\" not found",
        ),
        // Bodies.
        row("POST", CM, JSON, b"", BAD, "unrecognized (must be of type ConfigMap)"),
        row("POST", CM, JSON, b"{", BAD, "unrecognized (must be of type ConfigMap)"),
        row("POST", CM, JSON, b"[]", BAD, "ConfigMap"),
        row("POST", CM, JSON, b"null", BAD, "ConfigMap"),
        row("POST", CM, JSON, b"\xff\xfe", BAD, "ConfigMap"),
        row("POST", CM, JSON, &deep, BAD, "nests deeper"),
        row(
            "POST",
            CM,
            JSON,
            br#"{"kind":"Pod","apiVersion":"v1"}"#,
            BAD,
            "does not match the expected kind (ConfigMap)",
        ),
        row(
            "POST",
            CM,
            JSON,
            br#"{"kind":"ConfigMap","apiVersion":"v2"}"#,
            BAD,
            "does not match the expected API version",
        ),
        row("POST", CM, JSON, br#"{"metadata":{"name":"x"},"data":{"a":1}}"#, BAD, "cannot be handled as a ConfigMap"),
        row("POST", CM, JSON, &oversize, TOO_LARGE, "limit is 3145728"),
        row("POST", CM, PROTOBUF, truncated, BAD, ""),
        row("POST", CM, PROTOBUF, b"{}", BAD, "does not appear to be a protobuf message"),
        row("POST", CM, "text/html", b"{}", NO_MEDIA, "accepted media types include: application/json"),
        row("POST", CM, YAML, b"a: [", BAD, "error decoding YAML"),
        row("POST", CM, YAML, b"data: &a [*a, *a]", BAD, ""),
        row(
            "POST",
            CM,
            JSON,
            br#"{"metadata":{"name":"x","namespace":"other"}}"#,
            BAD,
            "namespace of the provided object does not match the namespace sent on the request",
        ),
        row("POST", "/api/v1/namespaces", JSON, br#"{"metadata":{"name":"x","namespace":"d"}}"#, BAD, "does not match"),
        row(
            "POST",
            CM,
            JSON,
            br#"{"metadata":{"name":"x","resourceVersion":"7"}}"#,
            BAD,
            "resourceVersion should not be set on objects to be created",
        ),
        row("POST", CM, JSON, br#"{"metadata":{}}"#, INVALID, "name or generateName is required"),
        row("POST", CM, JSON, br#"{}"#, INVALID, "name or generateName is required"),
        row("POST", CM, JSON, br#"{"metadata":{"name":"A_B"}}"#, INVALID, "metadata.name: Invalid value: \"A_B\""),
        row("POST", CM, JSON, br#"{"metadata":{"name":"there"}}"#, EXISTS, "configmaps \"there\" already exists"),
        row(
            "PUT",
            &there,
            JSON,
            br#"{"metadata":{"name":"other"}}"#,
            BAD,
            "the name of the object (other) does not match the name on the URL (there)",
        ),
        row(
            "PUT",
            &there,
            JSON,
            br#"{"metadata":{"name":"there","namespace":"e"}}"#,
            BAD,
            "does not match the namespace",
        ),
        row("PUT", &there, JSON, br#"{"metadata":{"name":"there","uid":"other"}}"#, CONFLICT, "UID"),
        row(
            "PUT",
            &there,
            JSON,
            br#"{"metadata":{"name":"there","resourceVersion":"1"}}"#,
            CONFLICT,
            "Operation cannot be fulfilled on configmaps \"there\": the object has been modified; please apply your changes to the latest version and try again",
        ),
        row(
            "PUT",
            &there,
            JSON,
            br#"{"metadata":{"name":"there","resourceVersion":"x"}}"#,
            BAD,
            "invalid resource version",
        ),
        // Options.
        row(
            "POST",
            c("?dryRun=Some"),
            JSON,
            br#"{"metadata":{"name":"x"}}"#,
            INVALID,
            "dryRun: Unsupported value: \"Some\"",
        ),
        row(
            "POST",
            c("?fieldValidation=Loose"),
            JSON,
            br#"{"metadata":{"name":"x"}}"#,
            INVALID,
            "fieldValidation: Unsupported value",
        ),
        row(
            "POST",
            c("?fieldValidation=Strict"),
            JSON,
            br#"{"metadata":{"name":"x"},"daat":{}}"#,
            BAD,
            "strict decoding error: unknown field \"daat\"",
        ),
        row(
            "POST",
            c("?fieldValidation=Strict"),
            JSON,
            br#"{"metadata":{"name":"x"},"data":{},"data":{}}"#,
            BAD,
            "strict decoding error: duplicate field \"data\"",
        ),
        row("DELETE", t("?dryRun=Some"), JSON, b"", INVALID, "dryRun"),
        row("DELETE", &there, JSON, br#"{"propagationPolicy":"Sideways"}"#, INVALID, "propagationPolicy"),
        row("DELETE", &there, JSON, br#"{"gracePeriodSeconds":"soon"}"#, BAD, ""),
        row("DELETE", &there, JSON, br#"{"preconditions":{"uid":"other"}}"#, CONFLICT, "UID"),
        row(
            "DELETE",
            &there,
            JSON,
            br#"{"preconditions":{"resourceVersion":"1"}}"#,
            CONFLICT,
            "Precondition failed: ResourceVersion",
        ),
        row(
            "DELETE",
            "/api/v1/namespaces/default",
            JSON,
            b"",
            FORBIDDEN,
            "namespaces \"default\" is forbidden: this namespace may not be deleted",
        ),
        // Patches.
        row("PATCH", &there, JSON, b"{}", NO_MEDIA, "application/apply-patch+yaml"),
        row("PATCH", &there, MERGE, b"{", BAD, ""),
        row("PATCH", &there, MERGE, b"7", BAD, ""),
        row("PATCH", &there, MERGE, br#"{"data":7}"#, INVALID, "patch: Invalid value"),
        row(
            "PATCH",
            t("?fieldValidation=Strict"),
            MERGE,
            br#"{"daat":{}}"#,
            INVALID,
            "strict decoding error: unknown field \"daat\"",
        ),
        row("PATCH", &there, MERGE, br#"{"metadata":{"name":"other"}}"#, BAD, "does not match the name on the URL"),
        row(
            "PATCH",
            &there,
            MERGE,
            br#"{"metadata":{"resourceVersion":"1"}}"#,
            CONFLICT,
            "the object has been modified",
        ),
        row("PATCH", &there, STRATEGIC, br#"{"$patch":"nonsense"}"#, BAD, ""),
        row("PATCH", &there, JSON_PATCH, b"{}", BAD, ""),
        row("PATCH", &there, JSON_PATCH, br#"[{"op":"test","path":"/data/a","value":"2"}]"#, INVALID, ""),
        row("PATCH", &there, JSON_PATCH, br#"[{"op":"remove","path":"/data/none"}]"#, INVALID, ""),
        row("PATCH", t("?force=true"), MERGE, b"{}", INVALID, "may not be specified for non-apply patch"),
        row(
            "PATCH",
            &there,
            APPLY,
            br#"{"apiVersion":"v1","kind":"ConfigMap"}"#,
            INVALID,
            "is required for apply patch",
        ),
        row("PATCH", t("?fieldManager=m"), APPLY, b"a: [", BAD, "error decoding YAML"),
        row(
            "PATCH",
            t("?fieldManager=m"),
            APPLY,
            br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"other"}}"#,
            BAD,
            "does not match",
        ),
        // Reads.
        row("GET", c("?labelSelector=a=b=c"), JSON, b"", BAD, ""),
        row("GET", c("?labelSelector=!!"), JSON, b"", BAD, ""),
        row("GET", c("?fieldSelector=spec.nodeName%3Dn"), JSON, b"", BAD, "is not a known field selector"),
        row("GET", "/api/v1/pods?fieldSelector=spec.nonsense%3Dn", JSON, b"", BAD, "field label not supported"),
        row("GET", c("?limit=-1"), JSON, b"", BAD, "limit"),
        row("GET", c("?limit=x"), JSON, b"", BAD, "limit"),
        row("GET", c("?continue=%21%21"), JSON, b"", BAD, "continue key is not valid"),
        row("GET", c("?resourceVersion=x"), JSON, b"", BAD, "invalid resource version"),
        row(
            "GET",
            c("?resourceVersionMatch=Exact"),
            JSON,
            b"",
            INVALID,
            "forbidden unless resourceVersion is provided",
        ),
        row("GET", c("?watch=1&sendInitialEvents=true"), JSON, b"", INVALID, "resourceVersionMatch"),
        row("GET", c("?watch=maybe"), JSON, b"", BAD, "no boolean"),
        row("GET", c("?timeout=soon"), JSON, b"", BAD, "no duration"),
        row("GET", c("?includeObject=Half"), JSON, b"", BAD, "includeObject"),
        row("GET", c("?a=%zz"), JSON, b"", BAD, "not properly encoded"),
    ];
    refuse(&world, rows).await;
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
