//! Named formats of text, and what is wrong with a text that does not follow one. The rules of Kubernetes' names are few and
//! short, so they are written out here rather than taken from `objects`, whose messages belong to fields.

use jiff::civil::Date;

use super::{Answer, made, time};
use crate::value::Value;

/// The formats by name.
const FORMATS: [&str; 13] = [
    "dns1123Label",
    "dns1123Subdomain",
    "dns1035Label",
    "dns1123LabelPrefix",
    "dns1123SubdomainPrefix",
    "dns1035LabelPrefix",
    "qualifiedName",
    "labelValue",
    "uri",
    "uuid",
    "byte",
    "date",
    "datetime",
];

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and \
                     end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
                     '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
                         must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
                         '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const OLD_LABEL: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
                         character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
                         validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
                           must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', \
                           regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const NAME: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
                    alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
                    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

pub(super) fn call<'a>(function: &str, args: &[Value<'a>]) -> Answer<'a> {
    Some(Ok(match (function, args) {
        ("format.named", [Value::String(name)]) => {
            let found = FORMATS.into_iter().find(|known| *known == &**name);
            found.map_or(Value::Optional(None), |name| Value::some(Value::Format(name)))
        }
        ("validate", [Value::Format(name), Value::String(text)]) => {
            let faults = faults(name, text);
            if faults.is_empty() {
                Value::Optional(None)
            } else {
                Value::some(made(faults.into_iter().map(Value::from).collect()))
            }
        }
        (function, []) => {
            let name = function.strip_prefix("format.")?;
            Value::Format(FORMATS.into_iter().find(|known| *known == name)?)
        }
        _ => return None,
    }))
}

fn faults(name: &str, text: &str) -> Vec<String> {
    // A prefix may end with a dash: something follows.
    let (name, text) = match name.strip_suffix("Prefix") {
        Some(name) => (name, text.strip_suffix('-').map_or_else(|| text.to_owned(), |bare| format!("{bare}a"))),
        None => (name, text.to_owned()),
    };
    let text = text.as_str();
    let mut faults = Vec::new();
    let mut broken = |is_broken: bool, message: &str| {
        if is_broken {
            faults.push(message.to_owned());
        }
    };
    match name {
        "dns1123Label" => {
            broken(text.len() > 63, "must be no more than 63 characters");
            broken(!is_label(text), LABEL);
        }
        "dns1035Label" => {
            broken(text.len() > 63, "must be no more than 63 characters");
            broken(!is_label(text) || !text.starts_with(|first: char| first.is_ascii_lowercase()), OLD_LABEL);
        }
        "dns1123Subdomain" => {
            broken(text.len() > 253, "must be no more than 253 characters");
            broken(!text.split('.').all(is_label), SUBDOMAIN);
        }
        "labelValue" => {
            broken(text.len() > 63, "must be no more than 63 characters");
            broken(!text.is_empty() && !is_name(text), LABEL_VALUE);
        }
        "qualifiedName" => {
            let name = match text.split_once('/') {
                Some((prefix, name)) => {
                    broken(prefix.is_empty(), "prefix part must be non-empty");
                    broken(!prefix.is_empty() && !prefix.split('.').all(is_label), &format!("prefix part {SUBDOMAIN}"));
                    name
                }
                None => text,
            };
            broken(name.is_empty(), "name part must be non-empty");
            broken(name.len() > 63, "name part must be no more than 63 characters");
            broken(!is_name(name), NAME);
        }
        "uri" => broken(!is_uri(text), "invalid URI"),
        "uuid" => broken(!is_uuid(text), "does not match the UUID format"),
        "byte" => {
            use base64::Engine as _;
            broken(base64::engine::general_purpose::STANDARD.decode(text).is_err(), "invalid base64");
        }
        "date" => broken(text.len() != 10 || text.parse::<Date>().is_err(), "invalid date"),
        "datetime" => broken(time::parse_timestamp(text).is_err(), "invalid datetime"),
        _ => {}
    }
    faults
}

fn is_label(text: &str) -> bool {
    let outer = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = text.as_bytes();
    outer(bytes.first())
        && outer(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
}

fn is_name(text: &str) -> bool {
    let outer = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    outer(bytes.first())
        && outer(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn is_uri(text: &str) -> bool {
    matches!(super::urls::call("isURL", &[Value::from(text.to_owned())]), Some(Ok(Value::Bool(true))))
}

fn is_uuid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    lengths == [8, 4, 4, 4, 12] && text.split('-').all(hex)
}
