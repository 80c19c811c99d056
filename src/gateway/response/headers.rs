//! Response headers that keymux sets, and those of a provider that it does not forward.

use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::gateway::Gateway;
use crate::gateway::record::Record;

/// Our id of the request, on every response.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The same id, for responses on which `x-request-id` is the provider's.
pub(crate) const KEYMUX_REQUEST_ID: HeaderName = HeaderName::from_static("x-keymux-request-id");
/// The number of attempts.
pub(super) const ATTEMPTS: HeaderName = HeaderName::from_static("x-keymux-attempts");
/// The provider that answered.
const PROVIDER: HeaderName = HeaderName::from_static("x-keymux-provider");
/// The name of its key.
const KEY: HeaderName = HeaderName::from_static("x-keymux-key");
/// Settings of the request that the provider's format does not support.
const DROPPED: HeaderName = HeaderName::from_static("x-keymux-dropped");

/// The longest value of [`DROPPED`].
const DROPPED_LENGTH: usize = 1024;

/// Sets our request id, beside the provider's if it sent one.
pub(crate) fn set_request_id(headers: &mut HeaderMap, id: &str) {
    let Ok(id) = HeaderValue::from_str(id) else { return };
    if !headers.contains_key(REQUEST_ID) {
        headers.insert(REQUEST_ID, id.clone());
    }
    headers.insert(KEYMUX_REQUEST_ID, id);
}

/// Sets provider, key and number of attempts, if there was an attempt.
pub(crate) fn set_attempts(headers: &mut HeaderMap, gateway: &Gateway, record: &Record) {
    let Some(last) = record.last_key else { return };
    let (provider, key) = gateway.providers[last.provider].header_names[last.key].clone();
    headers.insert(PROVIDER, provider);
    headers.insert(KEY, key);
    if !record.dropped.is_empty()
        && let Ok(names) = HeaderValue::from_str(&dropped_list(&record.dropped))
    {
        headers.insert(DROPPED, names);
    }
    let attempts = match record.attempts {
        1 => HeaderValue::from_static("1"),
        many => HeaderValue::from(many),
    };
    headers.insert(ATTEMPTS, attempts);
}

/// Joins the names. Characters that a header cannot carry are escaped, and a long list is cut.
fn dropped_list(names: &[String]) -> String {
    let mut list = String::new();
    for name in names {
        let name = name.escape_default().to_string();
        if list.len() + name.len() > DROPPED_LENGTH {
            list.push_str(", ...");
            break;
        }
        if !list.is_empty() {
            list.push_str(", ");
        }
        list.push_str(&name);
    }
    list
}

/// Removes the headers of a provider's response that are not forwarded: hop-by-hop headers, also those that
/// `connection` names (RFC 9110, section 7.6.1), and headers that apply to the provider's host only.
pub(crate) fn remove_unforwarded(headers: &mut HeaderMap) {
    let named = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named = named.flat_map(|list| list.split(',')).filter_map(|name| name.trim().parse().ok());
    // The provider must not remove the headers that describe the body.
    let named = named.filter(|name| *name != CONTENT_LENGTH && *name != CONTENT_TYPE);
    let fixed = headers.keys().filter(|name| is_unforwarded(name)).cloned();
    let unforwarded: Vec<HeaderName> = fixed.chain(named).collect();
    for name in unforwarded {
        headers.remove(name);
    }
}

fn is_unforwarded(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "alt-svc"
            | "set-cookie"
            | "server"
            | "strict-transport-security"
            | "nel"
            | "report-to"
    )
}
