//! Which files a volume of configuration holds, and which objects it takes them from. Pure.

use super::{Bundle, Data, Need, TokenNeed};
use crate::pod::env::{Fault, Place, field_of, resource_of};
use crate::pod::view;
use k8s_openapi::api::core::v1::{
    Container, DownwardAPIVolumeFile, KeyToPath, Pod, ServiceAccountTokenProjection, Volume,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Permission bits where a volume says none, as upstream's defaulting has them.
const MODE_DEFAULT: i32 = 0o644;

/// How long a token lives where its source does not say, as upstream's defaulting has it.
const TOKEN_SECONDS_DEFAULT: i64 = 3600;

/// One file.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct File {
    /// Its content.
    pub bytes: Vec<u8>,
    /// Its permission bits.
    pub mode: u32,
    /// The user that owns it, where that is not the agent's.
    pub owner: Option<u32>,
}

impl fmt::Debug for File {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "File({} bytes, {:o})", self.bytes.len(), self.mode)
    }
}

/// The files of a volume, by path relative to its root.
pub(crate) type Payload = BTreeMap<String, File>;

/// The ConfigMaps and Secrets that a pod needs for its volumes.
pub(crate) fn needs(pod: &Pod) -> BTreeSet<Need> {
    let mut needs = BTreeSet::new();
    for volume in view::spec(pod).volumes.iter().flatten() {
        if let Some(name) = volume.config_map.as_ref().map(|source| source.name.clone()) {
            needs.insert(Need::ConfigMap(name));
        }
        if let Some(name) = volume.secret.as_ref().and_then(|source| source.secret_name.clone()) {
            needs.insert(Need::Secret(name));
        }
        for source in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
            needs.extend(source.config_map.iter().map(|source| Need::ConfigMap(source.name.clone())));
            needs.extend(source.secret.iter().map(|source| Need::Secret(source.name.clone())));
        }
    }
    needs
}

/// The tokens that a pod needs for its volumes.
pub(crate) fn token_needs(pod: &Pod) -> BTreeSet<TokenNeed> {
    let projected = view::spec(pod).volumes.iter().flatten().filter_map(|volume| volume.projected.as_ref());
    let sources = projected.flat_map(|projected| projected.sources.iter().flatten());
    sources.filter_map(|source| source.service_account_token.as_ref()).map(TokenNeed::of).collect()
}

impl TokenNeed {
    /// What a source asks for.
    fn of(source: &ServiceAccountTokenProjection) -> Self {
        let seconds = source.expiration_seconds.unwrap_or(TOKEN_SECONDS_DEFAULT);
        Self { audience: source.audience.clone().unwrap_or_default(), seconds }
    }
}

/// The ConfigMaps and Secrets that a container's environment needs.
pub(crate) fn needs_of(container: &Container) -> BTreeSet<Need> {
    let mut needs = BTreeSet::new();
    for source in container.env_from.iter().flatten() {
        needs.extend(source.config_map_ref.iter().map(|it| Need::ConfigMap(it.name.clone())));
        needs.extend(source.secret_ref.iter().map(|it| Need::Secret(it.name.clone())));
    }
    for source in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
        needs.extend(source.config_map_key_ref.iter().map(|it| Need::ConfigMap(it.name.clone())));
        needs.extend(source.secret_key_ref.iter().map(|it| Need::Secret(it.name.clone())));
    }
    needs
}

/// Whether a volume's files follow later changes of what they are made from.
pub(crate) fn is_refreshed(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some()
        || volume.projected.is_some()
}

