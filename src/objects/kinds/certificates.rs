//! Requests for certificates, and bundles of authorities to trust.
//!
//! Follows `pkg/apis/certificates/validation/validation.go` and
//! `pkg/registry/certificates/{certificates,clustertrustbundle,podcertificaterequest}/strategy.go`.

use base64::Engine as _;
use serde_json::{Value, json};

use super::Declaration;
use crate::columns::{self, AGE, Column, NAME, human};
use crate::kind::Subresource;
use crate::lifecycle::{ensure_map, set_or_remove};
use crate::validation::{Faults, is_empty, list, names, text};

pub(super) static CERTIFICATE_SIGNING_REQUEST: Declaration = Declaration {
    stored_only: true,
    short_names: &["csr"],
    status: true,
    subresources: &[Subresource {
        name: "approval",
        group: "",
        version: "v1",
        kind: "CertificateSigningRequest",
        verbs: &["get", "patch", "update"],
    }],
    selects: &["spec.signerName"],
    rules: Some(request),
    changed: Some(|faults, old, new| {
        request(faults, new);
        faults.immutable("spec", &old["spec"], &new["spec"]);
        settled(faults, old, new);
    }),
    begin: Some(begin),
    keep_status: Some(keep_status),
    columns: &[
        NAME,
        AGE,
        Column::text("SignerName", "Who is asked to sign.").showing("spec.signerName"),
        Column::text("Requestor", "Who asks.").showing("spec.username"),
        Column::text("RequestedDuration", "How long the certificate should be good.").made(|object, _| {
            let seconds = object["spec"]["expirationSeconds"].as_i64();
            json!(seconds.map_or_else(|| "<none>".into(), human))
        }),
        Column::text("Condition", "How far the request is.").made(|object, _| json!(condition(object))),
    ],
    ..Declaration::cluster("certificates.k8s.io", "v1", "CertificateSigningRequest", "certificatesigningrequests")
};

pub(super) static CLUSTER_TRUST_BUNDLE: Declaration = Declaration {
    stored_only: true,
    selects: &["spec.signerName"],
    // Names of bundles of a signer start with the signer's, in colons for slashes.
    named: |name| names::dns_subdomain(name.rsplit(':').next().unwrap_or(name)),
    rules: Some(bundle),
    immutable: &["spec.signerName"],
    columns: &[
        NAME,
        Column::text("SignerName", "Whose authorities these are.").showing_or("spec.signerName", "<none>"),
    ],
    ..Declaration::cluster("certificates.k8s.io", "v1", "ClusterTrustBundle", "clustertrustbundles")
};

pub(super) static POD_CERTIFICATE_REQUEST: Declaration = Declaration {
    stored_only: true,
    status: true,
    selects: &["spec.signerName", "spec.podName", "spec.nodeName"],
    rules: Some(|faults, value| {
        let spec = &value["spec"];
        faults.needs_name("spec.signerName", &spec["signerName"], names::prefixed);
        for key in ["podName", "podUID", "serviceAccountName", "serviceAccountUID", "nodeName", "nodeUID"] {
            faults.needs(&format!("spec.{key}"), &spec[key]);
        }
        faults.between("spec.maxExpirationSeconds", &spec["maxExpirationSeconds"], 3600, 7_862_400);
    }),
    immutable: &["spec"],
    columns: &[
        NAME,
        Column::text("PodName", "For which pod.").showing("spec.podName"),
        Column::text("ServiceAccountName", "For which account.").showing("spec.serviceAccountName"),
        Column::text("NodeName", "On which node.").showing("spec.nodeName"),
        Column::text("SignerName", "Who is asked to sign.").showing("spec.signerName"),
        AGE,
    ],
    ..Declaration::plain("certificates.k8s.io", "v1", "PodCertificateRequest", "podcertificaterequests")
};

/// Least seconds that a certificate may be asked for.
const SECONDS_MIN: i64 = 600;

const PEM_HEAD: &str = "-----BEGIN CERTIFICATE REQUEST-----";

const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

fn request(faults: &mut Faults, value: &Value) {
    let spec = &value["spec"];
    let sent = base64::engine::general_purpose::STANDARD.decode(text(spec, "request")).unwrap_or_default();
    let pem = String::from_utf8_lossy(&sent);
    if !pem.contains(PEM_HEAD) {
        // The request itself may hold anything, so it is not repeated.
        faults.invalid("spec.request", &json!(""), "PEM block type must be CERTIFICATE REQUEST");
    }
    if is_empty(&spec["usages"]) {
        faults.required("spec.usages", "");
    }
    let mut seen = Vec::new();
    for (path, usage) in list("spec.usages", &spec["usages"]) {
        faults.one_of(&path, usage, &USAGES);
        if seen.contains(&usage) {
            faults.duplicate(&path, usage);
        }
        seen.push(usage);
    }
    if faults.needs("spec.signerName", &spec["signerName"]) {
        faults.may_be_named("spec.signerName", &spec["signerName"], names::prefixed);
    }
    let seconds = &spec["expirationSeconds"];
    if seconds.as_i64().is_some_and(|seconds| seconds < SECONDS_MIN) {
        faults.invalid(
            "spec.expirationSeconds",
            seconds,
            format!("may not specify a duration less than {SECONDS_MIN} seconds"),
        );
    }
    conditions(faults, &value["status"]["conditions"]);
}

