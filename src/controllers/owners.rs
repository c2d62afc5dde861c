//! Who manages what: adoption of orphans that match a selector, release of those that no longer do.
//!
//! The rules are those of upstream's `controller/controller_ref_manager.go`.

use std::sync::Arc;

use objects::selector::Labels;
use objects::{Face, Key, Resource};
use serde_json::{Value, json};
use state::{Event, EventKind, State, Stored};
use store::Duty;

use crate::Error;
use crate::writes::{Draft, kind_of};

/// Owners of one kind, and the objects that each manages by its selector: ReplicaSets their pods, Deployments their sets.
pub(crate) struct Ownership {
    /// Resource of the owners.
    pub owners: &'static str,
    /// Their kind, as references name it.
    pub kind: &'static str,
    /// Resource of what they manage.
    pub managed: &'static str,
    /// Whether an object of nobody is still worth having.
    pub adoptable: fn(&Face) -> bool,
}

/// An owner as a controller begins to look at it.
pub(crate) struct Owner {
    pub stored: Arc<Stored>,
    pub value: Arc<Value>,
    pub selector: Labels,
}

impl Ownership {
    /// The resource of the owners.
    pub fn resource(&self) -> Resource {
        self.owners.into()
    }

    /// Every owner.
    pub fn all(&self, state: &State) -> Vec<Key> {
        state.list(&self.resource()).map(|owner| owner.key.clone()).collect()
    }

    /// The owners that a change may concern, of one of them or of an object that they manage.
    pub fn concerns(&self, event: &Event, state: &State) -> Vec<Key> {
        let key = event.key();
        if key.resource == self.resource() {
            return vec![key.clone()];
        }
        if key.resource.as_str() == "serviceaccounts" {
            // Owners whose pods lacked their account wait for it.
            let owners = state.list_in(&self.resource(), &key.namespace).filter(|_| event.kind == EventKind::Created);
            return owners.map(|owner| owner.key.clone()).collect();
        }
        // Its owner before the change misses it, its owner after the change gained it.
        let both = [Some(&event.current), event.previous.as_ref()].into_iter().flatten();
        let mut keys: Vec<Key> = both.filter_map(|object| self.manager(object)).collect();
        let face = event.current.face();
        if face.controller().is_none() {
            // An object of nobody may find an owner.
            let may = |owner: &&Arc<Stored>| match owner.typed::<Value>() {
                Ok(value) => selector(&value).is_ok_and(|selector| selector.matches(&face.labels)),
                Err(_) => false,
            };
            let owners = state.list_in(&self.resource(), &key.namespace);
            keys.extend(owners.filter(may).map(|owner| owner.key.clone()));
        }
        keys
    }

    /// The owner that manages an object.
    pub fn manager(&self, object: &Stored) -> Option<Key> {
        let owner = object.face().controller().filter(|owner| &*owner.kind == self.kind)?;
        Some(Key::new(self.resource(), &object.key.namespace, &owner.name))
    }

    /// What an owner manages.
    pub fn owned<'a>(&self, state: &'a State, owner: &'a Stored) -> impl Iterator<Item = &'a Arc<Stored>> + use<'a> {
        let uid = &owner.face().uid;
        let near = state.list_in(&self.managed.into(), &owner.key.namespace);
        near.filter(move |object| object.face().controller().is_some_and(|known| known.uid == *uid))
    }

    /// Reads an owner; `None` when it is gone.
    pub fn read(&self, state: &State, key: &Key) -> Result<Option<Owner>, Error> {
        let Some(stored) = state.get(key) else {
            return Ok(None);
        };
        let value = stored.typed::<Value>()?;
        let selector = selector(&value)?;
        Ok(Some(Owner { stored: Arc::clone(stored), value, selector }))
    }

    /// Adopts and releases, each object by itself, so that one that changes meanwhile keeps no other; says whether anything
    /// was written: then what was read is old.
    pub async fn claim(&self, duty: &Duty, state: &State, owner: &Owner) -> Result<bool, Error> {
        let (uid, deleting) = (&*owner.stored.face().uid, owner.stored.face().deleting);
        let mut wrote = false;
        for object in state.list_in(&self.managed.into(), &owner.stored.key.namespace) {
            let mut draft = Draft::new();
            match claim(object.face(), uid, deleting, &owner.selector) {
                Claim::Adopt if (self.adoptable)(object.face()) => adopt(&mut draft, &owner.stored, object)?,
                Claim::Release => release(&mut draft, object, &[uid])?,
                Claim::Adopt | Claim::Keep | Claim::Leave => continue,
            }
            wrote |= !draft.is_empty();
            draft.commit(duty).await?;
        }
        Ok(wrote)
    }
}

