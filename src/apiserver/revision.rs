//! Which state a read is answered from: `resourceVersion` and `resourceVersionMatch`.

use objects::{Resource, Status};
use state::{Revision, State};
use tokio::time::Instant;

use crate::errors::{self, invalid_option};
use crate::query::Query;
use crate::router::Call;

/// What a read asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Everything acknowledged before the request.
    Fresh,
    /// Whatever is here.
    Any,
    /// This revision or a later one.
    NotOlderThan(u64),
    /// Exactly this revision.
    Exact(u64),
}

/// Reads a resource version.
///
/// # Errors
/// 400 when it is no number.
pub fn number(text: &str) -> Result<u64, Status> {
    text.parse().map_err(|_| Status::bad_request(format!("invalid resource version {text:?}: it is no whole number")))
}

/// What a GET asks for.
///
/// # Errors
/// 400 when the version is no number.
pub fn of_get(query: &Query) -> Result<Wanted, Status> {
    Ok(match query.get("resourceVersion").map(number).transpose()? {
        None => Wanted::Fresh,
        Some(0) => Wanted::Any,
        Some(revision) => Wanted::NotOlderThan(revision),
    })
}

/// What a LIST asks for, by upstream's table of combinations.
///
/// # Errors
/// 422 for combinations that make no sense, 400 for a version that is no number.
pub fn of_list(query: &Query) -> Result<Wanted, Status> {
    let forbidden = |field: &str, why: &str| {
        Err(invalid_option("ListOptions", field, "FieldValueForbidden", format!("Forbidden: {why}")))
    };
    if query.flag("sendInitialEvents")?.is_some() {
        return forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list");
    }
    let revision = query.get("resourceVersion").map(number).transpose()?;
    let continues = query.get("continue").is_some();
    match query.get("resourceVersionMatch") {
        None if continues && revision.is_some_and(|revision| revision > 0) => {
            Err(Status::bad_request("specifying resource version is not allowed when using continue"))
        }
        None => Ok(match revision {
            None => Wanted::Fresh,
            Some(0) => Wanted::Any,
            // Upstream's rule from before the match parameter existed.
            Some(revision) if query.number("limit")?.is_some_and(|limit| limit > 0) => Wanted::Exact(revision),
            Some(revision) => Wanted::NotOlderThan(revision),
        }),
        Some(_) if continues => {
            forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided")
        }
        Some(wanted @ ("Exact" | "NotOlderThan")) => match (wanted, revision) {
            (_, None) => forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            ),
            ("Exact", Some(0)) => forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"",
            ),
            ("Exact", Some(revision)) => Ok(Wanted::Exact(revision)),
            (_, Some(0)) => Ok(Wanted::Any),
            (_, Some(revision)) => Ok(Wanted::NotOlderThan(revision)),
        },
        Some(other) => Err(unsupported_match(other, "\"Exact\", \"NotOlderThan\"")),
    }
}

/// 422 for a match that does not exist.
pub fn unsupported_match(given: &str, supported: &str) -> Status {
    let message = format!("Unsupported value: {given:?}: supported values: {supported}");
    invalid_option("ListOptions", "resourceVersionMatch", "FieldValueNotSupported", message)
}

/// The state that answers a read.
///
/// # Errors
/// 503 without a quorum, 504 for a revision that this master does not reach in time, 410 for one that is forgotten.
pub async fn state(call: &Call, wanted: Wanted, resource: &Resource) -> Result<State, Status> {
    let store = &call.api.store;
    let soon = call.deadline.min(Instant::now() + call.api.options.future_wait);
    let outcome = match wanted {
        Wanted::Any => Ok(store.current()),
        Wanted::Fresh => store.fresh(call.patience()).await,
        Wanted::NotOlderThan(revision) | Wanted::Exact(revision) => {
            store.not_older_than(Revision(revision), soon).await
        }
    };
    let state = outcome.map_err(|error| errors::read(error, resource))?;
    match wanted {
        Wanted::Exact(revision) => state
            .at(resource, Revision(revision))
            .ok_or_else(|| Status::expired("The resourceVersion for the provided list is too old.")),
        _ => Ok(state),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combinations_follow_upstreams_table() {
        let rows = [
            ("", Ok(Wanted::Fresh)),
            ("resourceVersion=", Ok(Wanted::Fresh)),
            ("resourceVersion=0", Ok(Wanted::Any)),
            ("resourceVersion=7", Ok(Wanted::NotOlderThan(7))),
            ("resourceVersion=7&limit=5", Ok(Wanted::Exact(7))),
            ("resourceVersion=7&resourceVersionMatch=Exact", Ok(Wanted::Exact(7))),
            ("resourceVersion=7&resourceVersionMatch=NotOlderThan&limit=5", Ok(Wanted::NotOlderThan(7))),
            ("resourceVersion=0&resourceVersionMatch=NotOlderThan", Ok(Wanted::Any)),
            ("resourceVersion=0&resourceVersionMatch=Exact", Err(422)),
            ("resourceVersionMatch=Exact", Err(422)),
            ("resourceVersion=7&resourceVersionMatch=Newest", Err(422)),
            ("resourceVersion=x", Err(400)),
            ("resourceVersion=-1", Err(400)),
            ("continue=x&resourceVersion=7", Err(400)),
            ("continue=x&resourceVersion=0", Ok(Wanted::Any)),
            ("continue=x&resourceVersion=7&resourceVersionMatch=Exact", Err(422)),
            ("sendInitialEvents=true", Err(422)),
            ("limit=x&resourceVersion=1", Err(400)),
        ];
        for (query, wanted) in rows {
            let found = of_list(&Query::parse(Some(query)).unwrap()).map_err(|status| status.code);
            assert_eq!(found, wanted, "{query}");
        }
    }
}