/// The files of a volume; `None` for one that is no configuration.
///
/// # Errors
/// [`Fault`] when something that is not optional is missing, or a path would leave the volume.
pub(crate) fn payload(pod: &Pod, volume: &Volume, place: &Place, bundle: &Bundle) -> Result<Option<Payload>, Fault> {
    let mut files = Payload::new();
    if let Some(source) = &volume.config_map {
        let optional = source.optional == Some(true);
        let data = found(bundle.config_map(&source.name), "configmap", &source.name, optional)?;
        put_items(&mut files, data, source.items.as_deref(), source.default_mode, optional, &source.name)?;
    } else if let Some(source) = &volume.secret {
        let optional = source.optional == Some(true);
        let name = source.secret_name.as_deref().unwrap_or_default();
        let data = found(bundle.secret(name), "secret", name, optional)?;
        put_items(&mut files, data, source.items.as_deref(), source.default_mode, optional, name)?;
    } else if let Some(source) = &volume.downward_api {
        put_downward(&mut files, pod, source.items.as_deref().unwrap_or_default(), source.default_mode, place)?;
    } else if let Some(projected) = &volume.projected {
        let mode = projected.default_mode;
        for source in projected.sources.iter().flatten() {
            if let Some(source) = &source.config_map {
                let optional = source.optional == Some(true);
                let data = found(bundle.config_map(&source.name), "configmap", &source.name, optional)?;
                put_items(&mut files, data, source.items.as_deref(), mode, optional, &source.name)?;
            }
            if let Some(source) = &source.secret {
                let optional = source.optional == Some(true);
                let data = found(bundle.secret(&source.name), "secret", &source.name, optional)?;
                put_items(&mut files, data, source.items.as_deref(), mode, optional, &source.name)?;
            }
            if let Some(source) = &source.downward_api {
                put_downward(&mut files, pod, source.items.as_deref().unwrap_or_default(), mode, place)?;
            }
            if let Some(source) = &source.service_account_token {
                let token = bundle.token(&TokenNeed::of(source));
                let token = token.ok_or_else(|| Fault("failed to fetch token: there is none".to_owned()))?;
                put(&mut files, &source.path, token.as_bytes().to_vec(), mode)?;
                if let Some(file) = files.get_mut(&source.path) {
                    guard(file, pod);
                }
            }
        }
    } else {
        return Ok(None);
    }
    Ok(Some(files))
}

static NOTHING: Data = Data::new();

fn found<'a>(data: Option<&'a Data>, what: &str, name: &str, optional: bool) -> Result<&'a Data, Fault> {
    match data {
        Some(data) => Ok(data),
        None if optional => Ok(&NOTHING),
        None => Err(Fault(format!("{what} \"{name}\" not found"))),
    }
}

fn put_items(
    files: &mut Payload,
    data: &Data,
    items: Option<&[KeyToPath]>,
    mode: Option<i32>,
    optional: bool,
    name: &str,
) -> Result<(), Fault> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        for (key, bytes) in data {
            put(files, key, bytes.clone(), mode)?;
        }
        return Ok(());
    };
    for item in items {
        match data.get(&item.key) {
            Some(bytes) => put(files, &item.path, bytes.clone(), item.mode.or(mode))?,
            None if optional => {}
            None => return Err(Fault(format!("references non-existent key {} of {name:?}", item.key))),
        }
    }
    Ok(())
}

fn put_downward(
    files: &mut Payload,
    pod: &Pod,
    items: &[DownwardAPIVolumeFile],
    mode: Option<i32>,
    place: &Place,
) -> Result<(), Fault> {
    for item in items {
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => field_of(pod, &field.field_path, place)?,
            (None, Some(resource)) => resource_of(pod, None, resource, place)?,
            (None, None) => continue,
        };
        put(files, &item.path, text.into_bytes(), item.mode.or(mode))?;
    }
    Ok(())
}

fn put(files: &mut Payload, path: &str, bytes: Vec<u8>, mode: Option<i32>) -> Result<(), Fault> {
    if !is_inside(path) {
        return Err(Fault(format!("the path {path:?} would leave the volume")));
    }
    let mode = u32::try_from(mode.unwrap_or(MODE_DEFAULT)).unwrap_or(0o644) & 0o777;
    files.insert(path.to_owned(), File { bytes, mode, owner: None });
    Ok(())
}

/// Keeps a token from other users of a node where it is clear who may read it: the one user that all containers run as, or
/// the pod's group, to which the writer gives the file. Otherwise any user of a container can, as upstream.
fn guard(file: &mut File, pod: &Pod) {
    file.owner = only_user(pod);
    let group = view::spec(pod).security_context.as_ref().and_then(|context| context.fs_group);
    if file.owner.is_some() || group.is_some() {
        file.mode = 0o600;
    }
}

/// The user that every container runs as, where all say so and agree.
fn only_user(pod: &Pod) -> Option<u32> {
    let spec = view::spec(pod);
    let of_pod = spec.security_context.as_ref().and_then(|context| context.run_as_user);
    let of = |container: &Container| container.security_context.as_ref().and_then(|it| it.run_as_user).or(of_pod);
    let mut users = view::init_containers(pod).iter().chain(&spec.containers).map(of);
    let first = users.next()??;
    users.all(|user| user == Some(first)).then(|| u32::try_from(first).ok())?
}

/// Whether a path is relative, goes nowhere up, and does not take a name that the writer needs.
pub(super) fn is_inside(path: &str) -> bool {
    let mut parts = path.split('/');
    let first_is_free = !path.starts_with("..");
    first_is_free && !path.is_empty() && !path.contains('\0') && parts.all(|part| !matches!(part, "" | "." | ".."))
}
