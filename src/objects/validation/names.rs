//! The grammars of names: objects, labels, annotations, ports, environment variables, images.
//!
//! Each function lists what is wrong, in upstream's words (`apimachinery/pkg/util/validation/validation.go`); an empty
//! list means the name is good.

/// Length of a DNS label.
pub const LABEL_MAX: usize = 63;
/// Length of a DNS subdomain, hence of most object names.
pub const SUBDOMAIN_MAX: usize = 253;

/// A lower-case RFC 1123 label: namespaces, containers, volumes.
pub fn dns_label(name: &str) -> Vec<String> {
    let mut faults = length(name, LABEL_MAX);
    if !is_dns_label(name) {
        faults.push(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an \
             alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
             '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
                .into(),
        );
    }
    faults
}

/// A lower-case RFC 1123 subdomain: most objects.
pub fn dns_subdomain(name: &str) -> Vec<String> {
    let mut faults = length(name, SUBDOMAIN_MAX);
    if !is_dns_subdomain(name) {
        faults.push(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end \
             with an alphanumeric character (e.g. 'example.com', regex used for validation is \
             '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
                .into(),
        );
    }
    faults
}

/// A label that starts with a letter, as services are named: their names become host names.
pub fn dns_1035_label(name: &str) -> Vec<String> {
    let mut faults = length(name, LABEL_MAX);
    if !is_dns_label(name) || !name.starts_with(|letter: char| letter.is_ascii_lowercase()) {
        faults.push(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and \
             end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is \
             '[a-z]([-a-z0-9]*[a-z0-9])?')"
                .into(),
        );
    }
    faults
}

/// A subdomain, or one below `*.`.
pub fn wildcard_subdomain(name: &str) -> Vec<String> {
    let Some(rest) = name.strip_prefix("*.") else { return dns_subdomain(name) };
    let mut faults = length(name, SUBDOMAIN_MAX);
    if !is_dns_subdomain(rest) {
        faults.push(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower \
             case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used \
             for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
                .into(),
        );
    }
    faults
}

/// Whatever can stand between two slashes of a path: roles and their bindings.
pub fn path_segment(name: &str) -> Vec<String> {
    if matches!(name, "." | "..") {
        return vec![format!("may not be '{name}'")];
    }
    let held = ["/", "%"].into_iter().filter(|illegal| name.contains(illegal));
    held.map(|illegal| format!("may not contain '{illegal}'")).collect()
}

/// A name after which suffixes are put, as pods' names after a cron job's: it leaves them room.
pub fn at_most_52(name: &str) -> Vec<String> {
    let mut faults = dns_subdomain(name);
    if name.len() > 52 {
        faults.push("must be no more than 52 characters".into());
    }
    faults
}

/// The key of a label with a prefix, as names of domains and signers are.
pub fn prefixed(name: &str) -> Vec<String> {
    if name.contains('/') {
        label_key(name)
    } else {
        vec!["should be a domain-prefixed path (such as \"acme.io/foo\")".into()]
    }
}

/// A qualified name, as label keys, annotation keys and extended resources are: an optional DNS prefix, `/`, a name.
pub fn label_key(key: &str) -> Vec<String> {
    const NAME: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
                        character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
                        '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    let mut faults = Vec::new();
    let name = match key.split('/').collect::<Vec<_>>().as_slice() {
        [name] => *name,
        [prefix, name] => {
            if prefix.is_empty() {
                faults.push("prefix part must be non-empty".to_owned());
            } else {
                faults.extend(dns_subdomain(prefix).into_iter().map(|fault| format!("prefix part {fault}")));
            }
            *name
        }
        _ => {
            return vec![format!(
                "a qualified name {NAME} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        faults.push("name part must be non-empty".into());
    } else if name.len() > LABEL_MAX {
        faults.push(format!("name part must be no more than {LABEL_MAX} bytes"));
    }
    if !is_qualified(name) {
        faults.push(format!("name part {NAME}"));
    }
    faults
}

/// The value of a label; may be empty.
pub fn label_value(value: &str) -> Vec<String> {
    let mut faults = length(value, LABEL_MAX);
    if !value.is_empty() && !is_qualified(value) {
        faults.push(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end \
             with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
             '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
                .into(),
        );
    }
    faults
}

/// A key of a ConfigMap or a Secret, which becomes a file name.
pub fn config_key(key: &str) -> Vec<String> {
    let mut faults = length(key, SUBDOMAIN_MAX);
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
        faults.push(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or \
             'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
                .into(),
        );
    }
    match key {
        "." => faults.push("must not be '.'".into()),
        ".." => faults.push("must not be '..'".into()),
        _ if key.starts_with("..") => faults.push("must not start with '..'".into()),
        _ => {}
    }
    faults
}

/// The name of an environment variable: any printable ASCII but `=`.
pub fn env_name(name: &str) -> Vec<String> {
    if !name.is_empty() && name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=') {
        return Vec::new();
    }
    vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".into()]
}

/// The name of a port: an IANA service name.
pub fn port_name(name: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if name.len() > 15 {
        faults.push("must be no more than 15 bytes".to_owned());
    }
    let bytes = name.as_bytes();
    if !bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-') || bytes.is_empty()
    {
        faults.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into());
    }
    if !bytes.iter().any(u8::is_ascii_lowercase) {
        faults.push("must contain at least one letter (a-z)".into());
    }
    if name.contains("--") {
        faults.push("must not contain consecutive hyphens".into());
    }
    if name.starts_with('-') || name.ends_with('-') {
        faults.push("must not begin or end with a hyphen".into());
    }
    faults
}

