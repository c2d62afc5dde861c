//! Which form of an answer a client accepts.

use http::HeaderMap;
use http::header::ACCEPT;
use objects::Status;

/// What shape objects are sent in. Always JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As they are.
    Object,
    /// Rows of a table, in this version of `meta.k8s.io`.
    Table(&'static str),
    /// Metadata only.
    Metadata(&'static str),
}

/// The form that a request accepts most.
///
/// # Errors
/// 406 when it accepts nothing that can be made.
pub fn form(headers: &HeaderMap) -> Result<Form, Status> {
    let offers: Vec<&str> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .collect();
    if offers.iter().all(|offer| offer.trim().is_empty()) {
        return Ok(Form::Object);
    }
    let mut ranked: Vec<(f32, Form)> = offers.iter().filter_map(|offer| read(offer)).collect();
    // Stable: among equals the first one named wins.
    ranked.sort_by(|left, right| right.0.total_cmp(&left.0));
    ranked.first().map(|(_, form)| *form).ok_or_else(not_acceptable)
}

/// 406, in upstream's words.
pub fn not_acceptable() -> Status {
    let message = "only the following media types are accepted: application/json";
    Status::new(406, "NotAcceptable", message)
}

fn read(offer: &str) -> Option<(f32, Form)> {
    let mut parts = offer.split(';').map(str::trim);
    let media = parts.next()?.to_ascii_lowercase();
    if !matches!(media.as_str(), "application/json" | "application/*" | "*/*") {
        return None;
    }
    let (mut rank, mut group, mut version, mut shape) = (1.0, "", "", "");
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        match key {
            "q" => rank = value.parse().unwrap_or(0.0),
            "g" => group = value,
            "v" => version = value,
            "as" => shape = value,
            _ => {}
        }
    }
    if rank <= 0.0 {
        return None;
    }
    let version = match version {
        "v1" => "v1",
        "v1beta1" => "v1beta1",
        _ => "",
    };
    match (shape, group, version) {
        ("", ..) => Some((rank, Form::Object)),
        ("Table", "meta.k8s.io", "v1" | "v1beta1") => Some((rank, Form::Table(version))),
        ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", "v1" | "v1beta1") => {
            Some((rank, Form::Metadata(version)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_what_clients_ask_for() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        let rows = [
            ("", Some(Form::Object)),
            ("*/*", Some(Form::Object)),
            ("application/json;stream=watch", Some(Form::Object)),
            (kubectl, Some(Form::Table("v1"))),
            ("application/json;as=Table;v=v1beta1;g=meta.k8s.io", Some(Form::Table("v1beta1"))),
            ("application/json;as=Table;v=v2;g=meta.k8s.io", None),
            ("application/json;as=Nonsense;v=v1;g=meta.k8s.io", None),
            ("application/json;as=Nonsense;v=v1;g=meta.k8s.io, application/json", Some(Form::Object)),
            ("application/vnd.kubernetes.protobuf,application/json", Some(Form::Object)),
            ("application/vnd.kubernetes.protobuf, */*", Some(Form::Object)),
            ("application/vnd.kubernetes.protobuf", None),
            ("text/html", None),
            ("application/json;q=0", None),
            (
                "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1;q=0.5,application/json;q=0.9",
                Some(Form::Object),
            ),
            ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", Some(Form::Metadata("v1"))),
        ];
        for (accept, wanted) in rows {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(form(&headers).ok(), wanted, "{accept}");
        }
        assert_eq!(form(&HeaderMap::new()), Ok(Form::Object));
    }
}
