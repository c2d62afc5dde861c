//! Service accounts.
//!
//! Follows `pkg/apis/core/validation/validation.go`.

use serde_json::Value;

use super::Declaration;
use crate::columns::{AGE, Column, NAME};
use crate::kind::Subresource;
use crate::validation::{Faults, list, names, text};

pub(super) static SERVICE_ACCOUNT: Declaration = Declaration {
    short_names: &["sa"],
    subresources: &[Subresource {
        name: "token",
        group: "authentication.k8s.io",
        version: "v1",
        kind: "TokenRequest",
        verbs: &["create"],
    }],
    rules: Some(rules),
    columns: &[NAME, Column::text("Secrets", "How many secrets the account names.").counting("secrets"), AGE],
    ..Declaration::plain("", "v1", "ServiceAccount", "serviceaccounts")
};

fn rules(faults: &mut Faults, value: &Value) {
    for (path, secret) in list("secrets", &value["secrets"]) {
        let name = text(secret, "name");
        if !name.is_empty() {
            faults.named(&format!("{path}.name"), name, names::dns_subdomain(name));
        }
    }
}
