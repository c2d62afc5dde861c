//! Builds a container image as a tar archive in memory, in the format of `docker save`: one layer, from scratch.
//!
//! For images of our own making: the sandbox's, and those of tests. The same input gives the same bytes, hence the same
//! image id.

use crate::{Error, Result};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt::Write;

/// An image to build.
#[derive(Debug, Clone, Default)]
pub struct Archive {
    /// Its name and tag.
    pub reference: String,
    /// Its processor architecture by its Go name (`amd64`, `arm64`).
    pub architecture: String,
    /// Its entrypoint.
    pub entrypoint: Vec<String>,
    /// Its default arguments.
    pub args: Vec<String>,
    /// Its user, as in `USER`; empty means root.
    pub user: String,
    /// Its environment, each `NAME=value`.
    pub env: Vec<String>,
    /// What it contains; folders of files are made as needed.
    pub entries: Vec<Entry>,
}

/// One entry of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A folder.
    Folder {
        /// Its path, without a leading slash.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// A file.
    File {
        /// Its path, without a leading slash.
        path: String,
        /// Its permission bits.
        mode: u32,
        /// What it contains.
        bytes: Vec<u8>,
    },
    /// A symbolic link.
    Link {
        /// Its path, without a leading slash.
        path: String,
        /// What it points to.
        target: String,
    },
}

/// Builds the archive. Everything belongs to root and has the time 0.
///
/// # Errors
/// [`Error::Invalid`] for a path that is absolute, climbs (`..`) or is too long for the format.
pub fn tar(archive: &Archive) -> Result<Vec<u8>> {
    let layer = layer(&archive.entries)?;
    let layer_digest = hex_sha256(&layer);
    let config = json!({
        "architecture": archive.architecture,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Entrypoint": archive.entrypoint,
            "Cmd": archive.args,
            "User": archive.user,
            "Env": archive.env,
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer_digest}")] },
        "history": [{ "created": "1970-01-01T00:00:00Z", "created_by": "barque" }],
    })
    .to_string();
    let config_name = format!("{}.json", hex_sha256(config.as_bytes()));
    let layer_name = format!("{layer_digest}/layer.tar");
    let manifest =
        json!([{ "Config": config_name, "RepoTags": [archive.reference], "Layers": [layer_name] }]).to_string();

    let mut outer = tar::Builder::new(Vec::new());
    append(&mut outer, &config_name, 0o644, config.as_bytes())?;
    append_folder(&mut outer, &layer_digest, 0o755)?;
    append(&mut outer, &layer_name, 0o644, &layer)?;
    append(&mut outer, "manifest.json", 0o644, manifest.as_bytes())?;
    outer.into_inner().map_err(refused)
}

/// The SHA-256 of `bytes` in hexadecimal.
pub(crate) fn hex_sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Splits an image reference into its name and its tag or digest (`latest` if it has neither).
///
/// # Errors
/// [`Error::Invalid`] when it has characters that no reference has: it becomes part of the engine's URLs.
pub fn split_reference(reference: &str) -> Result<(&str, &str)> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@+".contains(&byte);
    let segments_ok = reference.split('/').all(|segment| !segment.is_empty() && segment != "." && segment != "..");
    if reference.len() > 512 || !reference.bytes().all(allowed) || !segments_ok {
        return Err(Error::invalid(format!("{reference:?} is not an image reference (NAME[:TAG][@DIGEST])")));
    }
    if let Some((name, digest)) = reference.split_once('@') {
        // With both, the digest decides; the tag is for people.
        let name = match name.rsplit_once(':') {
            Some((bare, tag)) if !tag.contains('/') => bare,
            _ => name,
        };
        return checked(reference, name, digest);
    }
    match reference.rsplit_once(':') {
        // A colon before a slash belongs to a registry's port.
        Some((name, tag)) if !tag.contains('/') => checked(reference, name, tag),
        _ => checked(reference, reference, "latest"),
    }
}

fn checked<'a>(reference: &str, name: &'a str, version: &'a str) -> Result<(&'a str, &'a str)> {
    if name.is_empty() || version.is_empty() {
        return Err(Error::invalid(format!("{reference:?} is not an image reference (NAME[:TAG][@DIGEST])")));
    }
    Ok((name, version))
}

