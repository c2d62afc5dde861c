//! Admission of pods by their service account: it must exist, and brings its token's volume and its pull secrets.

use std::time::Duration;

use objects::{Key, Status, defaulting};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::errors;
use crate::route::Target;
use crate::router::Call;

/// How long the account `default` of a namespace is waited for, which the leader makes soon after the namespace; upstream
/// looks ten times within two seconds.
const DEFAULT_WAIT: Duration = Duration::from_secs(2);
/// Length of the random end of the volume's name; upstream's.
const SUFFIX_LENGTH: usize = 5;

/// Writes into a new pod what its account brings. Nothing happens to other kinds.
///
/// # Errors
/// 403 when there is no such account, 503 when that cannot be found out.
pub async fn admit(call: &Call, target: &Target, value: &mut Value) -> Result<(), Status> {
    if !(target.kind.group.is_empty() && target.kind.kind == "Pod") {
        return Ok(());
    }
    let name = defaulting::account_of(value).to_owned();
    let key = Key::new("serviceaccounts", &target.namespace, &name);
    let wait = if name == defaulting::ACCOUNT_DEFAULT { DEFAULT_WAIT } else { Duration::ZERO };
    let until = call.patience().min(Instant::now() + wait);
    let mut changes = call.api.store.changes();
    let mut state = call.api.store.current();
    if state.get(&key).is_none() {
        // This copy may be behind.
        state = call.api.store.fresh(call.patience()).await.map_err(|error| errors::status(error, &key))?;
    }
    loop {
        if let Some(account) = state.get(&key).and_then(|stored| stored.to_value().ok()) {
            defaulting::bring_account(value, &account, &base::random::suffix(SUFFIX_LENGTH));
            return Ok(());
        }
        let namespace = state.get(&Key::new("namespaces", "", &target.namespace));
        if namespace.is_none_or(|namespace| namespace.face().deleting) {
            // That is said better where the pod is stored.
            return Ok(());
        }
        if !matches!(timeout_at(until, changes.changed()).await, Ok(Ok(()))) {
            return Err(defaulting::no_account(value, &key));
        }
        state = call.api.store.current();
    }
}
