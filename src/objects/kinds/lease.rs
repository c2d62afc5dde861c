//! Leases.
//!
//! Follows `pkg/apis/coordination/validation/validation.go`.

use serde_json::{Value, json};

use super::Declaration;
use crate::columns::{AGE, Column, NAME};
use crate::validation::Faults;

pub(super) static LEASE: Declaration = Declaration {
    rules: Some(rules),
    columns: &[NAME, Column::text("Holder", "Who holds the lease.").showing("spec.holderIdentity"), AGE],
    ..Declaration::plain("coordination.k8s.io", "v1", "Lease", "leases")
};

fn rules(faults: &mut Faults, lease: &Value) {
    let spec = &lease["spec"];
    faults.positive("spec.leaseDurationSeconds", &spec["leaseDurationSeconds"]);
    faults.not_negative("spec.leaseTransitions", &spec["leaseTransitions"]);
    if spec["holderIdentity"] == "" {
        faults.invalid("spec.holderIdentity", &json!(""), "must not be empty");
    }
}
