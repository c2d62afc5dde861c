//! Bodies as kubectl sends them, and damaged ones.

use serde_json::{Value, json};

use super::*;

/// A tiny writer, so that the tests do not trust the reader.
#[derive(Clone, Default)]
pub(super) struct Bytes(Vec<u8>);

pub(super) fn message() -> Bytes {
    Bytes::default()
}

impl Bytes {
    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    fn varint(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    pub(super) fn int(self, number: u64, value: i64) -> Self {
        self.varint(number << 3).varint(value as u64)
    }

    fn bytes(self, number: u64, bytes: &[u8]) -> Self {
        self.varint(number << 3 | 2).varint(bytes.len() as u64).raw(bytes)
    }

    pub(super) fn text(self, number: u64, text: &str) -> Self {
        self.bytes(number, text.as_bytes())
    }

    pub(super) fn message(self, number: u64, message: Bytes) -> Self {
        self.bytes(number, &message.0)
    }
}

fn envelope(api_version: &str, kind: &str, object: Bytes) -> Vec<u8> {
    let unknown =
        message().message(1, message().text(1, api_version).text(2, kind)).message(2, object).text(3, "").text(4, "");
    [MAGIC, &unknown.0].concat()
}

pub(super) fn read(api_version: &str, kind: &str, object: Bytes) -> Result<Value, Status> {
    decode(&envelope(api_version, kind, object)).map(|(value, _)| value)
}

pub(super) fn named(name: &str) -> Bytes {
    // As Go writes it: plain texts always, empty or not, and the zero creation time as an empty message.
    message().text(1, name).text(2, "").text(3, "d").text(4, "").text(5, "").text(6, "").int(7, 0).message(8, message())
}

#[test]
fn what_is_no_object_is_refused() {
    let pod = |spec: Bytes| envelope("v1", "Pod", message().message(2, spec));
    let mut deep = message();
    for _ in 0..500 {
        deep = message().message(1, deep);
    }
    for (bytes, text) in [
        (b"".to_vec(), "expected prefix [107 56 115 0]"),
        (b"{}".to_vec(), "expected prefix"),
        (b"k8s".to_vec(), "expected prefix"),
        (b"k8s\0".to_vec(), "no kind"),
        (b"k8s\0\xff".to_vec(), "unexpected EOF"),
        (b"k8s\0\x12\xff\xff\xff\xff\x0f".to_vec(), "unexpected EOF"),
        (envelope("v1", "Nothing", message()), "no kind \"Nothing\" is registered for version \"v1\""),
        (envelope("v9", "Pod", message()), "no kind"),
        (
            [MAGIC, &message().message(1, message().text(1, "v1").text(2, "Pod")).text(3, "gzip").0].concat(),
            "content encoding",
        ),
        ([MAGIC, &message().message(1, message().bytes(1, b"\xff")).0].concat(), "not valid UTF-8"),
        ([MAGIC, &vec![0; BYTES_MAX]].concat(), "larger than 3145728 bytes"),
        (pod(message().int(10, 1)), "unable to decode PodSpec.nodeName: wrong wire type"),
        (pod(message().text(4, "x")), "unable to decode PodSpec.terminationGracePeriodSeconds: wrong wire type"),
        (pod(message().int(2, 1)), "unable to decode PodSpec.containers: wrong wire type"),
        (pod(message().bytes(10, b"\xff\xfe")), "unable to decode PodSpec.nodeName: text is not valid UTF-8"),
        (pod(message().bytes(2, b"\x0a\x7f")), "unexpected EOF"),
        (pod(message().int(7, 1)), "wrong wire type for a map"),
        (pod(message().message(7, message().int(1, 1))), "wrong wire type for a key"),
        (pod(message().raw(&[0, 0])), "illegal tag"),
        (pod(message().raw(&[0x0e])), "illegal wireType 6"),
        (
            envelope("v1", "Pod", message().message(1, message().message(8, message().int(1, i64::MAX)))),
            "a time is out of range",
        ),
        (
            envelope(
                "v1",
                "Pod",
                message().message(1, message().message(17, message().message(7, message().text(1, "{")))),
            ),
            "unable to decode ManagedFieldsEntry.fieldsV1: invalid JSON",
        ),
        (
            envelope(
                "v1",
                "ConfigMap",
                message().message(1, message().message(11, message().message(1, deep.clone()))),
            ),
            // A deep message where text belongs is text, and not UTF-8 or not, never a deep walk.
            "",
        ),
    ] {
        match decode(&bytes) {
            Err(status) => {
                assert_eq!(status.code, 400);
                assert!(status.message.contains(text), "{status} lacks {text}");
            }
            Ok(_) => assert_eq!(text, "", "accepted"),
        }
    }
}

#[test]
fn every_prefix_of_a_body_is_answered() {
    let object = message()
        .message(1, named("a").message(11, message().text(1, "k").text(2, "v")))
        .message(2, message().message(2, message().text(1, "c").text(2, "i")));
    let body = envelope("v1", "Pod", object);
    for end in 0..body.len() {
        let _ = decode(&body[..end]);
        // A flipped byte must not hurt either.
        let mut bent = body.clone();
        bent[end] ^= 0xff;
        let _ = decode(&bent);
    }
    assert!(decode(&body).is_ok());
}

#[test]
fn random_bytes_are_answered() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let kinds = [("v1", "Pod"), ("apps/v1", "Deployment"), ("v1", "Event"), ("v1", "List"), ("v1", "DeleteOptions")];
    for _ in 0..20_000 {
        let length = random() % 200;
        // Mostly small numbers, so that tags and lengths often fit.
        let bytes: Vec<u8> =
            (0..length).map(|_| if random() % 4 == 0 { random() as u8 } else { (random() % 32) as u8 }).collect();
        let (api_version, kind) = kinds[(random() % 5) as usize];
        let _ = read(api_version, kind, Bytes(bytes));
    }
}

