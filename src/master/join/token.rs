//! Join tokens in the cluster: how a token is checked against the record that a Secret keeps, and a use is counted exactly
//! once. When such a Secret goes is the controllers' business.

use std::sync::Arc;

use identity::token::{NAMESPACE, secret_name};
use identity::{Role, Token, TokenRecord};
use objects::{Key, Object, Status, kind};
use state::{Change, Origin, Precondition, Refusal, Stored};
use store::Store;
use tokio::time::Instant;

/// Checks whether a token lets this joiner in now, and changes nothing.
///
/// # Errors
/// 401 with the reason; 503 when the cluster cannot be asked.
pub async fn check(store: &Store, token: &Token, role: Role, joiner: &str) -> Result<(), Status> {
    look(store, token, role, joiner, Instant::now() + store::DEADLINE).await.map(|_| ())
}

/// Counts the joiner's use of a token. A joiner that was counted before is let in again and not counted: its answer was
/// lost. Of several that race for the last use, one gets it.
///
/// # Errors
/// As [`check`].
pub async fn use_up(store: &Store, token: &Token, role: Role, joiner: &str) -> Result<(), Status> {
    let deadline = Instant::now() + store::DEADLINE;
    loop {
        let Some((stored, record)) = look(store, token, role, joiner, deadline).await? else { return Ok(()) };
        let object =
            rewritten(&stored, &record).ok_or_else(|| Status::internal("the token's record cannot be rewritten"))?;
        let unchanged = Precondition::Unchanged { key: stored.key.clone(), revision: stored.revision };
        let changes = vec![Change::Put { key: stored.key.clone(), object }];
        let origin = Origin::Client("system:join".into());
        match store.transact(origin, vec![unchanged], changes, deadline).await {
            Ok(_) => return Ok(()),
            // Somebody else joined with it meanwhile, or it was deleted: what is there now decides.
            Err(store::Error::Refused(Refusal::Changed { .. } | Refusal::NotFound(_) | Refusal::Reborn { .. }))
                if Instant::now() < deadline => {}
            Err(error) => return Err(Status::unavailable(error.to_string())),
        }
    }
}

/// The record as it is to be once this joiner is counted, with the Secret as it is now; `None` when nothing is to count.
async fn look(
    store: &Store,
    token: &Token,
    role: Role,
    joiner: &str,
    deadline: Instant,
) -> Result<Option<(Arc<Stored>, TokenRecord)>, Status> {
    let state = store.fresh(deadline).await.map_err(|error| Status::unavailable(error.to_string()))?;
    let stored = state.get(&Key::new("secrets", NAMESPACE, &secret_name(token.id()))).cloned();
    let record = stored.as_deref().and_then(read);
    let counted = token.verify(record.as_ref(), role, joiner, base::clock::now()).map_err(unauthorized)?;
    Ok(stored.zip(counted))
}

/// 401 with what is wrong with a token.
pub fn unauthorized(error: identity::Error) -> Status {
    Status::new(401, "Unauthorized", error.to_string())
}

fn read(stored: &Stored) -> Option<TokenRecord> {
    TokenRecord::of_secret(&stored.to_value().ok()?)
}

fn rewritten(stored: &Stored, record: &TokenRecord) -> Option<Arc<Object>> {
    let secret = kind::by_kind("v1", "Secret")?;
    let mut value = stored.to_value().ok()?;
    record.put_into(&mut value);
    Object::new(secret, &value).ok().map(Arc::new)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use store::testing::Direct;

    struct World {
        direct: Arc<Direct>,
        store: Store,
        token: Token,
    }

    impl World {
        /// A cluster with a token for nodes that has so many uses.
        fn new(uses: u32) -> Self {
            let (store, direct) = Direct::start();
            let token = Token::new(Role::Node, "0".repeat(64));
            let world = Self { direct, store, token };
            let record = world.token.record(base::clock::now() + Duration::from_secs(60), Some(uses));
            world.direct.write(world.keeping(&record));
            world
        }

        /// The change that keeps this record, whatever was there.
        fn keeping(&self, record: &TokenRecord) -> Vec<Change> {
            let mut value = record.secret();
            value["metadata"]["uid"] = "u".into();
            value.as_object_mut().unwrap().remove("stringData");
            record.put_into(&mut value);
            let object = Object::new(kind::by_kind("v1", "Secret").unwrap(), &value).unwrap();
            vec![Change::Put { key: self.key(), object: Arc::new(object) }]
        }

        /// Counts this joiner between another's look and its write.
        fn intrude(&self, joiner: &str) {
            let taken = self.token.verify(Some(&self.record()), Role::Node, joiner, base::clock::now());
            let changes = self.keeping(&taken.unwrap().expect("a use"));
            self.direct.intrude(|direct| drop(direct.write(changes)));
        }

        fn key(&self) -> Key {
            Key::new("secrets", NAMESPACE, &secret_name(self.token.id()))
        }

        fn record(&self) -> TokenRecord {
            read(self.store.current().get(&self.key()).unwrap()).unwrap()
        }

        async fn joins(&self, joiner: &str) -> Result<(), String> {
            use_up(&self.store, &self.token, Role::Node, joiner).await.map_err(|status| {
                assert_eq!(status.code, 401, "{}", status.message);
                status.message
            })
        }
    }

    #[tokio::test]
    async fn a_use_is_counted_once_for_each_joiner() {
        let world = World::new(2);
        world.joins("one").await.unwrap();
        world.joins("one").await.unwrap();
        assert_eq!(world.record().uses_left, Some(1));
        world.joins("two").await.unwrap();
        let refused = world.joins("three").await.unwrap_err();
        assert!(refused.contains("used up") && refused.contains("barque token create"), "{refused}");
        world.joins("one").await.expect("a joiner whose answer was lost is not locked out");
        assert_eq!((world.record().uses_left, world.record().joined.len()), (Some(0), 2));
    }

    #[tokio::test]
    async fn checking_counts_nothing() {
        let world = World::new(1);
        check(&world.store, &world.token, Role::Node, "one").await.unwrap();
        assert_eq!(world.record().uses_left, Some(1));
        let refused = check(&world.store, &world.token, Role::Master, "one").await.unwrap_err();
        assert!(refused.message.contains("lets a node join, not a master"), "{}", refused.message);
    }

    #[tokio::test]
    async fn of_two_that_race_for_the_last_use_one_gets_it() {
        let world = World::new(1);
        world.intrude("quick");
        let refused = world.joins("slow").await.unwrap_err();
        assert!(refused.contains("used up"), "{refused}");
        assert_eq!((world.record().uses_left, world.record().joined), (Some(0), vec!["quick".to_owned()]));
        world.joins("quick").await.unwrap();
    }

    #[tokio::test]
    async fn a_race_for_one_of_several_uses_is_won_by_both() {
        let world = World::new(2);
        world.intrude("quick");
        world.joins("slow").await.unwrap();
        assert_eq!((world.record().uses_left, world.record().joined.len()), (Some(0), 2));
    }
}
