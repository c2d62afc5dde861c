//! What lies behind an object's name: status, scale, and what is done with pods and namespaces.

mod binding;
mod eviction;
mod exec;
mod log;
mod portforward;
pub mod proxy;
mod scale;
mod token;
mod upgrade;

use hyper::upgrade::OnUpgrade;
use objects::{Kind, Status};
use tokio::sync::OwnedSemaphorePermit;

use crate::reply::Response;
use crate::route::Target;
use crate::router::{Call, Verb};
use crate::{admission, errors, get, patch, update};

/// A subresource that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subresource {
    /// What is, as opposed to what is wanted.
    Status,
    /// How many replicas.
    Scale,
    /// Lets an emptied namespace go.
    Finalize,
    /// Grants or denies a certificate.
    Approval,
    /// Puts a pod on a node.
    Binding,
    /// Asks a pod to leave.
    Eviction,
    /// Issues tokens of a service account.
    Token,
    /// What a container wrote.
    Log,
    /// Runs a program in a container.
    Exec,
    /// Joins a container's own streams.
    Attach,
    /// Connects to a pod's ports.
    PortForward,
    /// Passes an HTTP request on to a pod.
    Proxy,
}

impl Subresource {
    /// The subresource of a kind by its name.
    ///
    /// # Errors
    /// 404 when the kind has none of that name.
    pub fn of(kind: &Kind, name: &str) -> Result<Self, Status> {
        let declared = kind.subresources.iter().any(|one| one.name == name);
        match name {
            "status" if kind.has_status => Ok(Self::Status),
            "scale" if kind.has_scale => Ok(Self::Scale),
            "finalize" if declared => Ok(Self::Finalize),
            "approval" if declared => Ok(Self::Approval),
            "binding" if declared => Ok(Self::Binding),
            "eviction" if declared => Ok(Self::Eviction),
            "token" if declared => Ok(Self::Token),
            "log" if declared => Ok(Self::Log),
            "exec" if declared => Ok(Self::Exec),
            "attach" if declared => Ok(Self::Attach),
            "portforward" if declared => Ok(Self::PortForward),
            "proxy" if declared => Ok(Self::Proxy),
            _ => Err(Status::no_such_path()),
        }
    }

    /// Whether it answers with a stream of bytes, for as long as the client listens.
    pub fn streams(self) -> bool {
        matches!(self, Self::Log | Self::Exec | Self::Attach | Self::PortForward | Self::Proxy)
    }
}

/// What a request to a target does, in the words of authorization: to connect to a pod is to create, whatever the HTTP method
/// (upstream since 1.35: `AuthorizePodWebsocketUpgradeCreatePermission`).
pub fn verb(target: &Target, verb: Verb) -> &'static str {
    let connects = matches!(target.subresource.as_deref(), Some("exec" | "attach" | "portforward"));
    let pods = target.kind.group.is_empty() && target.kind.plural == "pods";
    if connects && pods { Verb::Create.as_str() } else { verb.as_str() }
}

/// Answers a request to a subresource.
///
/// # Errors
/// 405 for verbs that it does not have, and what its handler refuses.
pub async fn answer(
    call: &Call,
    target: &Target,
    subresource: Subresource,
    verb: Verb,
    bytes: &[u8],
    permit: OwnedSemaphorePermit,
    upgrade: OnUpgrade,
) -> Result<Response, Status> {
    admission::connect(call, target)?;
    match (subresource, verb) {
        (Subresource::Status | Subresource::Approval, Verb::Get) => get::get(call, target).await,
        (Subresource::Status | Subresource::Approval | Subresource::Finalize, Verb::Update) => {
            update::update(call, target, bytes).await
        }
        (Subresource::Status | Subresource::Approval, Verb::Patch) => patch::patch(call, target, bytes).await,
        (Subresource::Scale, Verb::Get | Verb::Update | Verb::Patch) => scale::answer(call, target, verb, bytes).await,
        (Subresource::Binding, Verb::Create) => binding::bind(call, target, bytes).await,
        (Subresource::Eviction, Verb::Create) => eviction::evict(call, target, bytes).await,
        (Subresource::Token, Verb::Create) => token::issue(call, target, bytes).await,
        (Subresource::Log, Verb::Get) => log::log(call, target, permit).await,
        (Subresource::Exec, Verb::Get | Verb::Create) => exec::exec(call, target, "exec", permit, upgrade).await,
        (Subresource::Attach, Verb::Get | Verb::Create) => exec::exec(call, target, "attach", permit, upgrade).await,
        (Subresource::PortForward, Verb::Get | Verb::Create) => {
            portforward::port_forward(call, target, permit, upgrade).await
        }
        (Subresource::Proxy, _) => proxy::proxy(call, target, bytes, permit, upgrade).await,
        _ => Err(errors::method_not_allowed()),
    }
}

#[cfg(test)]
mod tests {
    use objects::kind;

    use super::*;
    use crate::route::{self, Route};

    #[test]
    fn whoever_connects_creates() {
        let rows = [
            ("/api/v1/namespaces/d/pods/p/exec", Verb::Get, "create"),
            ("/api/v1/namespaces/d/pods/p/attach", Verb::Get, "create"),
            ("/api/v1/namespaces/d/pods/p/portforward", Verb::Get, "create"),
            ("/api/v1/namespaces/d/pods/p/portforward", Verb::Create, "create"),
            ("/api/v1/namespaces/d/pods/p/log", Verb::Get, "get"),
            ("/api/v1/namespaces/d/pods/p", Verb::Get, "get"),
            ("/api/v1/namespaces/d/services/exec/status", Verb::Get, "get"),
        ];
        for (path, method, expected) in rows {
            let find = |group: &str, version: &str, plural: &str| kind::by_plural(group, version, plural).cloned();
            let Ok(Route::Resource(target)) = route::parse(path, &find) else { panic!("{path}") };
            assert_eq!(verb(&target, method), expected, "{path}");
        }
    }
}
