//! A note, and the Event object it becomes: pure.

use jiff::Timestamp;
use objects::{Key, time};
use serde_json::{Value, json};
use state::Stored;

/// Length of an event's message in bytes: upstream's validation allows 1024.
const MESSAGE_MAX: usize = 1024;
/// Length of the name of an event before its hash; the whole stays below the 253 of a DNS subdomain.
const NAME_MAX: usize = 230;

/// The object that a note is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Regarding {
    /// API version of the object, as `apps/v1`.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace; empty for cluster-scoped kinds, whose events lie in `default`.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

impl Regarding {
    /// The object behind `stored`.
    pub fn of(stored: &Stored) -> Self {
        let kind = objects::kind::by_resource(&stored.key.resource);
        Self {
            api_version: kind.map(|kind| kind.api_version()).unwrap_or_default(),
            kind: kind.map(|kind| kind.kind.clone()).unwrap_or_default(),
            namespace: stored.key.namespace.to_string(),
            name: stored.key.name.to_string(),
            uid: stored.face().uid.to_string(),
        }
    }
}

/// Something that happened to an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Note {
    /// Which object.
    pub regarding: Regarding,
    /// Whether people should worry (`Warning` instead of `Normal`).
    pub warning: bool,
    /// Why, as one word in camel case.
    pub reason: String,
    /// What happened, for people.
    pub message: String,
    /// Who says so, as `deployment-controller`.
    pub component: &'static str,
}

impl Note {
    /// Where the note's event lies. Equal notes share an event, which then counts them.
    pub fn key(&self) -> Key {
        let regarding = &self.regarding;
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let kind = if self.warning { "Warning" } else { "Normal" };
        for part in
            [&*regarding.uid, &*regarding.name, &*regarding.kind, &*self.reason, &*self.message, self.component, kind]
        {
            // FNV-1a; the zero byte keeps "ab","c" apart from "a","bc".
            for byte in part.bytes().chain([0]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
        let name = cut(&regarding.name, NAME_MAX);
        Key::new("events", self.namespace(), &format!("{name}.{hash:016x}"))
    }

    /// The namespace of the note's event.
    pub fn namespace(&self) -> &str {
        if self.regarding.namespace.is_empty() { "default" } else { &self.regarding.namespace }
    }

    /// The event after the note was made `times` more, last at `now`; `known` is the event as it stands. `uid` is for a new
    /// event.
    pub fn event(&self, known: Option<&Value>, times: i64, now: Timestamp, uid: &str) -> Value {
        let at = time::format(now);
        if let Some(known) = known {
            let mut event = known.clone();
            let before = event["count"].as_i64().unwrap_or(1);
            event["count"] = json!(before.saturating_add(times).min(i64::from(i32::MAX)));
            event["lastTimestamp"] = json!(at);
            return event;
        }
        let regarding = &self.regarding;
        let key = self.key();
        json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": &*key.name, "namespace": &*key.namespace, "uid": uid, "creationTimestamp": at},
            "involvedObject": {
                "apiVersion": regarding.api_version,
                "kind": regarding.kind,
                "namespace": regarding.namespace,
                "name": regarding.name,
                "uid": regarding.uid,
            },
            "type": if self.warning { "Warning" } else { "Normal" },
            "reason": self.reason,
            "message": cut(&self.message, MESSAGE_MAX),
            "source": {"component": self.component},
            "reportingComponent": self.component,
            "reportingInstance": "",
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": times,
        })
    }
}

/// The longest head of `text` with at most `max` bytes that ends at a character.
fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn note(name: &str, message: &str) -> Note {
        let regarding = Regarding {
            api_version: "v1".into(),
            kind: "Pod".into(),
            namespace: "default".into(),
            name: name.into(),
            uid: format!("uid-{name}"),
        };
        Note { regarding, warning: true, reason: "FailedScheduling".into(), message: message.into(), component: "test" }
    }

    #[test]
    fn equal_notes_share_an_event_and_are_counted() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let first = note("a", "m").event(None, 1, now, "u");
        assert_eq!((&first["count"], &first["type"]), (&json!(1), &json!("Warning")));
        let later = Timestamp::from_second(1_800_000_060).unwrap();
        let second = note("a", "m").event(Some(&first), 2, later, "other");
        assert_eq!(second["count"], 3);
        assert_eq!(second["firstTimestamp"], first["firstTimestamp"]);
        assert_eq!(second["lastTimestamp"], "2027-01-15T08:01:00Z");
        assert_eq!(second["metadata"], first["metadata"]);
        assert_ne!(note("a", "m").key(), note("a", "n").key());
        assert_ne!(note("a", "m").key(), note("b", "m").key());
    }

    #[test]
    fn long_names_and_messages_are_cut_at_characters() {
        let long = note(&"ä".repeat(200), &"ö".repeat(2000));
        let event = long.event(None, 1, Timestamp::UNIX_EPOCH, "u");
        assert!(event["message"].as_str().unwrap().len() <= MESSAGE_MAX);
        assert!(long.key().name.len() <= 253);
    }
}
