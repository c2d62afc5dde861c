//! From a path to what it names. Only canonical paths name anything: no dots, no encoded slashes, no empty steps.

use std::sync::Arc;

use objects::{Key, Kind, Status};

use crate::{discovery, query};

/// Longest name in a path; upstream's names end at 253.
const STEP_BYTES_MAX: usize = 512;

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `/livez`, `/readyz`, `/healthz`.
    Health(Health),
    /// `/version`.
    Version,
    /// `/metrics`.
    Metrics,
    /// `/barque/v1/…`.
    Own(Own),
    /// Who issues tokens, and how they are checked.
    Issuer(Issuer),
    /// Discovery and OpenAPI.
    Document,
    /// A kind that is only asked: group and plural, and the namespace where there is one.
    Review(&'static str, &'static str, String),
    /// Objects of a kind.
    Resource(Target),
}

/// Which question about health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Does the process live?
    Live,
    /// Should clients be sent here?
    Ready,
}

/// Which question about the issuer of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Issuer {
    /// Who issues, and where the keys are.
    Configuration,
    /// The public keys.
    Keys,
}

/// Which of Barque's own endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// The cluster as `barque status` shows it.
    Status,
    /// Letting a node or master in.
    Join,
    /// A node agent's sign of life.
    Heartbeat,
}

/// Objects of a kind, one object, or a subresource of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Which kind.
    pub kind: Arc<Kind>,
    /// Namespace; empty for cluster-scoped kinds, and for all namespaces.
    pub namespace: String,
    /// Object name; `None` for the collection.
    pub name: Option<String>,
    /// Behind the name.
    pub subresource: Option<String>,
}

impl Target {
    /// The key of the named object; with an empty name for a collection.
    pub fn key(&self) -> Key {
        Key::new(self.kind.resource(), &self.namespace, self.name.as_deref().unwrap_or(""))
    }

    /// 404 about the named object.
    pub fn not_found(&self) -> Status {
        Status::not_found(&self.kind.group, &self.kind.plural, self.name.as_deref().unwrap_or(""))
    }
}

/// Finds the kind behind a group, a version and a plural.
pub type Find<'a> = dyn Fn(&str, &str, &str) -> Option<Arc<Kind>> + 'a;

/// Reads a path; `find` says which kinds there are.
///
/// # Errors
/// 400 for malformed encodings, 404 for paths that name nothing.
pub fn parse(path: &str, find: &Find<'_>) -> Result<Route, Status> {
    match path {
        "/livez" | "/healthz" => return Ok(Route::Health(Health::Live)),
        "/readyz" => return Ok(Route::Health(Health::Ready)),
        "/version" | "/version/" => return Ok(Route::Version),
        "/metrics" => return Ok(Route::Metrics),
        "/.well-known/openid-configuration" => return Ok(Route::Issuer(Issuer::Configuration)),
        "/openid/v1/jwks" => return Ok(Route::Issuer(Issuer::Keys)),
        "/barque/v1/status" => return Ok(Route::Own(Own::Status)),
        "/barque/v1/join" => return Ok(Route::Own(Own::Join)),
        "/barque/v1/heartbeat" => return Ok(Route::Own(Own::Heartbeat)),
        "/api" | "/api/" | "/apis" | "/apis/" => return Ok(Route::Document),
        _ if path == "/openapi/v3" || path.starts_with("/openapi/v3/") || path == "/openapi/v2" => {
            return Ok(Route::Document);
        }
        _ => {}
    }
    let steps: Vec<String> =
        path.strip_prefix('/').ok_or_else(Status::no_such_path)?.split('/').map(step).collect::<Result<_, _>>()?;
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    // Discovery answers with a trailing slash too, objects do not.
    let (group, version, rest) = match steps.as_slice() {
        ["apis", _] | ["apis", _, ""] => return Ok(Route::Document),
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return Err(Status::no_such_path()),
    };
    if matches!(rest, [] | [""]) {
        return Ok(Route::Document);
    }
    if rest.contains(&"") {
        return Err(Status::no_such_path());
    }
    let asked = match rest {
        [plural] => Some(("", *plural)),
        ["namespaces", namespace, plural] => Some((*namespace, *plural)),
        _ => None,
    };
    if let Some((namespace, plural)) = asked
        && version == "v1"
        && discovery::is_namespaced_review(plural) != namespace.is_empty()
        && let Some((group, plural, _)) =
            discovery::REVIEWS.iter().find(|(of, name, _)| *of == group && *name == plural)
    {
        return Ok(Route::Review(group, plural, namespace.to_owned()));
    }
    resource(group, version, rest, find).map(Route::Resource)
}