fn layer(entries: &[Entry]) -> Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut folders = BTreeSet::new();
    for entry in entries {
        let (Entry::Folder { path, .. } | Entry::File { path, .. } | Entry::Link { path, .. }) = entry;
        for (end, _) in path.match_indices('/') {
            if folders.insert(path[..end].to_owned()) {
                append_folder(&mut builder, &path[..end], 0o755)?;
            }
        }
        match entry {
            Entry::Folder { path, mode } => {
                if folders.insert(path.clone()) {
                    append_folder(&mut builder, path, *mode)?;
                }
            }
            Entry::File { path, mode, bytes } => append(&mut builder, path, *mode, bytes)?,
            Entry::Link { path, target } => {
                let mut header = header(tar::EntryType::Symlink, 0o777, 0);
                builder.append_link(&mut header, path, target).map_err(refused)?;
            }
        }
    }
    builder.into_inner().map_err(refused)
}

fn append(builder: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
    let mut header = header(tar::EntryType::Regular, mode, bytes.len() as u64);
    builder.append_data(&mut header, path, bytes).map_err(refused)
}

fn append_folder(builder: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32) -> Result<()> {
    let mut header = header(tar::EntryType::Directory, mode, 0);
    builder.append_data(&mut header, format!("{path}/"), std::io::empty()).map_err(refused)
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// Writing to memory fails only for paths that the format refuses.
fn refused(error: std::io::Error) -> Error {
    Error::invalid(format!("the image archive cannot hold this entry: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn archive() -> Archive {
        Archive {
            reference: "example/tool:1".into(),
            architecture: "amd64".into(),
            entrypoint: vec!["/bin/tool".into()],
            entries: vec![
                Entry::File { path: "bin/tool".into(), mode: 0o755, bytes: b"tool".to_vec() },
                Entry::Link { path: "bin/alias".into(), target: "tool".into() },
                Entry::Folder { path: "tmp".into(), mode: 0o1777 },
            ],
            ..Default::default()
        }
    }

    fn contents(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut reader = tar::Archive::new(bytes);
        let read = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (entry.path().unwrap().display().to_string(), bytes)
        };
        reader.entries().unwrap().map(read).collect()
    }

    #[test]
    fn the_parts_of_an_archive_name_each_other() {
        let bytes = tar(&archive()).unwrap();
        assert_eq!(bytes, tar(&archive()).unwrap(), "the same input must give the same image");
        let outer = contents(&bytes);
        let find = |name: &str| outer.iter().find(|(path, _)| path == name).unwrap().1.clone();
        let manifest: serde_json::Value = serde_json::from_slice(&find("manifest.json")).unwrap();
        assert_eq!(manifest[0]["RepoTags"][0], "example/tool:1");
        let layer = find(manifest[0]["Layers"][0].as_str().unwrap());
        let config: serde_json::Value = serde_json::from_slice(&find(manifest[0]["Config"].as_str().unwrap())).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", hex_sha256(&layer)));
        let paths: Vec<String> = contents(&layer).into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["bin/", "bin/tool", "bin/alias", "tmp/"]);
    }

    #[test]
    fn climbing_paths_are_refused() {
        let entries = vec![Entry::File { path: "../up".into(), mode: 0o644, bytes: vec![] }];
        assert!(matches!(tar(&Archive { entries, ..archive() }), Err(Error::Invalid { .. })));
    }

    #[test]
    fn references_are_split_where_registries_do() {
        let split = |reference| split_reference(reference).unwrap();
        assert_eq!(split("busybox"), ("busybox", "latest"));
        assert_eq!(split("busybox:1"), ("busybox", "1"));
        assert_eq!(split("localhost:5000/a/b"), ("localhost:5000/a/b", "latest"));
        assert_eq!(split("localhost:5000/a/b:2"), ("localhost:5000/a/b", "2"));
        assert_eq!(split("a/b@sha256:00"), ("a/b", "sha256:00"));
        assert_eq!(split("h:5/a:1@sha256:00"), ("h:5/a", "sha256:00"));
        for bad in ["", "a b", "a?x=1", "../containers/x", "a//b", "a/./b", ":1", "a:", "a@", "/a", "a#b", "a%2fb"] {
            assert!(split_reference(bad).is_err(), "{bad:?}");
        }
    }
}