/// Whether a name is a lower-case RFC 1123 label, its length aside.
pub fn is_dns_label(name: &str) -> bool {
    let bytes = name.as_bytes();
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
}

fn is_dns_subdomain(name: &str) -> bool {
    name.split('.').all(is_dns_label)
}

fn is_qualified(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

fn length(text: &str, most: usize) -> Vec<String> {
    if text.len() > most { vec![format!("must be no more than {most} bytes")] } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rule = fn(&str) -> Vec<String>;

    #[test]
    fn bad_names_are_told_why() {
        let long = "a".repeat(254);
        let rows: &[(Rule, &str, usize)] = &[
            (dns_label, "", 1),
            (dns_label, "A", 1),
            (dns_label, "-a", 1),
            (dns_label, "a-", 1),
            (dns_label, "a.b", 1),
            (dns_label, "a_b", 1),
            (dns_label, &long[..64], 1),
            (dns_label, "ä", 1),
            (dns_label, "a\n", 1),
            (dns_subdomain, "", 1),
            (dns_subdomain, "a..b", 1),
            (dns_subdomain, ".a", 1),
            (dns_subdomain, "a.", 1),
            (dns_subdomain, &long, 1),
            (dns_subdomain, "a/b", 1),
            (dns_1035_label, "", 1),
            (dns_1035_label, "1a", 1),
            (dns_1035_label, "a.b", 1),
            (wildcard_subdomain, "*", 1),
            (wildcard_subdomain, "a.*", 1),
            (wildcard_subdomain, "*.*", 1),
            (path_segment, "..", 1),
            (path_segment, "a/b%c", 2),
            (at_most_52, &long[..53], 1),
            (prefixed, "a", 1),
            (label_key, "", 2),
            (label_key, "/a", 1),
            (label_key, "a/", 2),
            (label_key, "a/b/c", 1),
            (label_key, "A/b", 1),
            (label_key, "a b", 1),
            (label_key, &long[..64], 1),
            (label_value, "-", 1),
            (label_value, "a b", 1),
            (label_value, &long[..64], 1),
            (config_key, "", 1),
            (config_key, "a/b", 1),
            (config_key, ".", 1),
            (config_key, "..", 1),
            (config_key, "..a", 1),
            (config_key, &long, 1),
            (env_name, "", 1),
            (env_name, "a=b", 1),
            (env_name, "ä", 1),
            (port_name, "", 2),
            (port_name, "1", 1),
            (port_name, "a--b", 1),
            (port_name, "-a", 1),
            (port_name, "A", 2),
            (port_name, "aaaaaaaaaaaaaaaa", 1),
        ];
        for (rule, name, faults) in rows {
            assert_eq!(rule(name).len(), *faults, "{name}: {:?}", rule(name));
        }
    }

    #[test]
    fn good_names_pass() {
        let rows: &[(Rule, &[&str])] = &[
            (dns_label, &["a", "0", "a-b", "a--b"]),
            (dns_subdomain, &["a", "a.b", "kube-root-ca.crt"]),
            (dns_1035_label, &["a", "a-1"]),
            (wildcard_subdomain, &["a.b", "*.a.b"]),
            (path_segment, &["a", "system:node", "A b"]),
            (at_most_52, &["a.b"]),
            (prefixed, &["example.com/a"]),
            (label_key, &["a", "A", "a_b.c-d", "example.com/a", "node-role.kubernetes.io/control-plane"]),
            (label_value, &["", "a", "A_b.c-1"]),
            (config_key, &["a", ".a", "A_b-c.d", "a..b"]),
            (env_name, &["A", "a b", "a.b-c", "1"]),
            (port_name, &["http", "a-1", "1a"]),
        ];
        for (rule, names) in rows {
            for name in *names {
                assert_eq!(rule(name), Vec::<String>::new(), "{name}");
            }
        }
    }
}