fn resource(group: &str, version: &str, rest: &[&str], find: &Find<'_>) -> Result<Target, Status> {
    let (namespace, rest) = match rest {
        // Below a namespace come its objects, or its own two subresources.
        ["namespaces", namespace, plural, ..] if !matches!(*plural, "status" | "finalize") => (*namespace, &rest[2..]),
        _ => ("", rest),
    };
    let (plural, name, subresource) = match rest {
        [plural] => (*plural, None, None),
        [plural, name] => (*plural, Some(*name), None),
        [plural, name, subresource] => (*plural, Some(*name), Some(*subresource)),
        _ => return Err(Status::no_such_path()),
    };
    let kind = find(group, version, plural).ok_or_else(Status::no_such_path)?;
    // Cluster-scoped kinds lie in no namespace; single objects of the others lie in exactly one.
    let fits = if kind.namespaced { name.is_none() || !namespace.is_empty() } else { namespace.is_empty() };
    if !fits {
        return Err(Status::no_such_path());
    }
    Ok(Target {
        kind,
        namespace: namespace.to_owned(),
        name: name.map(str::to_owned),
        subresource: subresource.map(str::to_owned),
    })
}

fn step(text: &str) -> Result<String, Status> {
    let step = query::decode(text).ok_or_else(|| Status::bad_request("the path is not properly encoded"))?;
    let canonical = step != "." && step != ".." && !step.contains(['/', '\\', '%']) && !step.contains(char::is_control);
    if canonical && step.len() <= STEP_BYTES_MAX { Ok(step) } else { Err(Status::no_such_path()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(path: &str) -> Result<Route, Status> {
        super::parse(path, &|group, version, plural| objects::kind::by_plural(group, version, plural).cloned())
    }

    #[test]
    fn what_is_not_canonical_names_nothing() {
        for path in [
            "",
            "/",
            "api/v1",
            "/api/v1/pods/",
            "/api/v1//pods",
            "/api/v1/namespaces/a/../b/pods",
            "/api/v1/namespaces/%2e%2e/pods",
            "/api/v1/namespaces/a%2fb/pods",
            "/api/v1/namespaces/a%2Fb",
            "/api/v1/namespaces/a%5cb",
            "/api/v1/namespaces/a%00",
            "/api/v1/namespaces/a/pods/b/log/c",
            "/api/v1/pods/a",
            "/api/v1/namespaces/a/nodes",
            "/api/v1/namespaces/a/nodes/n",
            "/apis/apps/v2/deployments",
            "/api/v2/pods",
            "/barque/v1/other",
            "/openapi",
            "/livez/",
            "/api/v1/namespaces/a//pods",
            "/apis/authorization.k8s.io/v2/subjectaccessreviews",
            "/apis/authorization.k8s.io/v1/localsubjectaccessreviews",
            "/apis/authorization.k8s.io/v1/namespaces/a/subjectaccessreviews",
        ] {
            assert_eq!(parse(path).map_err(|status| status.code), Err(404), "{path}");
        }
        for path in ["/api/v1/namespaces/%", "/api/v1/namespaces/%zz", "/api/v1/namespaces/%ff"] {
            assert_eq!(parse(path).map_err(|status| status.code), Err(400), "{path}");
        }
    }

    #[test]
    fn paths_name_objects() {
        let rows = [
            ("/api/v1/pods", "pods", "", None, None),
            ("/api/v1/namespaces", "namespaces", "", None, None),
            ("/api/v1/namespaces/a", "namespaces", "", Some("a"), None),
            ("/api/v1/namespaces/a/status", "namespaces", "", Some("a"), Some("status")),
            ("/api/v1/namespaces/a/finalize", "namespaces", "", Some("a"), Some("finalize")),
            ("/api/v1/namespaces/a/pods", "pods", "a", None, None),
            ("/api/v1/namespaces/a/pods/b%3Ac", "pods", "a", Some("b:c"), None),
            ("/apis/apps/v1/namespaces/a/deployments/b/scale", "deployments", "a", Some("b"), Some("scale")),
            ("/api/v1/nodes/n/status", "nodes", "", Some("n"), Some("status")),
        ];
        for (path, plural, namespace, name, subresource) in rows {
            let Ok(Route::Resource(target)) = parse(path) else { panic!("{path}") };
            let found =
                (&*target.kind.plural, &*target.namespace, target.name.as_deref(), target.subresource.as_deref());
            assert_eq!(found, (plural, namespace, name, subresource), "{path}");
        }
        for path in
            ["/api", "/api/", "/apis", "/apis/apps", "/apis/apps/", "/apis/apps/v1", "/api/v1/", "/openapi/v3/api/v1"]
        {
            assert_eq!(parse(path), Ok(Route::Document), "{path}");
        }
    }
}
