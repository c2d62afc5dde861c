//! DELETE of one object, and of all that are selected.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt, stream};
use objects::lifecycle::{self, DeleteOptions, Deletion};
use objects::{Kind, Object, Status, canonical};
use serde_json::Value;
use state::{Change, Precondition, Refusal, Stored};
use store::Error;

use crate::allocation::{self, Beside};
use crate::list::Selection;
use crate::reply::{self, Response};
use crate::revision::{self, Wanted};
use crate::route::Target;
use crate::router::Call;
use crate::write::{self, ATTEMPTS_MAX};
use crate::{admission, body, definitions, errors};

/// How many deletions of one request are under way at once: enough to share log entries.
const TOGETHER: usize = 32;

/// What a deletion came to.
pub enum Deleted {
    /// The object is gone; this was its last form.
    Gone(Arc<Stored>),
    /// It lives on for now, in this form.
    Leaving(Arc<Stored>),
}

/// Answers a DELETE of one object.
///
/// # Errors
/// 404 when there is none, 409 when preconditions do not hold, 400 and 422 for options that make no sense, 403 for what
/// may not be deleted.
pub async fn delete(call: &Call, target: &Target, bytes: &[u8]) -> Result<Response, Status> {
    let options = options(call, bytes)?;
    match remove(call, target, &options).await? {
        Deleted::Gone(stored) => Ok(reply::success(200, &target.kind, &stored.key.name, &stored.face().uid)),
        Deleted::Leaving(stored) => reply::object(call, &target.kind, 200, &stored),
    }
}

/// Answers a DELETE of a collection with the list of what is deleted.
///
/// # Errors
/// As [`delete`]; objects that vanish meanwhile are no error.
pub async fn collection(call: &Call, target: &Target, bytes: &[u8]) -> Result<Response, Status> {
    let options = options(call, bytes)?;
    let selection = Selection::parse(target, &call.query)?;
    let kind: &Kind = &target.kind;
    let state = revision::state(call, Wanted::Fresh, &kind.resource()).await?;
    let selected: Vec<Arc<Stored>> = selection.of(&state, None).cloned().collect();
    let mut removals: Vec<BoxFuture<'_, Result<(), Status>>> = Vec::with_capacity(selected.len());
    for stored in &selected {
        removals.push(Box::pin(remove_selected(call, target, &options, stored)));
    }
    stream::iter(removals).buffer_unordered(TOGETHER).try_collect::<()>().await?;
    let head = format!(
        "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{{\"resourceVersion\":\"{}\"}},\"items\":[",
        kind.list_kind,
        kind.api_version(),
        call.api.store.current().revision(),
    );
    let mut out = BytesMut::from(head.as_bytes());
    for (position, stored) in selected.iter().enumerate() {
        if position > 0 {
            out.put_u8(b',');
        }
        if kind.shows_what_is_stored() {
            stored.write_json(&mut out);
        } else {
            out.put_slice(reply::shown(kind, stored)?.to_string().as_bytes());
        }
    }
    out.put_slice(b"]}");
    Ok(reply::json(200, out.freeze()))
}

/// Deletes the incarnation that was selected; one that is gone or replaced meanwhile is no error.
async fn remove_selected(call: &Call, target: &Target, options: &DeleteOptions, stored: &Stored) -> Result<(), Status> {
    let (name, namespace) = (stored.key.name.to_string(), stored.key.namespace.to_string());
    let one = Target { name: Some(name), namespace, ..target.clone() };
    let mut options = options.clone();
    options.preconditions.uid.get_or_insert_with(|| stored.face().uid.to_string());
    match remove(call, &one, &options).await {
        Err(status) if status.code == 404 || status.code == 409 => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// Deletes one object as the options say.
///
/// # Errors
/// As [`delete`].
pub async fn remove(call: &Call, target: &Target, options: &DeleteOptions) -> Result<Deleted, Status> {
    remove_after(call, target, options, |_, _| Ok(Beside::default())).await
}

/// Deletes one object after a last change of it, together with what goes into the same transaction: both from `before`, which
/// gets the object as it was read.
///
/// # Errors
/// As [`delete`], and what `before` refuses.
pub async fn remove_after<F>(
    call: &Call,
    target: &Target,
    options: &DeleteOptions,
    before: F,
) -> Result<Deleted, Status>
where
    F: Fn(&Stored, &mut Value) -> Result<Beside, Status> + Send + Sync,
{
    let kind = target.kind.stored();
    for _ in 0..ATTEMPTS_MAX {
        let (old, mut old_value) = write::read(call, target).await?;
        if let Some(wanted) = &options.preconditions.resource_version
            && *wanted != old.revision.to_string()
        {
            let why = format!(
                "Precondition failed: ResourceVersion in precondition: {wanted}, ResourceVersion in object meta: {}",
                old.revision
            );
            return Err(Status::conflict(&kind.group, &kind.plural, &old.key.name, why));
        }
        write::forget_revision(&mut old_value);
        admission::delete(call, target, &old_value, options.dry_run)?;
        definitions::end(kind, &mut old_value, &write::now());
        let key = old.key.clone();
        let mut beside = before(&old, &mut old_value)?;
        let (change, object) = match lifecycle::prepare_delete(kind, &old_value, options, &write::now())? {
            Deletion::Nothing => return Ok(Deleted::Leaving(old)),
            Deletion::Remove => {
                beside.extend(allocation::of_end(call, target, &old_value));
                (Change::Delete { key: key.clone() }, None)
            }
            Deletion::Update(mut new) => {
                canonical::canonicalize(kind, &mut new)?;
                let object = Arc::new(reply::damaged(Object::new(kind, &new))?);
                (Change::Put { key: key.clone(), object: Arc::clone(&object) }, Some(object))
            }
        };
        let Beside { mut preconditions, mut changes } = beside;
        preconditions.push(Precondition::Unchanged { key: key.clone(), revision: old.revision });
        changes.push(change);
        let revision = match write::commit(call, preconditions, changes, options.dry_run).await {
            Ok(revision) => revision.unwrap_or(old.revision),
            Err(Error::Refused(refusal)) if allocation::is_outrun(&refusal, &key) => continue,
            Err(Error::Refused(Refusal::Changed { .. })) => continue,
            Err(error) => return Err(errors::status(error, &key)),
        };
        return Ok(match object {
            None => Deleted::Gone(old),
            Some(object) => Deleted::Leaving(Arc::new(Stored::new(key, object, old.created, revision))),
        });
    }
    Err(write::contended(target))
}

/// Options from the body, completed from the query.
fn options(call: &Call, bytes: &[u8]) -> Result<DeleteOptions, Status> {
    let mut options = DeleteOptions::from_value(&body::value(&call.headers, bytes)?)?;
    let query = DeleteOptions::from_query(call.query.pairs())?;
    options.grace = options.grace.or(query.grace);
    if options.propagation.is_none() && options.orphan_dependents.is_none() {
        (options.propagation, options.orphan_dependents) = (query.propagation, query.orphan_dependents);
    }
    options.dry_run |= query.dry_run || write::dry_run(&call.query, "DeleteOptions")?;
    Ok(options)
}
