//! Who manages what: adoption of orphans that match a selector, release of those that no longer do.
//!
//! The rules are those of upstream's `controller/controller_ref_manager.go`.

use objects::Face;
use objects::selector::Labels;
use serde_json::{Value, json};
use state::Stored;

use crate::Error;
use crate::writes::{Draft, kind_of};

/// What to do about an object that a controller may manage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
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
pub(crate) fn claim(face: &Face, uid: &str, owner_deleting: bool, selector: &Labels) -> Claim {
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
pub(crate) fn adopt(draft: &mut Draft, owner: &Stored, stored: &Stored) -> Result<(), Error> {
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
    use objects::Owner;

    #[test]
    fn who_is_claimed() {
        let selector = Labels::parse("app=web").unwrap();
        let face = |owner: Option<&str>, app: &str, deleting: bool| {
            let owners = owner.map(|uid| Owner {
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
