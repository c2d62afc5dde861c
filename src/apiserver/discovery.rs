//! Discovery: which groups, versions, resources and verbs there are.
//!
//! Three forms: the aggregated list (apidiscovery.k8s.io, v2 and v2beta1), the per-group lists of old, and `/version`.
//! Field order follows upstream's structs, because upstream's own scripts compare bytes
//! (`test/cmd/discovery.sh`).

use std::collections::HashSet;
use std::sync::Arc;

use objects::kind::Subresource;
use objects::{Kind, kind};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::document::Document;

const JSON: &str = "application/json";
const AGGREGATED_V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const AGGREGATED_V2BETA1: &str = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// What is left of a custom resource whose definition is being deleted.
const ENDING_VERBS: &[&str] = &["delete", "deletecollection", "get", "list", "watch"];
const STATUS_VERBS: &[&str] = &["get", "patch", "update"];

/// Kinds that are asked and answered but never stored: `(group, plural, kind)`, version v1.
pub const REVIEWS: &[(&str, &str, &str)] = &[
    ("authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview"),
    ("authentication.k8s.io", "tokenreviews", "TokenReview"),
    ("authorization.k8s.io", "localsubjectaccessreviews", "LocalSubjectAccessReview"),
    ("authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
    ("authorization.k8s.io", "selfsubjectrulesreviews", "SelfSubjectRulesReview"),
    ("authorization.k8s.io", "subjectaccessreviews", "SubjectAccessReview"),
];

/// Whether a kind of [`REVIEWS`] is asked in a namespace; the others are cluster-scoped.
pub fn is_namespaced_review(plural: &str) -> bool {
    plural == "localsubjectaccessreviews"
}

/// What a discovery path answers to a client that accepts `accept`, beside built-in kinds these being served; `None` for any
/// other path, and for groups or versions that are not served.
pub fn answer(path: &str, accept: Option<&str>, custom: &[Arc<Kind>]) -> Option<Document> {
    let path = path.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(path);
    let steps: Vec<&str> = path.split('/').skip(1).collect();
    let served = Served { custom };
    match steps.as_slice() {
        ["api"] => Some(served.aggregated(accept, &[""]).unwrap_or_else(|| Document::json(JSON, &Versions::core()))),
        ["apis"] => {
            let groups = &served.groups()[1..];
            Some(
                served
                    .aggregated(accept, groups)
                    .unwrap_or_else(|| Document::json(JSON, &GroupList::of(&served, groups))),
            )
        }
        ["apis", group] if served.groups()[1..].contains(group) => {
            Some(Document::json(JSON, &GroupEntry::alone(&served, group)))
        }
        ["api", "v1"] => Some(Document::json(JSON, &ResourceList::of(&served, "", "v1"))),
        ["apis", group, version] if !group.is_empty() && served.versions_of(group).contains(version) => {
            Some(Document::json(JSON, &ResourceList::of(&served, group, version)))
        }
        _ => None,
    }
}

/// What is served: the built-in kinds, and these.
#[derive(Clone, Copy)]
struct Served<'a> {
    custom: &'a [Arc<Kind>],
}

impl<'a> Served<'a> {
    fn kinds(self) -> impl Iterator<Item = &'a Kind> {
        kind::all().iter().chain(self.custom).map(AsRef::as_ref)
    }

    /// Groups served, the core group first, each once.
    fn groups(self) -> Vec<&'a str> {
        let mut groups: Vec<&'a str> = vec![""];
        let built_in = kind::all().iter().map(|kind| kind.group.as_str());
        let reviewed = REVIEWS.iter().map(|(group, ..)| *group);
        let custom = self.custom.iter().map(|kind| kind.group.as_str());
        let mut seen: HashSet<&str> = groups.iter().copied().collect();
        groups.extend(built_in.chain(reviewed).chain(custom).filter(|group| seen.insert(*group)));
        groups
    }

    /// Versions of a group, the preferred one first.
    fn versions_of(self, group: &str) -> Vec<&'a str> {
        let stored = self.kinds().filter(|kind| kind.group == group).map(|kind| kind.version.as_str());
        let reviewed = REVIEWS.iter().filter(|(of, ..)| *of == group).map(|_| "v1");
        let mut versions: Vec<&'a str> = Vec::new();
        for version in stored.chain(reviewed) {
            if !versions.contains(&version) {
                versions.push(version);
            }
        }
        versions
    }

    /// The aggregated form, where the client names it before plain JSON.
    fn aggregated(self, accept: Option<&str>, groups: &[&'a str]) -> Option<Document> {
        for offered in accept?.split(',') {
            let mut parts = offered.split(';').map(str::trim);
            if parts.next()? != JSON {
                continue;
            }
            let parameters: Vec<&str> = parts.filter(|part| !part.starts_with("q=")).collect();
            if parameters.is_empty() {
                return None;
            }
            if !parameters.contains(&"g=apidiscovery.k8s.io") || !parameters.contains(&"as=APIGroupDiscoveryList") {
                continue;
            }
            if parameters.contains(&"v=v2") {
                let list = Discovery::of("apidiscovery.k8s.io/v2", self, groups);
                return Some(Document::json(AGGREGATED_V2, &list));
            }
            if parameters.contains(&"v=v2beta1") {
                let list = Discovery::of("apidiscovery.k8s.io/v2beta1", self, groups);
                return Some(Document::json(AGGREGATED_V2BETA1, &list));
            }
        }
        None
    }

    fn kinds_of(self, group: &str, version: &str) -> impl Iterator<Item = &'a Kind> {
        self.kinds().filter(move |kind| kind.group == group && kind.version == version)
    }
}