#[test]
fn many_tiny_values_are_refused() {
    let mut spec = message();
    for _ in 0..=VALUES_MAX {
        spec = spec.raw(&[0x12, 0]);
    }
    let status = read("v1", "Pod", message().message(2, spec)).unwrap_err();
    assert!(status.message.contains("holds more than 400000 values"), "{status}");
}

#[test]
fn nested_envelopes_end() {
    let mut body = envelope("v1", "List", message());
    for _ in 0..200 {
        body = envelope("v1", "List", message().message(2, message().bytes(1, &body)));
    }
    assert!(decode(&body).unwrap_err().message.contains("nests deeper"));
}

#[test]
fn unknown_numbers_are_told_by_their_place() {
    let container = |extra: Bytes| message().text(1, "c").text(2, "i").raw(&extra.0);
    let object = message()
        .message(1, named("p").text(99, "later"))
        .message(
            2,
            message()
                .message(2, container(message()))
                .message(2, container(message().int(98, 7).int(97, 0).text(96, "")))
                .message(7, message().text(1, "k").text(2, "v")),
        )
        .int(95, -1);
    let (value, warnings) = decode(&envelope("v1", "Pod", object)).unwrap();
    assert_eq!(value["spec"]["containers"][1], json!({"name": "c", "image": "i"}));
    let wanted = ["metadata.#99", "spec.containers[1].#98", "#95"].map(|path| Warning::Unknown(path.into()));
    assert_eq!(warnings, wanted);
    let mut many = message();
    for _ in 0..1_000 {
        many = many.int(99, 1);
    }
    assert_eq!(decode(&envelope("v1", "Pod", many)).unwrap().1.len(), WARNINGS_MAX);
}

#[test]
fn a_config_map_reads_as_its_json() {
    let object = message()
        .message(
            1,
            named("c").message(11, message().text(1, "app").text(2, "x")).message(12, message().text(1, "empty")),
        )
        .message(2, message().text(1, "a").text(2, "1"))
        .message(2, message().text(1, "b").text(2, ""))
        .message(3, message().text(1, "bin").bytes(2, &[0, 255]))
        .int(4, 0)
        .text(999, "of a later version");
    assert_eq!(
        read("v1", "ConfigMap", object).unwrap(),
        json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "c", "namespace": "d", "labels": {"app": "x"}, "annotations": {"empty": ""}},
            "data": {"a": "1", "b": ""}, "binaryData": {"bin": "AP8="}, "immutable": false})
    );
}

