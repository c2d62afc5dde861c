//! Acting as somebody else: the `Impersonate-…` headers, and whether the caller may.
//!
//! Follows upstream's `apiserver/pkg/endpoints/filters/impersonation.go`, and refuses what it passes over in silence: an empty
//! user, a user given twice. The headers end here, and so do those of an authenticating proxy in front (`X-Remote-…`), which
//! nobody is trusted to send.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName};
use identity::{Caller, names};
use objects::Status;
use rbac::Target;
use tokio::time::Instant;

use crate::api::Api;
use crate::authorization::{self, Attributes};
use crate::query;

const PREFIX: &str = "impersonate-";
const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";
const PROXY: &str = "x-remote-";

const SERVICE_ACCOUNT: &str = "system:serviceaccount:";
const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
/// The group of the API in which uids and extra values may be impersonated.
const AUTHENTICATION: &str = "authentication.k8s.io";
/// Most things of one request that each take a permission.
const PARTS_MAX: usize = 256;

/// Whom a caller wants to act as.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The user name; never empty.
    pub user: String,
    uid: Option<String>,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

/// Takes the headers out, and reads whom they name; `None` when nobody is to be impersonated.
///
/// # Errors
/// 400 for headers that name no user, or do not read as what they are.
pub fn take(headers: &mut HeaderMap) -> Result<Option<Wanted>, Status> {
    let ours = |name: &&HeaderName| name.as_str().starts_with(PREFIX) || name.as_str().starts_with(PROXY);
    let found: Vec<HeaderName> = headers.keys().filter(ours).cloned().collect();
    let mut wanted = Wanted::default();
    let (mut parts, mut users) = (0, 0);
    for name in found {
        let values: Vec<_> = headers.get_all(&name).iter().cloned().collect();
        headers.remove(&name);
        if !name.as_str().starts_with(PREFIX) {
            continue;
        }
        for value in values {
            parts += 1;
            let value = std::str::from_utf8(value.as_bytes())
                .map_err(|_| Status::bad_request(format!("the header {name} is no UTF-8")))?
                .to_owned();
            match name.as_str() {
                USER => {
                    users += 1;
                    wanted.user = value;
                }
                GROUP => wanted.groups.push(value),
                UID if wanted.uid.is_some() => return Err(twice(&name)),
                UID => wanted.uid = Some(value),
                other => {
                    let key = other.strip_prefix(EXTRA).and_then(query::decode).map(|key| key.to_lowercase());
                    let key = key.filter(|key| !key.is_empty()).ok_or_else(|| unknown(&name))?;
                    wanted.extra.entry(key).or_default().push(value);
                }
            }
        }
    }
    match (parts, users) {
        (0, _) => Ok(None),
        (PARTS_MAX.., _) => Err(Status::bad_request("too many things to impersonate in one request")),
        (_, 1) if !wanted.user.is_empty() => Ok(Some(wanted)),
        (_, 2..) => Err(twice(&HeaderName::from_static(USER))),
        _ => Err(Status::bad_request("requested uid, groups or extra values without impersonating a user name")),
    }
}

fn twice(name: &HeaderName) -> Status {
    Status::bad_request(format!("the header {name} is given more than once"))
}

fn unknown(name: &HeaderName) -> Status {
    Status::bad_request(format!("the header {name} names nothing that can be impersonated"))
}

impl Wanted {
    /// The other, if the caller may act as them.
    ///
    /// # Errors
    /// 403 for the first of user, uid, groups and extra values that the caller may not take on.
    pub async fn granted(self, api: &Api, patience: Instant, caller: &Caller) -> Result<Caller, Status> {
        for target in self.targets() {
            let wanted = Attributes::of("impersonate", target);
            authorization::demand(api, patience, caller, &wanted).await?;
        }
        Ok(self.into_caller())
    }

    /// What has to be allowed, each with the verb `impersonate`.
    fn targets(&self) -> Vec<Target<'_>> {
        let of = |group, resource, subresource, namespace, name| Target::Resource {
            group,
            resource,
            subresource,
            namespace,
            name,
        };
        let mut targets = vec![match account(&self.user) {
            Some((namespace, name)) => of("", "serviceaccounts", "", namespace, name),
            None => of("", "users", "", "", self.user.as_str()),
        }];
        targets.extend(self.groups.iter().map(|group| of("", "groups", "", "", group.as_str())));
        for (key, values) in &self.extra {
            targets
                .extend(values.iter().map(|value| of(AUTHENTICATION, "userextras", key.as_str(), "", value.as_str())));
        }
        targets.extend(self.uid.iter().map(|uid| of(AUTHENTICATION, "uids", "", "", uid.as_str())));
        targets
    }

    fn into_caller(self) -> Caller {
        let Self { user, uid, mut groups, extra } = self;
        if let Some((namespace, _)) = account(&user)
            && groups.is_empty()
        {
            groups = vec![SERVICE_ACCOUNTS.to_owned(), format!("{SERVICE_ACCOUNTS}:{namespace}")];
        }
        let added =
            if user == names::USER_ANONYMOUS { names::GROUP_UNAUTHENTICATED } else { names::GROUP_AUTHENTICATED };
        let is_either =
            |group: &String| [names::GROUP_AUTHENTICATED, names::GROUP_UNAUTHENTICATED].contains(&group.as_str());
        if !groups.iter().any(is_either) {
            groups.push(added.to_owned());
        }
        Caller { user, uid, groups, extra }
    }
}