fn reviews_of<'a>(group: &'a str, version: &'a str) -> impl Iterator<Item = (&'static str, &'static str)> + 'a {
    let reviews = REVIEWS.iter().filter(move |(of, ..)| *of == group && version == "v1");
    reviews.map(|(_, plural, kind)| (*plural, *kind))
}

fn verbs_of(kind: &Kind) -> &'static [&'static str] {
    if kind.custom.as_ref().is_some_and(|custom| custom.is_ending()) { ENDING_VERBS } else { VERBS }
}

/// The subresources of a kind that follow from no flag of it.
pub fn extras_of(kind: &Kind) -> impl Iterator<Item = &'static Subresource> {
    kind.subresources.iter()
}

// === The lists of old ===

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    kind: &'static str,
    versions: [&'static str; 1],
    #[serde(rename = "serverAddressByClientCIDRs")]
    addresses: [(); 0],
}

impl Versions {
    fn core() -> Self {
        Self { kind: "APIVersions", versions: ["v1"], addresses: [] }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupVersion {
    group_version: String,
    version: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupEntry {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_version: Option<&'static str>,
    name: String,
    versions: Vec<GroupVersion>,
    preferred_version: GroupVersion,
}

impl GroupEntry {
    fn of(served: &Served<'_>, group: &str) -> Self {
        let of =
            |version: &str| GroupVersion { group_version: format!("{group}/{version}"), version: version.to_owned() };
        let versions = served.versions_of(group);
        let preferred_version = of(versions.first().copied().unwrap_or("v1"));
        let versions = versions.into_iter().map(of).collect();
        Self { kind: None, api_version: None, name: group.into(), versions, preferred_version }
    }

    fn alone(served: &Served<'_>, group: &str) -> Self {
        Self { kind: Some("APIGroup"), api_version: Some("v1"), ..Self::of(served, group) }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupList {
    kind: &'static str,
    api_version: &'static str,
    groups: Vec<GroupEntry>,
}

impl GroupList {
    fn of(served: &Served<'_>, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|group| GroupEntry::of(served, group)).collect();
        Self { kind: "APIGroupList", api_version: "v1", groups }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceList {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_version: Option<&'static str>,
    group_version: String,
    resources: Vec<ResourceEntry>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceEntry {
    name: String,
    singular_name: String,
    namespaced: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    group: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'static str,
    kind: String,
    verbs: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    short_names: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    categories: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    storage_version_hash: String,
}

impl ResourceEntry {
    fn plain(name: String, namespaced: bool, kind: &str, verbs: &[&'static str]) -> Self {
        Self {
            name,
            singular_name: String::new(),
            namespaced,
            group: "",
            version: "",
            kind: kind.into(),
            verbs: verbs.to_vec(),
            short_names: Vec::new(),
            categories: Vec::new(),
            storage_version_hash: String::new(),
        }
    }
}

impl ResourceList {
    fn of(served: &Served<'_>, group: &str, version: &str) -> Self {
        let mut resources = Vec::new();
        for kind in served.kinds_of(group, version) {
            let sub = |name: &str, answers: &str, verbs| {
                ResourceEntry::plain(format!("{}/{name}", kind.plural), kind.namespaced, answers, verbs)
            };
            resources.push(ResourceEntry {
                singular_name: kind.singular.clone(),
                short_names: kind.short_names.clone(),
                categories: kind.categories.clone(),
                storage_version_hash: storage_version_hash(kind),
                ..ResourceEntry::plain(kind.plural.clone(), kind.namespaced, &kind.kind, verbs_of(kind))
            });
            for extra in extras_of(kind) {
                let (group, version) = if extra.group.is_empty() { ("", "") } else { (extra.group, extra.version) };
                resources.push(ResourceEntry { group, version, ..sub(extra.name, extra.kind, extra.verbs) });
            }
            if kind.has_scale {
                let scale = sub("scale", "Scale", STATUS_VERBS);
                resources.push(ResourceEntry { group: "autoscaling", version: "v1", ..scale });
            }
            if kind.has_status {
                resources.push(sub("status", &kind.kind, STATUS_VERBS));
            }
        }
        for (plural, kind) in reviews_of(group, version) {
            let entry = ResourceEntry::plain(plural.into(), is_namespaced_review(plural), kind, &["create"]);
            resources.push(ResourceEntry { singular_name: kind.to_lowercase(), ..entry });
        }
        resources.sort_by(|left, right| left.name.cmp(&right.name));
        let group_version = if group.is_empty() { version.into() } else { format!("{group}/{version}") };
        let api_version = (!group.is_empty()).then_some("v1");
        Self { kind: "APIResourceList", api_version, group_version, resources }
    }
}

/// Changes when the stored form of a kind changes; opaque to clients.
fn storage_version_hash(kind: &Kind) -> String {
    use base64::Engine;
    let stored = match &kind.custom {
        Some(custom) => custom.stored_version().to_owned(),
        None => format!("{}/{}", kind.group, kind.version),
    };
    let hash = Sha256::digest(format!("{stored}/{}", kind.kind));
    base64::engine::general_purpose::STANDARD.encode(&hash[..8])
}

// === The aggregated list ===

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Discovery<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: Empty,
    items: Vec<GroupDiscovery<'a>>,
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupDiscovery<'a> {
    metadata: GroupMetadata<'a>,
    versions: Vec<VersionDiscovery<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupMetadata<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    creation_timestamp: (),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VersionDiscovery<'a> {
    version: &'a str,
    resources: Vec<ResourceDiscovery>,
    freshness: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceDiscovery {
    resource: String,
    response_kind: ResponseKind,
    scope: &'static str,
    singular_resource: String,
    verbs: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    short_names: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    categories: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subresources: Vec<SubresourceDiscovery>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SubresourceDiscovery {
    subresource: String,
    response_kind: ResponseKind,
    verbs: Vec<&'static str>,
}

#[derive(Serialize)]
struct ResponseKind {
    group: String,
    version: String,
    kind: String,
}

impl ResponseKind {
    fn new(group: &str, version: &str, kind: &str) -> Self {
        Self { group: group.into(), version: version.into(), kind: kind.into() }
    }
}

impl<'a> Discovery<'a> {
    fn of(api_version: &'static str, served: Served<'a>, groups: &[&'a str]) -> Self {
        let items = groups
            .iter()
            .map(|group| GroupDiscovery {
                metadata: GroupMetadata { name: group, creation_timestamp: () },
                versions: served
                    .versions_of(group)
                    .into_iter()
                    .map(|version| VersionDiscovery {
                        version,
                        resources: resources_of(served, group, version),
                        freshness: "Current",
                    })
                    .collect(),
            })
            .collect();
        Self { kind: "APIGroupDiscoveryList", api_version, metadata: Empty {}, items }
    }
}

/// The group of what is sent to a subresource.
fn group_of<'a>(extra: &'a Subresource, kind: &'a Kind) -> &'a str {
    if extra.group.is_empty() { &kind.group } else { extra.group }
}

fn resources_of(served: Served<'_>, group: &str, version: &str) -> Vec<ResourceDiscovery> {
    let stored = served.kinds_of(group, version).map(|kind| {
        let own = || ResponseKind::new(&kind.group, &kind.version, &kind.kind);
        let mut subresources: Vec<SubresourceDiscovery> = extras_of(kind)
            .map(|extra| SubresourceDiscovery {
                subresource: extra.name.into(),
                response_kind: ResponseKind::new(group_of(extra, kind), extra.version, extra.kind),
                verbs: extra.verbs.to_vec(),
            })
            .collect();
        let more = [
            (kind.has_scale, "scale", ResponseKind::new("autoscaling", "v1", "Scale")),
            (kind.has_status, "status", own()),
        ];
        for (_, name, response_kind) in more.into_iter().filter(|(exists, ..)| *exists) {
            let verbs = STATUS_VERBS.to_vec();
            subresources.push(SubresourceDiscovery { subresource: name.into(), response_kind, verbs });
        }
        ResourceDiscovery {
            resource: kind.plural.clone(),
            response_kind: own(),
            scope: if kind.namespaced { "Namespaced" } else { "Cluster" },
            singular_resource: kind.singular.clone(),
            verbs: verbs_of(kind).to_vec(),
            short_names: kind.short_names.clone(),
            categories: kind.categories.clone(),
            subresources,
        }
    });
    let reviews = reviews_of(group, version).map(|(plural, kind)| ResourceDiscovery {
        resource: plural.into(),
        response_kind: ResponseKind::new(group, "v1", kind),
        scope: if is_namespaced_review(plural) { "Namespaced" } else { "Cluster" },
        singular_resource: kind.to_lowercase(),
        verbs: vec!["create"],
        short_names: Vec::new(),
        categories: Vec::new(),
        subresources: Vec::new(),
    });
    let mut all: Vec<ResourceDiscovery> = stored.chain(reviews).collect();
    all.sort_by(|left, right| left.resource.cmp(&right.resource));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn text(path: &str, accept: Option<&str>) -> (String, String) {
        let document = answer(path, accept, &[]).unwrap_or_else(|| panic!("{path} is served"));
        (document.content_type.to_owned(), String::from_utf8(document.body.to_vec()).expect("text"))
    }

    #[test]
    fn the_form_follows_what_the_client_accepts() {
        let v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        let old = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
        let rows = [
            (None, "APIGroupList", JSON),
            (Some("*/*"), "APIGroupList", JSON),
            (Some(JSON), "APIGroupList", JSON),
            (Some(v2), "APIGroupDiscoveryList", AGGREGATED_V2),
            (Some(old), "APIGroupDiscoveryList", AGGREGATED_V2BETA1),
        ];
        for (accept, kind, content_type) in rows {
            for path in ["/apis", "/apis/"] {
                let (found, body) = text(path, accept);
                assert_eq!(found, content_type, "{accept:?}");
                assert!(body.contains(&format!("\"kind\":\"{kind}\"")), "{accept:?}: {body}");
            }
        }
        let both = format!("{v2},{old},{JSON}");
        assert_eq!(text("/api", Some(&both)).0, AGGREGATED_V2);
        assert_eq!(text("/api", Some(JSON)).0, JSON);
    }

    #[test]
    fn bytes_are_in_upstreams_order() {
        let (_, body) = text("/api/v1", None);
        let wanted = concat!(
            r#"{"name":"configmaps","singularName":"configmap","namespaced":true,"kind":"ConfigMap","verbs":["create","#,
            r#""delete","deletecollection","get","list","patch","update","watch"],"shortNames":["cm"],"storageVersionHash":"#
        );
        assert!(body.contains(wanted), "{body}");
        assert!(body.contains(r#"{"name":"pods/eviction","singularName":"","namespaced":true,"group":"policy","version":"v1","kind":"Eviction""#));
    }

    #[test]
    fn both_forms_name_the_same_resources() {
        let accept = Some(AGGREGATED_V2);
        for (path, list) in [("/api", "/api/v1"), ("/apis", "/apis/apps/v1")] {
            let aggregated: Value = serde_json::from_str(&text(path, accept).1).expect("JSON");
            let group = aggregated["items"][0]["versions"][0]["resources"].as_array().expect("resources");
            let mut names = Vec::new();
            for resource in group {
                let name = resource["resource"].as_str().expect("name");
                names.push(name.to_owned());
                for sub in resource["subresources"].as_array().map_or(&[][..], Vec::as_slice) {
                    names.push(format!("{name}/{}", sub["subresource"].as_str().expect("name")));
                }
            }
            names.sort();
            let legacy: Value = serde_json::from_str(&text(list, None).1).expect("JSON");
            let legacy: Vec<&str> = legacy["resources"]
                .as_array()
                .expect("list")
                .iter()
                .map(|one| one["name"].as_str().expect("name"))
                .collect();
            assert_eq!(names, legacy);
        }
    }

    #[test]
    fn groups_list_all_their_versions() {
        let (_, body) = text("/apis/autoscaling", None);
        let group: Value = serde_json::from_str(&body).expect("JSON");
        let versions: Vec<&Value> =
            group["versions"].as_array().expect("versions").iter().map(|one| &one["version"]).collect();
        assert_eq!(versions, ["v2", "v1"]);
        assert_eq!(group["preferredVersion"]["version"], "v2");
        for version in ["v1", "v2"] {
            assert!(text(&format!("/apis/autoscaling/{version}"), None).1.contains("horizontalpodautoscalers/status"));
        }
    }

    #[test]
    fn what_is_not_served_is_not_answered() {
        for path in ["/", "/api/v2", "/apis/nope", "/apis/apps/v2", "/apis//v1", "/api/v1/pods"] {
            assert!(answer(path, None, &[]).is_none(), "{path}");
        }
    }
}