fn selector(owner: &Value) -> Result<Labels, objects::Status> {
    Labels::from_value(&owner["spec"]["selector"])
}

/// What to do about an object that a controller may manage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// It is managed already, and should be.
    Keep,
    /// It is nobody's, and matches.
    Adopt,
    /// It is managed, and no longer matches.
    Release,
    /// It is none of our business.
    Leave,
}

/// Whether the owner `uid` should manage an object with this face.
fn claim(face: &Face, uid: &str, owner_deleting: bool, selector: &Labels) -> Claim {
    let matches = selector.matches(&face.labels);
    match face.controller() {
        Some(owner) if &*owner.uid != uid => Claim::Leave,
        Some(_) if matches => Claim::Keep,
        Some(_) if owner_deleting => Claim::Leave,
        Some(_) => Claim::Release,
        None if matches && !owner_deleting && !face.deleting => Claim::Adopt,
        None => Claim::Leave,
    }
}

/// The reference by which `owner` manages an object.
pub(crate) fn reference(owner: &Stored) -> Result<Value, Error> {
    let kind = kind_of(owner)?;
    Ok(json!({
        "apiVersion": kind.api_version(),
        "kind": kind.kind,
        "name": &*owner.key.name,
        "uid": &*owner.face().uid,
        "controller": true,
        "blockOwnerDeletion": true,
    }))
}

/// Makes `owner` manage `stored`.
fn adopt(draft: &mut Draft, owner: &Stored, stored: &Stored) -> Result<(), Error> {
    let reference = reference(owner)?;
    draft.require_exists(owner);
    draft.edit(stored, |value| match value["metadata"]["ownerReferences"].as_array_mut() {
        Some(list) => {
            list.retain(|known| known["uid"] != reference["uid"]);
            list.push(reference);
        }
        None => value["metadata"]["ownerReferences"] = json!([reference]),
    })?;
    Ok(())
}

/// Takes the references to the owners with these uids away.
pub(crate) fn release(draft: &mut Draft, stored: &Stored, uids: &[&str]) -> Result<(), Error> {
    draft.edit(stored, |value| {
        if let Some(list) = value["metadata"]["ownerReferences"].as_array_mut() {
            list.retain(|known| !uids.contains(&known["uid"].as_str().unwrap_or("")));
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_claimed() {
        let selector = Labels::parse("app=web").unwrap();
        let face = |owner: Option<&str>, app: &str, deleting: bool| {
            let owners = owner.map(|uid| objects::Owner {
                api_version: "apps/v1".into(),
                kind: "ReplicaSet".into(),
                name: "n".into(),
                uid: uid.into(),
                controller: true,
                block_owner_deletion: true,
            });
            let labels = vec![("app".into(), app.into())];
            Face { labels, owners: owners.into_iter().collect(), deleting, ..Face::default() }
        };
        for (owner, app, deleting, owner_deleting, expected) in [
            (Some("me"), "web", false, false, Claim::Keep),
            (Some("me"), "web", true, true, Claim::Keep),
            (Some("me"), "db", false, false, Claim::Release),
            (Some("me"), "db", false, true, Claim::Leave),
            (Some("other"), "web", false, false, Claim::Leave),
            (None, "web", false, false, Claim::Adopt),
            (None, "web", true, false, Claim::Leave),
            (None, "web", false, true, Claim::Leave),
            (None, "db", false, false, Claim::Leave),
        ] {
            let found = claim(&face(owner, app, deleting), "me", owner_deleting, &selector);
            assert_eq!(found, expected, "{owner:?} {app} {deleting} {owner_deleting}");
        }
    }
}
