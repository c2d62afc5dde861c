//! The built-in kinds: one file for each, or for a family that shares most of its rules.
//!
//! A kind is a [`Declaration`]: its names, and only what makes it differ from a plain namespaced object. Whatever all
//! kinds have alike (decoding, canonical form, metadata, patches, field ownership, deletion) is written once, elsewhere
//! in this crate, and asks the declaration where kinds differ. A kind that is not in [`ALL`] is not served.

mod address;
mod admission;
mod certificates;
mod classes;
mod config;
mod csi;
mod endpoints;
mod event;
mod extension;
mod flow_control;
mod horizontal_pod_autoscaler;
mod ingress;
mod lease;
mod namespace;
mod network_policy;
mod node;
mod persistent_volume;
pub(crate) mod pod;
mod pod_disruption_budget;
mod quota;
mod rbac;
mod resource_claim;
pub(crate) mod service;
mod service_account;
mod storage_class;
mod workload;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::columns::{CREATED_AT, Column, NAME};
use crate::defaulting::Default;
use crate::kind::Subresource;
use crate::validation::{Faults, names};

/// Everything that the code says about one kind in one version.
///
/// Written as what differs from [`Declaration::plain`]. Functions get decoded values; values of the wrong shape were
/// refused before, but no function may panic on them.
pub(crate) struct Declaration {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Version of this form of the kind.
    pub version: &'static str,
    /// Kind as manifests spell it.
    pub kind: &'static str,
    /// Plural, as in URLs.
    pub plural: &'static str,
    /// Short names, as `po`.
    pub short_names: &'static [&'static str],
    /// Categories, as `all`.
    pub categories: &'static [&'static str],
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Package of the kind's message in the field table; empty where it follows from the group.
    pub package: &'static str,
    /// Group and plural under which the objects are stored, where that is another kind's; with [`Self::convert`].
    pub stored: Option<(&'static str, &'static str)>,
    /// How a form that is not the stored one becomes the stored one, and back.
    pub convert: Option<Conversion>,
    /// Whether there is `/status`: then main writes ignore the status, and status writes ignore the rest.
    pub status: bool,
    /// Whether there is `/scale`.
    pub scale: bool,
    /// Subresources that are neither.
    pub subresources: &'static [Subresource],
    /// Whether `metadata.generation` counts changes of all but metadata and status.
    pub generation: bool,
    /// Fields that field selectors may name, besides name and namespace.
    pub selects: &'static [&'static str],
    /// Other names of selectable fields: what a selector says, and the field of the stored form that it means.
    pub selects_as: &'static [(&'static str, &'static str)],

    /// The grammar of names.
    pub named: fn(&str) -> Vec<String>,
    /// Defaults that are constants, by path.
    pub defaults: &'static [(&'static str, Default)],
    /// Defaults that depend on other fields; after the constants.
    pub fill: Option<fn(&mut Map<String, Value>)>,
    /// What admission writes into new objects.
    pub admit: Option<fn(&mut Map<String, Value>)>,

    /// Rules of a new object; of an updated one as well, unless [`Self::changed`] says otherwise.
    pub rules: Option<fn(&mut Faults, &Value)>,
    /// Rules of an update from one value to another, instead of [`Self::rules`].
    pub changed: Option<fn(&mut Faults, &Value, &Value)>,
    /// Fields that no update may change.
    pub immutable: &'static [&'static str],

    /// What creation makes of the object, where it is not "an empty status".
    pub begin: Option<fn(&mut Value)>,
    /// What a main write keeps of the old object, besides the status.
    pub keep: Option<fn(&Value, &mut Value)>,
    /// What a status write keeps of the old status.
    pub keep_status: Option<fn(&Value, &mut Value)>,
    /// Metadata that a status write does not let through.
    pub status_keeps: &'static [&'static str],
    /// How a deletion ends.
    pub ending: Ending,
    /// Whether a deletion that does not say otherwise lets the dependents live.
    pub orphans: bool,

    /// Whether objects are only kept: nothing in this version acts upon them, which whoever writes one should be told.
    pub stored_only: bool,

    /// Columns of the table, each with its cell.
    pub columns: &'static [Column],
    /// All cells at once, where one look at the object yields several.
    pub cells: Option<fn(&Value, Timestamp) -> Vec<Value>>,
    /// Conditions of a row.
    pub row_conditions: Option<fn(&Value) -> Vec<Value>>,
}

/// The two ways between a form of a kind and the stored one. Pure, and total: what one form cannot say is kept in
/// annotations, as upstream does.
#[derive(Clone, Copy)]
pub(crate) struct Conversion {
    /// API version and kind of the stored form.
    pub of: (&'static str, &'static str),
    /// From this form to the stored one.
    pub to_stored: fn(&mut Map<String, Value>),
    /// From the stored form to this one.
    pub from_stored: fn(&mut Map<String, Value>),
}

