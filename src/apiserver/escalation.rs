//! Nobody gives away what they do not hold: writes of roles and bindings are checked once more, after authorization.

use objects::Status;
use rbac::PolicyKind;
use rbac::escalation::{self, Write};
use serde_json::Value;

use crate::authorization;
use crate::route::Target;
use crate::router::Call;

/// Checks a write; kinds other than roles and bindings pass. `old` is what is there, for an update.
///
/// # Errors
/// 403 when the role gives more than the writer holds, 404 when a binding refers to a role that does not exist and that the
/// writer may not bind in any case.
pub fn check(call: &Call, target: &Target, old: Option<&Value>, new: &Value) -> Result<(), Status> {
    let Some(kind) = PolicyKind::of_resource(&target.kind.stored().resource()) else { return Ok(()) };
    // Their right rests on who they are: it must not hang on roles that may be damaged.
    if authorization::is_almighty(&call.caller) {
        return Ok(());
    }
    let index = call.api.policy.index(&call.api.store);
    let user = authorization::user(&call.caller);
    let name = target.name.as_deref().unwrap_or("");
    let write = Write { kind, namespace: &target.namespace, name, old, new };
    // Of the authorizers only roles can allow `bind` and `escalate` here: nodes may do neither.
    escalation::check(&index, &user, &write, |wanted| index.authorize(&user, wanted).is_allowed())
}
