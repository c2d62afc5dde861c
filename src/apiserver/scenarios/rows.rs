//! Requests that must be refused, as rows of a table: what is sent, what is answered, and that nothing has changed.

use super::*;

pub(super) const CM: &str = "/api/v1/namespaces/d/configmaps";
pub(super) const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/d/deployments";
pub(super) const PODS: &str = "/api/v1/namespaces/d/pods";

pub(super) const JSON: &str = "application/json";
pub(super) const YAML: &str = "application/yaml";
pub(super) const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
pub(super) const MERGE: &str = "application/merge-patch+json";
pub(super) const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub(super) const JSON_PATCH: &str = "application/json-patch+json";
pub(super) const APPLY: &str = "application/apply-patch+yaml";

/// Code and reason of a refusal.
pub(super) type Wanted = (u16, &'static str);
pub(super) const BAD: Wanted = (400, "BadRequest");
pub(super) const FORBIDDEN: Wanted = (403, "Forbidden");
pub(super) const NOT_FOUND: Wanted = (404, "NotFound");
pub(super) const NO_METHOD: Wanted = (405, "MethodNotAllowed");
pub(super) const CONFLICT: Wanted = (409, "Conflict");
pub(super) const EXISTS: Wanted = (409, "AlreadyExists");
pub(super) const TOO_LARGE: Wanted = (413, "RequestEntityTooLarge");
pub(super) const NO_MEDIA: Wanted = (415, "UnsupportedMediaType");
pub(super) const INVALID: Wanted = (422, "Invalid");

/// The longest message: a refusal does not quote what was sent at length.
const MESSAGE_MAX: usize = 1_000;

/// A request, and what it must be answered.
pub(super) struct Row<'a> {
    method: &'a str,
    path: String,
    media: &'a str,
    body: &'a [u8],
    wanted: Wanted,
    /// Part of the message.
    words: &'a str,
}

/// A row: method, path, content type and body; code and reason; part of the message.
pub(super) fn row<'a>(
    method: &'a str,
    path: impl Into<String>,
    media: &'a str,
    body: &'a (impl AsRef<[u8]> + ?Sized),
    wanted: Wanted,
    words: &'a str,
) -> Row<'a> {
    Row { method, path: path.into(), media, body: body.as_ref(), wanted, words }
}

/// Sends each row's request as an administrator, and checks what it is answered, and that all together change nothing.
pub(super) async fn refuse(world: &World, rows: Vec<Row<'_>>) {
    let before = everything(world).await;
    for Row { method, path, media, body, wanted: (code, reason), words } in rows {
        let answer = world.send(admin(), method, &path, &[("content-type", media)], body).await;
        let shown: String = String::from_utf8_lossy(body).chars().take(80).collect();
        let about = format!("{method} {path} {media} {shown}");
        assert_eq!(answer.code, code, "{about}: {}", answer.text);
        let status = answer.value();
        assert_eq!(status["reason"], reason, "{about}: {}", answer.text);
        assert_eq!((&status["kind"], &status["code"]), (&json!("Status"), &json!(code)), "{about}");
        let message = status["message"].as_str().unwrap();
        assert!(message.contains(words), "{about}: {message}");
        assert!(message.len() < MESSAGE_MAX, "{about}: what was sent is quoted in {} bytes", message.len());
    }
    assert_eq!(everything(world).await, before, "refused requests change nothing");
}

/// All objects of the kinds that the rows are about.
pub(super) async fn everything(world: &World) -> Vec<Value> {
    let mut all = Vec::new();
    for path in ["/api/v1/namespaces", "/api/v1/configmaps", "/apis/apps/v1/deployments", "/api/v1/pods"] {
        all.push(world.get(path).await.expect(200)["items"].clone());
    }
    all
}