/// How the deletion of an object ends that no finalizer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// At once.
    Now,
    /// When its grace is over, which another DELETE says.
    AfterGrace,
    /// When `spec.finalizers` is empty, which `/finalize` says.
    OnceFinalized,
}

impl Declaration {
    /// A namespaced kind of which nothing is special.
    pub const fn plain(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> Self {
        Self {
            group,
            version,
            kind,
            plural,
            short_names: &[],
            categories: &[],
            namespaced: true,
            package: "",
            stored: None,
            convert: None,
            status: false,
            scale: false,
            subresources: &[],
            generation: false,
            selects: &[],
            selects_as: &[],
            named: names::dns_subdomain,
            defaults: &[],
            fill: None,
            admit: None,
            rules: None,
            changed: None,
            immutable: &[],
            begin: None,
            keep: None,
            keep_status: None,
            status_keeps: &[],
            ending: Ending::Now,
            orphans: false,
            stored_only: false,
            columns: &[NAME, CREATED_AT],
            cells: None,
            row_conditions: None,
        }
    }

    /// A cluster-scoped kind of which nothing else is special.
    pub const fn cluster(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> Self {
        Self { namespaced: false, ..Self::plain(group, version, kind, plural) }
    }
}

/// Every declared kind, in the order discovery lists groups; the stored form of a kind before its others.
pub(crate) static ALL: &[&Declaration] = &[
    &namespace::NAMESPACE,
    &node::NODE,
    &pod::POD,
    &config::CONFIG_MAP,
    &config::SECRET,
    &service_account::SERVICE_ACCOUNT,
    &event::EVENT,
    &service::SERVICE,
    &endpoints::ENDPOINTS,
    &persistent_volume::PERSISTENT_VOLUME,
    &persistent_volume::PERSISTENT_VOLUME_CLAIM,
    &quota::RESOURCE_QUOTA,
    &quota::LIMIT_RANGE,
    &workload::replication_controller::REPLICATION_CONTROLLER,
    &workload::pod_template::POD_TEMPLATE,
    &workload::deployment::DEPLOYMENT,
    &workload::replica_set::REPLICA_SET,
    &workload::stateful_set::STATEFUL_SET,
    &workload::daemon_set::DAEMON_SET,
    &workload::controller_revision::CONTROLLER_REVISION,
    &workload::job::JOB,
    &workload::cron_job::CRON_JOB,
    &horizontal_pod_autoscaler::V2,
    &horizontal_pod_autoscaler::V1,
    &pod_disruption_budget::POD_DISRUPTION_BUDGET,
    &rbac::ROLE,
    &rbac::CLUSTER_ROLE,
    &rbac::ROLE_BINDING,
    &rbac::CLUSTER_ROLE_BINDING,
    &ingress::INGRESS,
    &ingress::INGRESS_CLASS,
    &network_policy::NETWORK_POLICY,
    &address::SERVICE_CIDR,
    &address::IP_ADDRESS,
    &endpoints::ENDPOINT_SLICE,
    &event::EVENTS_V1,
    &lease::LEASE,
    &storage_class::STORAGE_CLASS,
    &storage_class::VOLUME_ATTRIBUTES_CLASS,
    &storage_class::VOLUME_ATTACHMENT,
    &csi::CSI_DRIVER,
    &csi::CSI_NODE,
    &csi::CSI_STORAGE_CAPACITY,
    &classes::PRIORITY_CLASS,
    &classes::RUNTIME_CLASS,
    &certificates::CERTIFICATE_SIGNING_REQUEST,
    &certificates::CLUSTER_TRUST_BUNDLE,
    &certificates::POD_CERTIFICATE_REQUEST,
    &admission::MUTATING_WEBHOOK_CONFIGURATION,
    &admission::VALIDATING_WEBHOOK_CONFIGURATION,
    &admission::VALIDATING_ADMISSION_POLICY,
    &admission::VALIDATING_ADMISSION_POLICY_BINDING,
    &admission::MUTATING_ADMISSION_POLICY,
    &admission::MUTATING_ADMISSION_POLICY_BINDING,
    &flow_control::FLOW_SCHEMA,
    &flow_control::PRIORITY_LEVEL_CONFIGURATION,
    &resource_claim::RESOURCE_CLAIM,
    &resource_claim::RESOURCE_CLAIM_TEMPLATE,
    &resource_claim::DEVICE_CLASS,
    &resource_claim::RESOURCE_SLICE,
    &resource_claim::DEVICE_TAINT_RULE,
    &extension::CUSTOM_RESOURCE_DEFINITION,
    &extension::API_SERVICE,
];

#[cfg(test)]
pub(crate) mod tests;