/// Namespace and name of the service account behind a user name, if it is one's.
fn account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(SERVICE_ACCOUNT)?.split_once(':')?;
    let is_name = |text: &str| objects::validation::names::dns_subdomain(text).is_empty();
    (is_name(namespace) && is_name(name)).then_some((namespace, name))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn incomplete_and_forged_headers_are_refused_and_taken_out() {
        for list in [
            vec![(GROUP, "g")],
            vec![(UID, "1")],
            vec![("impersonate-extra-scopes", "x")],
            vec![(USER, "")],
            vec![(USER, ""), (GROUP, "system:masters")],
            vec![(USER, "a"), (USER, "b")],
            vec![(USER, "a"), (UID, "1"), (UID, "2")],
            vec![(USER, "a"), ("impersonate-extra-", "x")],
            vec![(USER, "a"), ("impersonate-extra-%ff", "x")],
            vec![(USER, "a"), ("impersonate-everything", "x")],
            vec![(USER, "a"); PARTS_MAX],
        ] {
            let mut given = headers(&[]);
            list.iter().for_each(|(name, value)| {
                given.append(*name, HeaderValue::from_static(value));
            });
            assert_eq!(take(&mut given).map_err(|status| status.code), Err(400), "{list:?}");
        }
        let mut binary = HeaderMap::new();
        binary.insert(USER, HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(take(&mut binary).map_err(|status| status.code), Err(400));
        let mut proxied = headers(&[("x-remote-user", "admin"), ("x-remote-group", "system:masters"), ("accept", "a")]);
        assert_eq!(take(&mut proxied), Ok(None));
        assert_eq!(proxied, headers(&[("accept", "a")]));
    }

    #[test]
    fn each_part_takes_a_permission_of_its_own() {
        let mut given = headers(&[
            (USER, "system:serviceaccount:n:a"),
            (GROUP, "g"),
            (UID, "1"),
            ("impersonate-extra-example.org%2fscope", "view"),
            ("accept", "a"),
        ]);
        let wanted = take(&mut given).unwrap().unwrap();
        assert_eq!(given, headers(&[("accept", "a")]));
        let shown: Vec<String> = wanted.targets().iter().map(|target| format!("{target:?}")).collect();
        let resource = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
            format!("{:?}", Target::Resource { group, resource, subresource, namespace, name })
        };
        assert_eq!(
            shown,
            [
                resource("", "serviceaccounts", "", "n", "a"),
                resource("", "groups", "", "", "g"),
                resource(AUTHENTICATION, "userextras", "example.org/scope", "", "view"),
                resource(AUTHENTICATION, "uids", "", "", "1"),
            ]
        );
        let caller = wanted.into_caller();
        assert_eq!(caller.groups, ["g", "system:authenticated"]);
        assert_eq!(caller.extra["example.org/scope"], ["view"]);
        assert_eq!(caller.uid.as_deref(), Some("1"));
    }

    #[test]
    fn the_impersonated_are_in_the_groups_that_authentication_gives() {
        for (list, groups) in [
            (vec![(USER, "u")], vec!["system:authenticated"]),
            (vec![(USER, "u"), (GROUP, "system:authenticated")], vec!["system:authenticated"]),
            (vec![(USER, "u"), (GROUP, "system:unauthenticated")], vec!["system:unauthenticated"]),
            (vec![(USER, "system:anonymous")], vec!["system:unauthenticated"]),
            (
                vec![(USER, "system:serviceaccount:n:a")],
                vec!["system:serviceaccounts", "system:serviceaccounts:n", "system:authenticated"],
            ),
            // No service account has such a name: it is a user, and takes the permission for one.
            (vec![(USER, "system:serviceaccount:n:a:b")], vec!["system:authenticated"]),
            (vec![(USER, "system:serviceaccount:N:")], vec!["system:authenticated"]),
        ] {
            let wanted = take(&mut headers(&list)).unwrap().unwrap();
            assert_eq!(wanted.into_caller().groups, groups, "{list:?}");
        }
    }
}
