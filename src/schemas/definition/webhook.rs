//! Whether a definition's conversion webhook can be called.
//!
//! Follows upstream's `validateCustomResourceConversion` (`pkg/apis/apiextensions/validation/validation.go`) and
//! `apiserver/pkg/util/webhook/validation.go`.

use base64::Engine as _;
use serde_json::Value;

use super::list;
use crate::faults::Faults;
use crate::place::Place;

/// Versions of ConversionReview that upstream's servers speak.
const REVIEWS: [&str; 2] = ["v1", "v1beta1"];

/// Whether one of a webhook's versions is known here.
pub(super) fn recognizes(versions: &[Value]) -> bool {
    versions.iter().any(|version| version.as_str().is_some_and(|name| REVIEWS.contains(&name)))
}

pub(super) fn check(conversion: &Value, recognized: bool, ca_bundle: bool, place: &Place<'_>, faults: &mut Faults) {
    let strategy = text(&conversion["strategy"]);
    match strategy {
        "" => faults.required(&place.field("strategy"), ""),
        "None" | "Webhook" => {}
        _ => faults.not_supported(&place.field("strategy"), &conversion["strategy"], &["None", "Webhook"]),
    }
    let webhook = &conversion["webhook"];
    let (config, versions) = (&webhook["clientConfig"], list(&webhook["conversionReviewVersions"]));
    let (config_place, versions_place) = (place.field("webhookClientConfig"), place.field("conversionReviewVersions"));
    if strategy != "Webhook" {
        let detail = "should not be set when strategy is not set to Webhook";
        if !config.is_null() {
            faults.forbidden(&config_place, detail);
        }
        if !versions.is_empty() {
            faults.forbidden(&versions_place, detail);
        }
        return;
    }
    if config.is_null() {
        faults.required(&config_place, "required when strategy is set to Webhook");
    } else {
        match (config["url"].as_str(), config["service"].is_object()) {
            (Some(address), false) => url(address, &config_place.field("url"), faults),
            (None, true) => service(&config["service"], &config_place.field("service"), faults),
            _ => faults.required(&config_place, "exactly one of url or service is required"),
        }
        let bundle = text(&config["caBundle"]);
        if let (true, Some(fault)) = (ca_bundle && !bundle.is_empty(), ca_bundle_fault(bundle)) {
            faults.invalid_text(&config_place.field("caBundle"), bundle, fault);
        }
    }
    review_versions(versions, recognized, &versions_place, faults);
}

fn review_versions(versions: &[Value], recognized: bool, place: &Place<'_>, faults: &mut Faults) {
    if versions.is_empty() {
        return faults.required(place, "");
    }
    for (at, version) in versions.iter().enumerate() {
        if versions[..at].contains(version) {
            faults.invalid(&place.index(at), version, "duplicate version");
            continue;
        }
        for wrong in super::dns_1035_label(text(version)) {
            faults.invalid(&place.index(at), version, wrong);
        }
    }
    if recognized && !recognizes(versions) {
        let detail = format!("must include at least one of {}", REVIEWS.join(", "));
        faults.invalid(place, &Value::Array(versions.to_vec()), detail);
    }
}

/// What keeps a bundle from being one of certificates; none when it may be. Whether they verify is for TLS to say.
pub(super) fn ca_bundle_fault(bundle: &str) -> Option<&'static str> {
    const FAULT: &str = "unable to load root certificates: unable to parse bytes as PEM block";
    let Ok(bytes) = base64::engine::general_purpose::STANDARD.decode(bundle) else { return Some(FAULT) };
    let text = String::from_utf8_lossy(&bytes);
    let (begin, end) = (text.find("-----BEGIN CERTIFICATE-----"), text.rfind("-----END CERTIFICATE-----"));
    match (begin, end) {
        (Some(begin), Some(end)) if begin < end => None,
        _ => Some(FAULT),
    }
}

/// The parts of a URL.
pub(super) struct Url<'a> {
    pub(super) scheme: &'a str,
    user: Option<&'a str>,
    pub(super) host: &'a str,
    query: Option<&'a str>,
    fragment: Option<&'a str>,
}

impl<'a> Url<'a> {
    /// Takes an absolute URL apart; `None` for what is none.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        if text.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
            return None;
        }
        let (rest, fragment) = match text.split_once('#') {
            Some((rest, fragment)) => (rest, Some(fragment)),
            None => (text, None),
        };
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (rest, None),
        };
        let (scheme, rest) = match rest.split_once(':') {
            Some((scheme, rest))
                if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) =>
            {
                if !scheme.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
                    return None;
                }
                (scheme, rest)
            }
            _ => ("", rest),
        };
        let authority = rest.strip_prefix("//").map_or("", |rest| rest.split('/').next().unwrap_or_default());
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        Some(Self { scheme, user, host, query, fragment })
    }
}

fn url(text: &str, place: &Place<'_>, faults: &mut Faults) {
    const FORM: &str = "; desired format: https://host[/path]";
    let Some(url) = Url::parse(text) else {
        return faults.required(place, format!("url must be a valid URL: parse {text:?}: invalid character{FORM}"));
    };
    if url.scheme != "https" {
        faults.invalid_text(place, url.scheme, format!("'https' is the only allowed URL scheme{FORM}"));
    }
    if url.host.is_empty() {
        faults.invalid_text(place, url.host, format!("host must be provided{FORM}"));
    }
    for (part, detail) in [
        (url.user, "user information is not permitted in the URL"),
        (url.fragment, "fragments are not permitted in the URL"),
        (url.query, "query parameters are not permitted in the URL"),
    ] {
        if let Some(part) = part.filter(|part| !part.is_empty()) {
            faults.invalid_text(place, part, detail);
        }
    }
}

fn service(service: &Value, place: &Place<'_>, faults: &mut Faults) {
    for (key, detail) in [("name", "service name is required"), ("namespace", "service namespace is required")] {
        if text(&service[key]).is_empty() {
            faults.required(&place.field(key), detail);
        }
    }
    let port = &service["port"];
    if !port.as_i64().is_none_or(|port| (1..=65535).contains(&port)) || !(port.is_null() || port.is_i64()) {
        faults.invalid(&place.field("port"), port, "port is not valid: must be between 1 and 65535, inclusive");
    }
    let Some(path) = service["path"].as_str().filter(|path| !path.is_empty() && *path != "/") else { return };
    let place = place.field("path");
    let Some(inner) = path.strip_prefix('/') else {
        return faults.invalid_text(&place, path, "must start with a '/'");
    };
    for (at, step) in inner.strip_suffix('/').unwrap_or(inner).split('/').enumerate() {
        if step.is_empty() {
            faults.invalid_text(&place, path, format!("segment[{at}] may not be empty"));
            continue;
        }
        for wrong in objects::validation::names::dns_subdomain(step) {
            faults.invalid_text(&place, path, format!("segment[{at}]: {wrong}"));
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