#[test]
fn a_deployment_keeps_the_zeros_that_count() {
    let container = message()
        .text(1, "c")
        .text(2, "i")
        .text(3, "run")
        .text(3, "")
        .message(6, message().text(1, "").int(2, 0).int(3, 80).text(4, "TCP").text(5, ""))
        .message(8, message().message(1, message().text(1, "cpu").message(2, message().text(1, "500m"))))
        .message(
            10,
            message()
                .message(
                    1,
                    message()
                        .message(2, message().text(1, "/").message(2, message().int(1, 1).int(2, 0).text(3, "http"))),
                )
                .int(2, 0)
                .int(3, -1)
                .int(7, 0),
        )
        .int(16, 0);
    let spec = message()
        .int(1, 0)
        .message(2, message().message(1, message().text(1, "a").text(2, "b")))
        .message(
            3,
            message().message(1, message()).message(
                2,
                message()
                    .message(1, message().text(1, "v").message(2, message().message(2, message().text(1, ""))))
                    .message(2, container)
                    .text(3, "")
                    .int(4, 0)
                    .int(21, 0),
            ),
        )
        .message(4, message().text(1, "").message(2, message().message(2, message().int(1, 0).int(2, 3).text(3, ""))))
        .int(5, 0)
        .int(7, 0)
        .int(9, 600);
    let object = message().message(1, named("d")).message(2, spec).message(3, message().int(1, 0));
    assert_eq!(
        read("apps/v1", "Deployment", object).unwrap(),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "d"},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}},
                "strategy": {"rollingUpdate": {"maxSurge": 3}}, "progressDeadlineSeconds": 600,
                "template": {"metadata": {}, "spec": {
                    "volumes": [{"name": "v", "emptyDir": {}}],
                    "containers": [{"name": "c", "image": "i", "command": ["run", ""],
                        "ports": [{"containerPort": 80, "protocol": "TCP"}],
                        "resources": {"limits": {"cpu": "500m"}},
                        "livenessProbe": {"httpGet": {"path": "/", "port": "http"}, "timeoutSeconds": -1,
                            "terminationGracePeriodSeconds": 0}}],
                    "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": false}}},
            "status": {}})
    );
}

#[test]
fn secrets_leases_events_and_times() {
    let secret = message().message(1, named("s")).message(2, message().text(1, "k").bytes(2, b"v\0")).text(3, "Opaque");
    assert_eq!(
        read("v1", "Secret", secret).unwrap(),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "d"}, "data": {"k": "dgA="}, "type": "Opaque"})
    );
    let lease = message().message(1, named("l")).message(
        2,
        message().text(1, "").int(2, 15).message(3, message().int(1, 1_784_880_000).int(2, 123_456_789)).int(5, 0),
    );
    assert_eq!(
        read("coordination.k8s.io/v1", "Lease", lease).unwrap()["spec"],
        json!({"holderIdentity": "", "leaseDurationSeconds": 15, "acquireTime": "2026-07-24T08:00:00.123456Z", "leaseTransitions": 0})
    );
    let event = message()
        .message(1, named("e"))
        .message(2, message().text(1, "Pod"))
        .message(5, message().text(1, "").text(2, ""))
        .message(6, message().int(1, 1_784_880_000).int(2, 5))
        .message(7, message())
        .int(8, 0);
    assert_eq!(
        read("v1", "Event", event).unwrap(),
        json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": "d"},
            "involvedObject": {"kind": "Pod"}, "source": {}, "firstTimestamp": "2026-07-24T08:00:00Z"})
    );
}

#[test]
fn options_scales_and_lists() {
    for api_version in ["v1", "apps/v1", "meta.k8s.io/v1"] {
        let options = message().int(1, 0).message(2, message().text(1, "u")).text(4, "Background").text(5, "All");
        assert_eq!(
            read(api_version, "DeleteOptions", options).unwrap(),
            json!({"apiVersion": api_version, "kind": "DeleteOptions", "gracePeriodSeconds": 0, "preconditions": {"uid": "u"},
                "propagationPolicy": "Background", "dryRun": ["All"]})
        );
    }
    let scale = message().message(1, named("x")).message(2, message().int(1, 0));
    let value = read("autoscaling/v1", "Scale", scale).unwrap();
    assert_eq!(value["metadata"]["name"], "x");
    let eviction = message().message(1, named("p")).message(2, message().int(1, 0));
    assert_eq!(read("policy/v1", "Eviction", eviction).unwrap()["deleteOptions"], json!({"gracePeriodSeconds": 0}));
    let inner = envelope("v1", "ConfigMap", message().message(1, named("c")));
    let list = message().message(2, message().bytes(1, &inner)).message(2, message().text(1, "{\"kind\":\"Pod\"}"));
    assert_eq!(
        read("v1", "List", list).unwrap()["items"],
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "d"}}, {"kind": "Pod"}])
    );
}

