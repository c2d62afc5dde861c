//! Who holds which address and which port of the nodes: one object each, so that no two transactions can give one away twice.
//!
//! An address's record is an IPAddress, as upstream's since 1.33. A node port's record is an object of a resource of our own
//! that the API does not serve: upstream keeps a bitmap there, which every allocation would have to rewrite.

use std::net::IpAddr;
use std::sync::LazyLock;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{Error, Key, Kind, Object, Resource, canonical, kind, lifecycle, time};

/// Where the records of addresses lie.
pub const ADDRESSES: &str = "ipaddresses.networking.k8s.io";
/// Where the records of node ports lie. A group without a dot can be no custom resource's.
pub const NODE_PORTS: &str = "nodeports.barque";
/// Where the ranges lie that addresses come from.
pub const RANGES: &str = "servicecidrs.networking.k8s.io";
/// Name of the range that every cluster has.
pub const DEFAULT_RANGE: &str = "kubernetes";

const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
const ALLOCATOR: &str = "ipallocator.k8s.io";
const FAMILY: &str = "ipaddress.kubernetes.io/ip-family";

static NODE_PORT: LazyLock<Kind> = LazyLock::new(|| Kind::undeclared("barque", "v1", "NodePort", "nodeports", false));

/// A Service, as a record names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Holder {
    /// The Service of a key.
    pub fn of(key: &Key) -> Self {
        Self { namespace: key.namespace.to_string(), name: key.name.to_string() }
    }

    /// The Service that a record names; `None` when it names something else.
    pub fn named_by(record: &Value) -> Option<Self> {
        let parent = &record["spec"]["parentRef"];
        let text = |field: &str| parent[field].as_str().unwrap_or("").to_owned();
        let ours = parent["resource"] == "services" && text("group").is_empty();
        ours.then(|| Self { namespace: text("namespace"), name: text("name") })
    }

    /// Its key.
    pub fn key(&self) -> Key {
        Key::new("services", &self.namespace, &self.name)
    }

    fn reference(&self) -> Value {
        json!({"resource": "services", "namespace": self.namespace, "name": self.name})
    }
}

/// What a Service can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Good {
    /// An address.
    Address(IpAddr),
    /// A port of every node, whatever the protocol.
    Port(u16),
}

impl Good {
    /// Where its record lies.
    pub fn key(&self) -> Key {
        match self {
            Self::Address(address) => Key::new(ADDRESSES, "", &address.to_string()),
            Self::Port(port) => Key::new(NODE_PORTS, "", &port.to_string()),
        }
    }

    /// What a record is about, by its key.
    pub fn of(key: &Key) -> Option<Self> {
        match key.resource.as_str() {
            ADDRESSES => key.name.parse().ok().map(Self::Address),
            NODE_PORTS => key.name.parse().ok().map(Self::Port),
            _ => None,
        }
    }

    /// A new record that names a holder.
    ///
    /// # Errors
    /// [`Error`] when it is no valid object, which it always is.
    pub fn record(&self, holder: &Holder, uid: &str, now: Timestamp) -> Result<Object, Error> {
        let (kind, mut record): (&Kind, Value) = match self {
            Self::Address(address) => {
                let family = super::Family::of(*address).as_str();
                let kind = kind::by_resource(&Resource::from(ADDRESSES)).ok_or(Error::Missing("the kind IPAddress"))?;
                let labels = json!({MANAGED_BY: ALLOCATOR, FAMILY: family});
                (kind, json!({"metadata": {"name": address.to_string(), "labels": labels}}))
            }
            Self::Port(port) => (&NODE_PORT, json!({"metadata": {"name": port.to_string()}})),
        };
        record["apiVersion"] = json!(kind.api_version());
        record["kind"] = json!(kind.kind);
        record["spec"] = json!({"parentRef": holder.reference()});
        let refused = |status: crate::Status| Error::Malformed(status.message);
        lifecycle::prepare_create(kind, &mut record, uid, &time::format(now), "").map_err(refused)?;
        if matches!(self, Self::Address(_)) {
            canonical::canonicalize(kind, &mut record).map_err(refused)?;
        }
        Object::new(kind, &record)
    }
}

/// Whether a record of an address was made here, and not by somebody who keeps the address for a purpose of their own.
pub fn is_ours(key: &Key, face: &crate::Face) -> bool {
    key.resource.as_str() == NODE_PORTS || face.label(MANAGED_BY) == Some(ALLOCATOR)
}
