//! What happens to an object whose owners change: pure.
//!
//! Follows upstream's `controller/garbagecollector/garbagecollector.go` (`attemptToDeleteItem`, `processDeletingDependentsItem`).

use objects::lifecycle::Propagation;
use objects::{Face, Owner};

/// Finalizer of an owner that waits for its dependents.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer of an owner whose dependents are to live on.
pub(super) const ORPHAN: &str = "orphan";

/// What is known of an owner reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnerIs {
    /// The owner is there and stays.
    Solid,
    /// The owner is there and waits for its dependents.
    Waiting,
    /// The owner is gone, or another object has its name.
    Gone,
}

/// A dependent as its owner sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dependent {
    /// Whether the owner waits for it.
    pub blocks: bool,
    /// Whether it waits for dependents of its own.
    pub waiting: bool,
}

/// What is to be done about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Leave,
    /// Take the references to these owners away; others still hold the object.
    Drop(Vec<Box<str>>),
    /// Delete the object this way. With `unblock` its own owners first stop waiting for it, which breaks a circle.
    Delete { how: Propagation, unblock: bool },
    /// It has waited long enough: take this finalizer away.
    Finish(&'static str),
    /// Take the references of all dependents to it away, then the finalizer.
    Orphan,
}

/// Decides about an object with this face, whose owners are as `look` says, and which these objects depend on.
pub(super) fn verdict(face: &Face, look: impl Fn(&Owner) -> OwnerIs, dependents: &[Dependent]) -> Verdict {
    let has = |name: &str| face.finalizers.iter().any(|finalizer| &**finalizer == name);
    if face.deleting {
        if has(ORPHAN) {
            return Verdict::Orphan;
        }
        let blocked = dependents.iter().any(|dependent| dependent.blocks);
        return if has(FOREGROUND) && !blocked { Verdict::Finish(FOREGROUND) } else { Verdict::Leave };
    }
    if face.owners.is_empty() {
        return Verdict::Leave;
    }
    let of = |wanted: OwnerIs| face.owners.iter().filter(|owner| look(owner) == wanted).collect::<Vec<_>>();
    let (solid, waiting, gone) = (of(OwnerIs::Solid), of(OwnerIs::Waiting), of(OwnerIs::Gone));
    if !solid.is_empty() {
        if waiting.is_empty() && gone.is_empty() {
            return Verdict::Leave;
        }
        return Verdict::Drop(waiting.iter().chain(&gone).map(|owner| owner.uid.clone()).collect());
    }
    if !waiting.is_empty() && !dependents.is_empty() {
        return Verdict::Delete {
            how: Propagation::Foreground,
            unblock: dependents.iter().any(|dependent| dependent.waiting),
        };
    }
    let how = if has(ORPHAN) {
        Propagation::Orphan
    } else if has(FOREGROUND) {
        Propagation::Foreground
    } else {
        Propagation::Background
    };
    Verdict::Delete { how, unblock: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(owners: &str, finalizers: &[&str], deleting: bool, dependents: &[Dependent], expected: Verdict) {
        let owner = |uid: char| Owner {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            name: uid.to_string().into(),
            uid: uid.to_string().into(),
            controller: false,
            block_owner_deletion: true,
        };
        let face = Face {
            owners: owners.chars().map(owner).collect(),
            finalizers: finalizers.iter().map(|name| (*name).into()).collect(),
            deleting,
            ..Face::default()
        };
        // Owners are called by what has become of them.
        let look = |owner: &Owner| match &*owner.uid {
            "s" => OwnerIs::Solid,
            "w" => OwnerIs::Waiting,
            _ => OwnerIs::Gone,
        };
        assert_eq!(verdict(&face, look, dependents), expected, "{owners} {finalizers:?} {deleting}");
    }

    #[test]
    fn an_object_lives_while_one_owner_does() {
        let background = Verdict::Delete { how: Propagation::Background, unblock: false };
        check("", &[], false, &[], Verdict::Leave);
        check("s", &[], false, &[], Verdict::Leave);
        check("sg", &[], false, &[], Verdict::Drop(vec!["g".into()]));
        check("swg", &[], false, &[], Verdict::Drop(vec!["w".into(), "g".into()]));
        check("g", &[], false, &[], background.clone());
        check("gg", &[], false, &[], background.clone());
        check("w", &[], false, &[], background);
        check("g", &[FOREGROUND], false, &[], Verdict::Delete { how: Propagation::Foreground, unblock: false });
        check("g", &[ORPHAN], false, &[], Verdict::Delete { how: Propagation::Orphan, unblock: false });
        check("g", &[], true, &[], Verdict::Leave);
    }

    #[test]
    fn the_foreground_goes_from_the_leaves_to_the_root() {
        let blocking = Dependent { blocks: true, waiting: false };
        let free = Dependent { blocks: false, waiting: false };
        let circle = Dependent { blocks: true, waiting: true };
        check("w", &[], false, &[free], Verdict::Delete { how: Propagation::Foreground, unblock: false });
        check("w", &[], false, &[circle], Verdict::Delete { how: Propagation::Foreground, unblock: true });
        check("", &[FOREGROUND], true, &[blocking], Verdict::Leave);
        check("", &[FOREGROUND], true, &[free], Verdict::Finish(FOREGROUND));
        check("", &[FOREGROUND], true, &[], Verdict::Finish(FOREGROUND));
        check("", &[ORPHAN], true, &[blocking], Verdict::Orphan);
    }
}