#[test]
fn pieces_of_a_message_merge_and_numbers_may_be_packed() {
    let object = message()
        .message(1, message().text(1, "p"))
        .message(2, message().text(10, "n1").message(14, message().int(2, 5)))
        .message(2, message().int(4, 7).message(14, message().bytes(4, &[1, 0xac, 2])))
        .message(1, message().message(17, message().text(1, "m").message(7, message().text(1, "{\"f:spec\":{}}"))));
    assert_eq!(
        read("v1", "Pod", object).unwrap(),
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {}}}]},
            "spec": {"nodeName": "n1", "terminationGracePeriodSeconds": 7,
                "securityContext": {"runAsUser": 5, "supplementalGroups": [1, 300]}}})
    );
}

#[test]
fn durations_read_as_in_go() {
    for (nanos, text) in [
        (0, "0s"),
        (1, "1ns"),
        (1_500, "1.5µs"),
        (15_000_000, "15ms"),
        (1_500_000_000, "1.5s"),
        (90_000_000_000, "1m30s"),
        (3_600_000_000_000, "1h0m0s"),
        (-90_000_000_000, "-1m30s"),
        (i64::MIN, "-2562047h47m16.854775808s"),
    ] {
        assert_eq!(go_duration(nanos), text);
    }
}

pub(super) fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

/// Bodies that kubectl 1.32 sent to a logging server.
#[test]
fn bodies_of_kubectl_read_as_what_it_was_asked_for() {
    for (hex, value) in [
        (
            // create configmap game --from-literal=a=1 --from-literal=empty=
            "6b3873000a0f0a0276311209436f6e6669674d617012290a140a0467616d6512001a0022002a0032003800420012060a01611201311209\
             0a05656d70747912001a002200",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "game"}, "data": {"a": "1", "empty": ""}}),
        ),
        (
            // create configmap bin --from-file=bin.dat
            "6b3873000a0f0a0276311209436f6e6669674d617012250a130a0362696e12001a0022002a003200380042001a0e0a0762696e2e646174\
             120300ff011a002200",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bin"}, "binaryData": {"bin.dat": "AP8B"}}),
        ),
        (
            // create secret generic s --from-literal=k=v
            "6b3873000a0c0a0276311206536563726574121d0a110a017312001a0022002a0032003800420012060a016b1201761a001a002200",
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"k": "dg=="}}),
        ),
        (
            // create namespace team
            "6b3873000a0f0a02763112094e616d657370616365121c0a140a047465616d12001a0022002a0032003800420012001a020a001a002200",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}, "spec": {}, "status": {}}),
        ),
        (
            // create deployment web --image=nginx:1 --replicas=0 --port=80
            "6b3873000a150a07617070732f7631120a4465706c6f796d656e7412ba010a1f0a0377656212001a0022002a003200380042005a0a0a03\
             61707012037765621288010800120c0a0a0a0361707012037765621a6e0a1c0a0012001a0022002a003200380042005a0a0a0361707012\
             03776562124e12300a056e67696e7812076e67696e783a312a00320a0a001000185022002a0042006a007200800100880100900100a201\
             001a00320042004a0052005800600068008201008a01009a0100c2010022020a00280038001a0c0800100018002000280038001a002200",
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"app": "web"}},
                "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "strategy": {},
                    "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [
                        {"name": "nginx", "image": "nginx:1", "ports": [{"containerPort": 80}], "resources": {}}]}}},
                "status": {}}),
        ),
        (
            // auth can-i get pods
            "6b3873000a320a17617574686f72697a6174696f6e2e6b38732e696f2f7631121753656c665375626a6563744163636573735265766965\
             77123c0a100a0012001a0022002a00320038004200121e0a1c0a0764656661756c7412036765741a0022002a04706f647332003a001a08\
             080012001a0020001a002200",
            json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": {},
                "spec": {"resourceAttributes": {"namespace": "default", "verb": "get", "resource": "pods"}},
                "status": {"allowed": false}}),
        ),
        (
            // create token bot --duration=10m
            "6b3873000a280a1861757468656e7469636174696f6e2e6b38732e696f2f7631120c546f6b656e52657175657374121d0a100a0012001a\
             0022002a00320038004200120320d8041a040a0012001a002200",
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {},
                "spec": {"expirationSeconds": 600}, "status": {}}),
        ),
    ] {
        let hex: String = hex.split_whitespace().collect();
        assert_eq!(decode(&unhex(&hex)).unwrap(), (value, Vec::new()));
    }
}
