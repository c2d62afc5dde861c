//! What a service account brings into a new pod: the volume with its token, and credentials for pulling images.
//!
//! Follows upstream's `plugin/pkg/admission/serviceaccount`, but for the deprecated annotation that limits which Secrets a
//! pod may mount. Whoever makes pods calls it: the API server for those of clients, controllers for their own.

use serde_json::{Value, json};

use crate::{Key, Status};

/// The account of pods that name none.
pub const ACCOUNT_DEFAULT: &str = "default";

/// The ConfigMap in every namespace with which pods recognize the API.
const ROOT_CA: &str = "kube-root-ca.crt";
/// How the names of these volumes start.
const VOLUME_PREFIX: &str = "kube-api-access-";
/// Where programs look for their token.
const PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// How long these tokens live: an hour, and seven seconds by which upstream's own are told from those that users ask for.
const TOKEN_SECONDS: i64 = 3607;

/// The service account that a pod runs as; the old name of the field counts where the new one is empty.
pub fn account_of(pod: &Value) -> &str {
    let named = |field: &str| pod["spec"][field].as_str().filter(|name| !name.is_empty());
    named("serviceAccountName").or_else(|| named("serviceAccount")).unwrap_or(ACCOUNT_DEFAULT)
}

/// 403, in upstream's words: a new pod runs as the account `key`, and there is none.
pub fn no_account(pod: &Value, key: &Key) -> Status {
    let named = |field: &str| pod["metadata"][field].as_str().filter(|name| !name.is_empty());
    let pod = named("name").or_else(|| named("generateName")).unwrap_or("");
    let (namespace, name) = (&key.namespace, &key.name);
    let why = format!("error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found");
    Status::forbidden("", "pods", pod, why)
}

/// Writes into a new pod what its `account` brings; `suffix` ends the name of the volume. Twice changes nothing more.
pub fn bring_account(pod: &mut Value, account: &Value, suffix: &str) {
    let name = account_of(pod).to_owned();
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return };
    spec.insert("serviceAccountName".into(), json!(name));
    let flag = |value: Option<&Value>| value.and_then(Value::as_bool);
    let field = "automountServiceAccountToken";
    if flag(spec.get(field)).or_else(|| flag(account.get(field))).unwrap_or(true) {
        mount(spec, suffix);
    }
    let own = spec.get("imagePullSecrets").and_then(Value::as_array).is_some_and(|secrets| !secrets.is_empty());
    if let (false, Some(secrets)) = (own, account["imagePullSecrets"].as_array().filter(|secrets| !secrets.is_empty()))
    {
        spec.insert("imagePullSecrets".into(), json!(secrets));
    }
}

