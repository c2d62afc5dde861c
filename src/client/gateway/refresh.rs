//! Asking the cluster for its masters, so that a gateway outlives those that it was told of.

use super::Refresh;
use crate::{Address, Call, Client};
use futures::FutureExt;
use serde_json::Value;
use std::sync::Arc;

/// Where a master says, among other things, who the members are.
const STATUS: &str = "/barque/v1/status";

/// Asks any master through `client`, as a user that the cluster knows. The masters on its list now stay on it: the
/// cluster knows its masters by addresses of its own, and from here other ones may lead to them.
pub fn from_cluster(client: Client) -> Refresh {
    let given = client.endpoints().addresses();
    Arc::new(move || {
        let (client, given) = (client.clone(), given.clone());
        async move {
            let status = match client.json(Call::get(STATUS)).await {
                Ok(status) => status,
                Err(error) => {
                    tracing::debug!(%error, "the list of masters could not be learned");
                    return None;
                }
            };
            Some(members(&status)?.into_iter().chain(given).collect())
        }
        .boxed()
    })
}

/// The members' API addresses; `None` when there is none, or one does not parse.
fn members(status: &Value) -> Option<Vec<Address>> {
    let members = status["members"].as_array()?.iter();
    let addresses: Option<Vec<Address>> = members.map(|member| member["api"].as_str()?.parse().ok()).collect();
    addresses.filter(|addresses| !addresses.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn members_are_read_as_a_whole() {
        let count = |status: Value| members(&status).map(|found| found.len());
        assert_eq!(count(json!({"members": [{"api": "https://a:1"}, {"id": 2, "api": "https://b:2"}]})), Some(2));
        for unusable in [json!({"members": [{"api": "https://a:1"}, {"api": ""}]}), json!({"members": []}), json!("ok")]
        {
            assert_eq!(count(unusable.clone()), None, "{unusable}");
        }
    }
}
