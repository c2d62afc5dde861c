//! Volumes: what they hold, how they change, and that nothing escapes.

use super::files::{is_inside, payload};
use super::make::VolumeFault;
use super::*;
use crate::disk::Disk;
use crate::pod::env::Place;
use crate::pod::fixtures;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

fn disk(dir: &Path) -> Disk {
    let mut options = crate::Options::new("n", "c", dir, ([127, 0, 0, 1], 0).into(), [127, 0, 0, 1].into());
    options.memory_dir = None;
    Disk::open(&options).unwrap().0
}

fn place() -> Place {
    Place { node: "n".into(), host: [10, 0, 0, 1].into(), address: None, allocatable: (1000, 1000) }
}

fn pod_with(volume: Value, mount: Value) -> Pod {
    let mut volume = volume;
    volume["name"] = json!("v");
    let mut mount = mount;
    mount["name"] = json!("v");
    mount["mountPath"] = json!("/m");
    fixtures::pod(json!({"volumes": [volume], "containers": [{"name": "c", "volumeMounts": [mount]}]}))
}

fn bundle(pairs: &[(&str, &str)]) -> Bundle {
    let data: Data = pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect();
    let mut bundle = Bundle::default();
    bundle.put_config_map("cm", Some(data.clone()));
    bundle.put_secret("s", Some(data));
    bundle.put_token(TokenNeed { audience: String::new(), seconds: 3600 }, "t0".into());
    bundle
}

fn source(disk: &Disk, pod: &Pod) -> Result<(std::path::PathBuf, bool), VolumeFault> {
    let container = &crate::pod::view::spec(pod).containers[0];
    let variables = BTreeMap::from([("POD".to_owned(), "p1".to_owned())]);
    mount_source(disk, pod, &container.volume_mounts.as_ref().unwrap()[0], &variables)
}

#[test]
fn configuration_appears_changes_at_once_and_disappears() {
    let dir = tempfile::tempdir().unwrap();
    let disk = disk(dir.path());
    let pod = pod_with(json!({"secret": {"secretName": "s", "defaultMode": 0o400}}), json!({}));
    make(&disk, &pod, &place(), &bundle(&[("a", "1"), ("b", "2")]), "1").unwrap();
    let (root, read_only) = source(&disk, &pod).unwrap();
    assert!(read_only, "configuration cannot be written");
    assert_eq!(fs::read_to_string(root.join("a")).unwrap(), "1");
    assert_eq!(fs::metadata(root.join("a")).unwrap().permissions().mode() & 0o777, 0o400);
    let data = fs::read_link(root.join("..data")).unwrap();
    refresh(&disk, &pod, &place(), &bundle(&[("a", "1"), ("b", "2")]), "2");
    assert_eq!(fs::read_link(root.join("..data")).unwrap(), data, "the same is not written again");
    refresh(&disk, &pod, &place(), &bundle(&[("a", "9"), ("c", "3")]), "3");
    assert_eq!(fs::read_to_string(root.join("a")).unwrap(), "9");
    assert_eq!(fs::read_to_string(root.join("c")).unwrap(), "3");
    assert!(fs::symlink_metadata(root.join("b")).is_err());
    assert!(!root.join(data).exists(), "the old files are gone");
    refresh(&disk, &pod, &place(), &Bundle::default(), "4");
    assert_eq!(fs::read_to_string(root.join("a")).unwrap(), "9", "a deleted Secret leaves its files");
    disk.forget_pod("u").unwrap();
    assert!(!root.exists());
}