fn conditions(faults: &mut Faults, conditions: &Value) {
    let mut kinds: Vec<&str> = Vec::new();
    for (path, condition) in list("status.conditions", conditions) {
        let kind = text(condition, "type");
        faults.needs(&format!("{path}.type"), &condition["type"]);
        match kind {
            "Approved" | "Denied" | "Failed" => {
                faults.supported(&format!("{path}.status"), &condition["status"], &["True"]);
            }
            _ => faults.supported(&format!("{path}.status"), &condition["status"], &["False", "True", "Unknown"]),
        }
        if kinds.contains(&kind) {
            faults.duplicate(&format!("{path}.type"), &condition["type"]);
        }
        if (kind == "Approved" && kinds.contains(&"Denied")) || (kind == "Denied" && kinds.contains(&"Approved")) {
            faults.invalid(
                &format!("{path}.type"),
                &condition["type"],
                "Approved and Denied conditions are mutually exclusive",
            );
        }
        kinds.push(kind);
    }
}

/// What was approved, denied, failed or issued stays so.
fn settled(faults: &mut Faults, old: &Value, new: &Value) {
    let kinds = |value: &Value| -> Vec<String> {
        let all = columns::list(&value["status"]["conditions"]).iter();
        all.map(|condition| text(condition, "type").to_owned()).collect()
    };
    let (before, after) = (kinds(old), kinds(new));
    for kind in ["Approved", "Denied", "Failed"] {
        let has = |kinds: &[String]| kinds.iter().any(|one| one == kind);
        if has(&before) && !has(&after) {
            faults.forbidden("status.conditions", format!("updates may not remove a condition of type {kind:?}"));
        }
    }
    let issued = &old["status"]["certificate"];
    if !is_empty(issued) && *issued != new["status"]["certificate"] {
        faults.forbidden("status.certificate", "updates may not set certificate content once it is set");
    }
}

/// Who asks is not for the client to say: the server knows, and writes it.
fn begin(value: &mut Value) {
    value["status"] = json!({});
    let spec = ensure_map(value, "spec");
    for key in ["username", "uid", "groups", "extra"] {
        spec.remove(key);
    }
}

/// A status write decides nothing: approval and denial stay as they were.
fn keep_status(old: &Value, new: &mut Value) {
    let decided = |value: &Value| matches!(text(value, "type"), "Approved" | "Denied");
    let of = |value: &Value, wanted: bool| -> Vec<Value> {
        let all = columns::list(&value["status"]["conditions"]).iter();
        all.filter(|condition| decided(condition) == wanted).cloned().collect()
    };
    let mut conditions = of(old, true);
    conditions.extend(of(new, false));
    let status = ensure_map(new, "status");
    let conditions = if conditions.is_empty() { Value::Null } else { Value::Array(conditions) };
    set_or_remove(status, "conditions", conditions);
}

fn bundle(faults: &mut Faults, value: &Value) {
    let (name, spec) = (text(&value["metadata"], "name"), &value["spec"]);
    let signer = text(spec, "signerName");
    if signer.is_empty() {
        if name.contains(':') {
            let detail = "ClusterTrustBundle without signer name must not have \":\" in its name";
            faults.invalid("metadata.name", &json!(name), detail);
        }
    } else {
        faults.named("spec.signerName", signer, names::prefixed(signer));
        let prefix = format!("{}:", signer.replace('/', ":"));
        if !name.starts_with(&prefix) {
            let detail = format!("ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}");
            faults.invalid("metadata.name", &json!(name), detail);
        }
    }
    if !text(spec, "trustBundle").contains("-----BEGIN CERTIFICATE-----") {
        faults.invalid("spec.trustBundle", &json!("<value omitted>"), "at least one trust anchor must be provided");
    }
}

fn condition(object: &Value) -> String {
    let kinds: Vec<&str> =
        columns::list(&object["status"]["conditions"]).iter().map(|condition| text(condition, "type")).collect();
    let decided = ["Denied", "Approved"].into_iter().find(|kind| kinds.contains(kind));
    let mut words = vec![decided.unwrap_or("Pending")];
    if kinds.contains(&"Failed") {
        words.push("Failed");
    }
    if !is_empty(&object["status"]["certificate"]) {
        words.push("Issued");
    }
    words.join(",")
}