fn mount(spec: &mut serde_json::Map<String, Value>, suffix: &str) {
    let known = spec
        .get("volumes")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .find_map(|volume| volume["name"].as_str().filter(|name| name.starts_with(VOLUME_PREFIX)))
        .map(str::to_owned);
    let is_new = known.is_none();
    let name = known.unwrap_or_else(|| format!("{VOLUME_PREFIX}{suffix}"));
    let mut needed = false;
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(container) = container.as_object_mut() else { continue };
            let Some(mounts) = entries(container, "volumeMounts") else { continue };
            // Whatever a user mounts there stays.
            if !mounts.iter().any(|mount| mount["mountPath"] == PATH) {
                mounts.push(json!({"name": name, "readOnly": true, "mountPath": PATH}));
                needed = true;
            }
        }
    }
    if is_new
        && needed
        && let Some(volumes) = entries(spec, "volumes")
    {
        volumes.push(json!({"name": name, "projected": {"sources": [
            {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
            {"configMap": {"name": ROOT_CA, "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [
                {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
        ]}}));
    }
}

/// The list behind a key, made if absent; `None` when something else is there.
fn entries<'a>(map: &'a mut serde_json::Map<String, Value>, key: &str) -> Option<&'a mut Vec<Value>> {
    let list = map.entry(key).or_insert(Value::Null);
    if list.is_null() {
        *list = json!([]);
    }
    list.as_array_mut()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brought(spec: Value, account: Value) -> Value {
        let mut pod = json!({"spec": spec});
        bring_account(&mut pod, &account, "abcde");
        let once = pod.clone();
        bring_account(&mut pod, &account, "fghij");
        assert_eq!(pod, once, "twice is once");
        pod["spec"].take()
    }

    #[test]
    fn every_container_gets_the_volume_unless_it_has_its_own() {
        let own = json!([{"name": "mine", "mountPath": PATH}]);
        let spec = brought(
            json!({"initContainers": [{"name": "i"}], "containers": [{"name": "a"}, {"name": "b", "volumeMounts": own}],
                "volumes": [{"name": "mine", "emptyDir": {}}]}),
            json!({}),
        );
        let mount = json!([{"name": "kube-api-access-abcde", "readOnly": true, "mountPath": PATH}]);
        assert_eq!(
            (&spec["initContainers"][0]["volumeMounts"], &spec["containers"][0]["volumeMounts"]),
            (&mount, &mount)
        );
        assert_eq!(spec["containers"][1]["volumeMounts"], own);
        let volume = &spec["volumes"][1];
        assert_eq!(volume["name"], "kube-api-access-abcde");
        assert_eq!(
            volume["projected"]["sources"][0],
            json!({"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}})
        );
        assert_eq!(spec["serviceAccountName"], "default");
        let given = json!([{"name": "kube-api-access-mine", "emptyDir": {}}]);
        let spec = brought(json!({"containers": [{"name": "a"}], "volumes": given}), json!({}));
        assert_eq!(
            (&spec["volumes"], &spec["containers"][0]["volumeMounts"][0]["name"]),
            (&given, &json!("kube-api-access-mine"))
        );
        let spec = brought(json!({"containers": [{"name": "b", "volumeMounts": own}]}), json!({}));
        assert_eq!(spec["volumes"], json!(null), "nobody needs it");
    }

    #[test]
    fn the_pod_and_then_the_account_decide_about_mounting() {
        let rows = [
            (json!(null), json!(null), true),
            (json!(null), json!(false), false),
            (json!(true), json!(false), true),
            (json!(false), json!(true), false),
            (json!(false), json!(null), false),
        ];
        for (pod, account, mounted) in rows {
            let spec = json!({"containers": [{"name": "a"}], "automountServiceAccountToken": pod});
            let spec = brought(spec, json!({"automountServiceAccountToken": account}));
            assert_eq!(spec["volumes"].is_array(), mounted, "{pod} {account}");
        }
    }

    #[test]
    fn names_and_pull_secrets_are_taken_over_where_the_pod_has_none() {
        let account = json!({"imagePullSecrets": [{"name": "s"}], "automountServiceAccountToken": false});
        let spec = brought(json!({"serviceAccount": "robot"}), account.clone());
        assert_eq!(
            spec,
            json!({"serviceAccount": "robot", "serviceAccountName": "robot", "imagePullSecrets": [{"name": "s"}]})
        );
        let spec = brought(json!({"imagePullSecrets": [{"name": "own"}]}), account);
        assert_eq!(spec["imagePullSecrets"], json!([{"name": "own"}]));
    }

    #[test]
    fn nonsense_stays_for_validation_to_refuse() {
        for spec in [
            json!(null),
            json!("x"),
            json!([]),
            json!({"containers": "x", "volumes": 7, "initContainers": [null, 1, {"volumeMounts": {}}]}),
            json!({"containers": [{"name": "a"}], "volumes": {}}),
            json!({"serviceAccountName": 7, "imagePullSecrets": "x", "automountServiceAccountToken": "yes"}),
        ] {
            brought(spec, json!({"imagePullSecrets": "x", "automountServiceAccountToken": "no"}));
        }
    }
}