#[test]
fn payloads_follow_items_modes_and_optional() {
    let content = bundle(&[("k", "v"), ("l", "w")]);
    let downward = json!({"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "d/cpu", "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"}}]});
    let projected = json!({"sources": [
        {"configMap": {"name": "cm", "items": [{"key": "k", "path": "x/y"}]}},
        {"secret": {"name": "s"}}, {"serviceAccountToken": {"path": "token"}},
        {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
    ]});
    // (volume) → files as "path=content", or the fault
    let cases = [
        (json!({"configMap": {"name": "cm"}}), Ok(vec!["k=v", "l=w"])),
        (json!({"configMap": {"name": "cm", "items": [{"key": "k", "path": "d/e"}]}}), Ok(vec!["d/e=v"])),
        (json!({"configMap": {"name": "cm", "items": [{"key": "z", "path": "d"}]}}), Err("non-existent key z")),
        (json!({"configMap": {"name": "cm", "optional": true, "items": [{"key": "z", "path": "d"}]}}), Ok(vec![])),
        (json!({"configMap": {"name": "none"}}), Err("configmap \"none\" not found")),
        (json!({"configMap": {"name": "none", "optional": true}}), Ok(vec![])),
        (json!({"secret": {"secretName": "none"}}), Err("secret \"none\" not found")),
        (json!({"configMap": {"name": "cm", "items": [{"key": "k", "path": "../x"}]}}), Err("leave the volume")),
        (json!({"configMap": {"name": "cm", "items": [{"key": "k", "path": "/etc/x"}]}}), Err("leave the volume")),
        (json!({"configMap": {"name": "cm", "items": [{"key": "k", "path": "a/../../x"}]}}), Err("leave the volume")),
        (
            json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 601}}]}}),
            Err("failed to fetch token"),
        ),
        (json!({"projected": {"sources": [{"serviceAccountToken": {"path": "../t"}}]}}), Err("leave the volume")),
        (json!({"downwardAPI": downward}), Ok(vec!["d/cpu=1", "labels=app=\"web\""])),
        (json!({"projected": projected}), Ok(vec!["k=v", "l=w", "name=p", "token=t0", "x/y=v"])),
    ];
    for (volume, expected) in cases {
        let pod = pod_with(volume.clone(), json!({}));
        let volume_view = &crate::pod::view::spec(&pod).volumes.as_ref().unwrap()[0];
        match (payload(&pod, volume_view, &place(), &content), expected) {
            (Ok(files), Ok(expected)) => {
                let files = files.unwrap();
                let got: Vec<String> = files
                    .iter()
                    .map(|(path, file)| format!("{path}={}", String::from_utf8_lossy(&file.bytes)))
                    .collect();
                assert_eq!(got, expected, "{volume}");
            }
            (Err(fault), Err(expected)) => assert!(fault.0.contains(expected), "{volume}: {fault}"),
            (got, expected) => panic!("{volume}: {got:?} instead of {expected:?}"),
        }
    }
    assert!(!format!("{content:?}").contains('v'.to_string().repeat(2).as_str()));
}

#[test]
fn tokens_are_kept_from_others_where_their_reader_is_known() {
    let token = json!({"projected": {"defaultMode": 0o644, "sources": [{"serviceAccountToken": {"path": "t"}}]}});
    // (security of the pod, of the first container, of the second) → (mode, owner)
    for (of_pod, first, second, expected) in [
        (json!({}), json!({}), json!({}), (0o644, None)),
        (json!({"fsGroup": 9}), json!({}), json!({}), (0o600, None)),
        (json!({"runAsUser": 7}), json!({}), json!({}), (0o600, Some(7))),
        (json!({"runAsUser": 7}), json!({"runAsUser": 8}), json!({}), (0o644, None)),
        (json!({"runAsUser": 7}), json!({"runAsUser": 8}), json!({"runAsUser": 8}), (0o600, Some(8))),
        (json!({}), json!({"runAsUser": 8}), json!({}), (0o644, None)),
        (json!({}), json!({}), json!({"runAsUser": 8}), (0o644, None)),
        (json!({}), json!({"runAsUser": 0}), json!({"runAsUser": 0}), (0o600, Some(0))),
    ] {
        let mut volume = token.clone();
        volume["name"] = json!("v");
        let pod = fixtures::pod(json!({"securityContext": of_pod, "volumes": [volume], "containers": [
            {"name": "a", "securityContext": first}, {"name": "b", "securityContext": second}]}));
        let volume = &crate::pod::view::spec(&pod).volumes.as_ref().unwrap()[0];
        let files = payload(&pod, volume, &place(), &bundle(&[])).unwrap().unwrap();
        assert_eq!((files["t"].mode, files["t"].owner), expected, "{of_pod} {first} {second}");
    }
}

