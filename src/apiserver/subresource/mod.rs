//! What lies behind an object's name: status, scale, and what is done with pods and namespaces.

mod binding;
mod eviction;
mod exec;
mod log;
mod scale;
mod token;

use hyper::upgrade::OnUpgrade;
use objects::{Kind, Status};
use tokio::sync::OwnedSemaphorePermit;

use crate::reply::Response;
use crate::route::Target;
use crate::router::{Call, Verb};
use crate::{errors, get, patch, update};

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
            _ => Err(Status::no_such_path()),
        }
    }

    /// Whether it answers with a stream of bytes, for as long as the client listens.
    pub fn streams(self) -> bool {
        matches!(self, Self::Log | Self::Exec | Self::Attach)
    }
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
        _ => Err(errors::method_not_allowed()),
    }
}