#[test]
fn sub_paths_stay_inside() {
    let dir = tempfile::tempdir().unwrap();
    let disk = disk(&dir.path().join("agent"));
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let mount = |sub: &str| pod_with(json!({"emptyDir": {}}), json!({"subPath": sub}));
    make(&disk, &mount(""), &place(), &Bundle::default(), "1").unwrap();
    let (root, _) = source(&disk, &mount("")).unwrap();
    assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o777);
    symlink(&outside, root.join("link")).unwrap();
    symlink("..", root.join("up")).unwrap();
    fs::create_dir(root.join("real")).unwrap();
    symlink("/", root.join("real/root")).unwrap();
    fs::write(root.join("file"), "x").unwrap();
    for bad in ["link", "link/x", "up", "up/up", "real/root", "real/root/etc", "../x", "/etc", "a/../../x", "file/x"] {
        assert!(source(&disk, &mount(bad)).is_err(), "{bad} must not be mounted");
    }
    for good in ["real", "new/deep", "file", "./real"] {
        let (path, _) = source(&disk, &mount(good)).unwrap();
        assert!(path.starts_with(&root) && path.exists(), "{good}");
    }
    assert!(fs::read_dir(&outside).unwrap().next().is_none());
    let expression = pod_with(json!({"emptyDir": {}}), json!({"subPathExpr": "logs/$(POD)"}));
    assert!(source(&disk, &expression).unwrap().0.ends_with("logs/p1"));
    let unknown = pod_with(json!({"emptyDir": {}}), json!({"subPathExpr": "$(NOPE)"}));
    assert!(source(&disk, &unknown).is_err());
    let config = pod_with(json!({"configMap": {"name": "cm"}}), json!({"subPath": "k"}));
    let elsewhere = tempfile::tempdir().unwrap();
    let other = super::tests::disk(elsewhere.path());
    make(&other, &config, &place(), &bundle(&[("k", "v")]), "1").unwrap();
    let (path, _) = source(&other, &config).unwrap();
    assert_eq!(fs::read_to_string(path).unwrap(), "v");
}

#[test]
fn host_paths_are_what_they_say() {
    let dir = tempfile::tempdir().unwrap();
    let disk = disk(&dir.path().join("agent"));
    fs::write(dir.path().join("file"), "x").unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    for (path, kind, works) in [
        (at("file"), "File", true),
        (at("file"), "Directory", false),
        (at("file"), "Socket", false),
        (at("absent"), "Directory", false),
        (at("absent"), "File", false),
        (at("made"), "DirectoryOrCreate", true),
        (at("made"), "Directory", true),
        (at("made-file"), "FileOrCreate", true),
        (at("made-file"), "File", true),
        (at("any"), "", true),
        ("relative".to_owned(), "", false),
        (at("file"), "Nonsense", false),
    ] {
        let pod = pod_with(json!({"hostPath": {"path": path, "type": kind}}), json!({}));
        assert_eq!(make(&disk, &pod, &place(), &Bundle::default(), "1").is_ok(), works, "{path} {kind}");
    }
    let unknown = pod_with(json!({"nfs": {"server": "s", "path": "/"}}), json!({}));
    assert!(make(&disk, &unknown, &place(), &Bundle::default(), "1").is_err());
}

#[test]
fn names_that_leave_are_recognized() {
    for (path, inside) in [
        ("a", true),
        ("a/b", true),
        ("a..b", true),
        ("", false),
        ("/a", false),
        ("..", false),
        ("../a", false),
        ("a/..", false),
        ("a//b", false),
        ("./a", false),
        ("..data", false),
        ("a\0b", false),
    ] {
        assert_eq!(is_inside(path), inside, "{path:?}");
    }
}
