//! Everything that keymux says itself, and the only place that chooses a status code.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde_json::json;

use super::relay::Body;
use crate::config::NotFound;
use crate::observe::access::End;
use crate::provider::Kind;
use crate::route::Refused;
use crate::upstream::Broken;
use crate::upstream::aws::verify::Why;
use crate::wire::batch;
use crate::wire::failure::Class;
use crate::wire::listen::Told;
use crate::wire::peek::PeekError;
use crate::wire::{Api, Operation};

/// Our own id of the request, on every answer.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The same, where the provider's own id has taken `x-request-id`.
pub(super) const KEYMUX_REQUEST_ID: HeaderName = HeaderName::from_static("x-keymux-request-id");
/// The provider that answered.
pub(super) const PROVIDER: HeaderName = HeaderName::from_static("x-keymux-provider");
/// The name of its key.
pub(super) const KEY: HeaderName = HeaderName::from_static("x-keymux-key");
/// How many attempts it took.
pub(super) const ATTEMPTS: HeaderName = HeaderName::from_static("x-keymux-attempts");
/// Read by the official SDKs: whether they should try again.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

const AMZN_ERROR: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// Why keymux does not pass on a provider's answer.
#[derive(Debug)]
pub(super) enum Refusal {
    /// No such address.
    Path(String),
    /// The address is there, with another method.
    Method(&'static str),
    /// HTTP/1.1 asks for exactly one `host`.
    Host,
    /// More than one header says where the body ends.
    FramedTwice,
    /// What came is no HTTP.
    NotHttp,
    /// The head is larger than this many bytes, or has more lines.
    LargeHead {
        /// Bytes.
        size: usize,
        /// Lines.
        lines: usize,
    },
    /// The target of the request is longer than any address here.
    LongTarget,
    /// The caller showed no key.
    NoKey,
    /// The caller's key is nobody's.
    UnknownKey,
    /// The access key of a signature is nobody's.
    UnknownSigner,
    /// A signature is not that of the request, or cannot be.
    Signature(Why),
    /// The body is larger than `server.max_body`.
    TooLarge(usize),
    /// The body came too slowly.
    SlowBody,
    /// The body is not framed as it says.
    BrokenBody,
    /// The caller left before its body was whole.
    Gone,
    /// The bodies of other requests take all the memory there is for bodies.
    Crowded,
    /// The program stops before the request is answered.
    Stopping,
    /// A mistake in this program.
    Fault,
    /// `content-encoding` other than identity.
    Compressed,
    /// The body is not what its content type says.
    Malformed(PeekError),
    /// The body names no model.
    NoModel,
    /// No provider for the model.
    NotFound(NotFound),
    /// The client may not have the model.
    MayNot(Refused, String),
    /// There are providers, but no key of theirs is open to this caller and model.
    NoKeyOpen(String),
    /// The providers for the model do not have the operation in the form it is asked in.
    OtherApi {
        /// The last of them.
        provider: String,
        /// Its kind.
        kind: Kind,
        /// What was asked for.
        operation: Operation,
    },
    /// An id that no key of this gateway has given out to this client.
    NotKept(String),
    /// The ids in a request belong to different keys, or to another provider than its model.
    OtherKey,
    /// No key with `use_for_batch_api` is open to this client and to what it asks for.
    NoBatchKey,
    /// More than one provider could keep this; two of them.
    Unclear(String, String),
    /// A list would tell of what other clients have left.
    NoList,
    /// A batch that cannot be routed.
    Batch(batch::Fault),
    /// No attempt was answered.
    Unanswered {
        /// The provider tried last.
        provider: String,
        /// What went wrong there.
        broken: Broken,
    },
    /// The provider failed within a stream that had not begun.
    Failed {
        /// The provider tried last.
        provider: String,
        /// What kind of failure.
        class: Class,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
}

impl Refusal {
    /// How a request ends with it.
    pub(super) fn end(&self) -> End {
        match self {
            Refusal::Gone => End::CallerGone,
            Refusal::Stopping => End::Stopped,
            _ => End::Refused,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Refusal::Path(_)
            | Refusal::NotFound(_)
            | Refusal::MayNot(..)
            | Refusal::NoKeyOpen(_)
            | Refusal::OtherApi { .. }
            | Refusal::NotKept(_)
            | Refusal::NoBatchKey
            | Refusal::Unanswered { broken: Broken::Name, .. } => StatusCode::NOT_FOUND,
            Refusal::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::NoKey | Refusal::UnknownKey => StatusCode::UNAUTHORIZED,
            Refusal::UnknownSigner | Refusal::Signature(_) | Refusal::NoList => {
                StatusCode::FORBIDDEN
            }
            Refusal::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Refusal::Compressed => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refusal::LargeHead { .. } => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Refusal::LongTarget => StatusCode::URI_TOO_LONG,
            Refusal::Fault => StatusCode::INTERNAL_SERVER_ERROR,
            Refusal::Host
            | Refusal::FramedTwice
            | Refusal::NotHttp
            | Refusal::BrokenBody
            | Refusal::Gone
            | Refusal::Malformed(_)
            | Refusal::NoModel
            | Refusal::OtherKey
            | Refusal::Unclear(..)
            | Refusal::Batch(_) => StatusCode::BAD_REQUEST,
            Refusal::Crowded | Refusal::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Unanswered { broken: Broken::Silent, .. } => StatusCode::GATEWAY_TIMEOUT,
            Refusal::Unanswered { .. } => StatusCode::BAD_GATEWAY,
            Refusal::Failed { class, .. } => status_of(*class),
        }
    }

    /// OpenAI's `type` and `code`.
    fn type_and_code(&self) -> (&'static str, &'static str) {
        match self {
            Refusal::Path(_) => ("invalid_request_error", "unknown_url"),
            Refusal::Method(_) => ("invalid_request_error", "method_not_supported"),
            Refusal::NoKey => ("invalid_request_error", "missing_api_key"),
            Refusal::UnknownKey | Refusal::UnknownSigner | Refusal::Signature(_) => {
                ("invalid_request_error", "invalid_api_key")
            }
            Refusal::TooLarge(_) => ("invalid_request_error", "request_too_large"),
            Refusal::SlowBody => ("invalid_request_error", "request_timeout"),
            Refusal::Compressed => ("invalid_request_error", "unsupported_media_type"),
            Refusal::NotKept(_) => ("invalid_request_error", "not_found"),
            Refusal::NoBatchKey | Refusal::NoList => ("invalid_request_error", "not_available"),
            Refusal::LargeHead { .. } => ("invalid_request_error", "headers_too_large"),
            Refusal::LongTarget => ("invalid_request_error", "url_too_long"),
            Refusal::Crowded => ("server_error", "overloaded"),
            Refusal::Stopping => ("server_error", "stopping"),
            Refusal::Fault => ("server_error", "internal_error"),
            Refusal::Host
            | Refusal::FramedTwice
            | Refusal::NotHttp
            | Refusal::BrokenBody
            | Refusal::Gone
            | Refusal::Malformed(_)
            | Refusal::OtherKey
            | Refusal::Unclear(..)
            | Refusal::Batch(_) => ("invalid_request_error", "invalid_request"),
            Refusal::NoModel => ("invalid_request_error", "missing_required_parameter"),
            Refusal::NotFound(_)
            | Refusal::MayNot(..)
            | Refusal::NoKeyOpen(_)
            | Refusal::OtherApi { .. } => ("invalid_request_error", "model_not_found"),
            Refusal::Unanswered { broken: Broken::Silent, .. } => {
                ("upstream_error", "upstream_timeout")
            }
            Refusal::Unanswered { .. } => ("upstream_error", "upstream_unavailable"),
            Refusal::Failed { .. } => ("upstream_error", "upstream_error"),
        }
    }

    fn param(&self) -> Option<&'static str> {
        match self {
            Refusal::NoModel
            | Refusal::NotFound(_)
            | Refusal::MayNot(..)
            | Refusal::NoKeyOpen(_)
            | Refusal::OtherApi { .. } => Some("model"),
            Refusal::Malformed(error) => error.param(),
            _ => None,
        }
    }

    #[expect(clippy::too_many_lines, reason = "a table: the words of each")]
    fn message(&self) -> Cow<'static, str> {
        match self {
            Refusal::Path(path) => format!(
                "There is nothing at {path}. keymux serves the OpenAI API under /v1, for example \
                 POST /v1/chat/completions and GET /v1/models."
            )
            .into(),
            Refusal::Method(allowed) => format!("This address takes {allowed}.").into(),
            Refusal::Host => "An HTTP/1.1 request needs exactly one Host header.".into(),
            Refusal::NoKey => {
                "No API key. Send a client's key as `Authorization: Bearer KEY`.".into()
            }
            Refusal::UnknownKey => "This API key belongs to no client of this gateway.".into(),
            Refusal::UnknownSigner => {
                "The access key of this signature belongs to no client of this gateway.".into()
            }
            Refusal::Signature(why) => why.words().into(),
            Refusal::TooLarge(limit) => {
                format!("The body is larger than the {limit} bytes that server.max_body allows.")
                    .into()
            }
            Refusal::SlowBody => "The request body did not arrive in time.".into(),
            Refusal::BrokenBody => "The request body is not framed as its head says.".into(),
            Refusal::Gone => "The request body broke off.".into(),
            Refusal::FramedTwice => "A request says once where its body ends: with one \
                                     Content-Length, or with Transfer-Encoding."
                .into(),
            Refusal::NotHttp => "This is no HTTP request that can be read.".into(),
            Refusal::LargeHead { size, lines } => {
                format!("The head of a request may have {size} bytes and {lines} lines.").into()
            }
            Refusal::LongTarget => "The target of the request is too long.".into(),
            Refusal::Crowded => {
                "Large request bodies take all the memory there is for them; try again.".into()
            }
            Refusal::Stopping => {
                "The gateway is stopping and has no answer to this request yet; send it again.".into()
            }
            Refusal::Fault => "The gateway failed on this request; its log says where.".into(),
            Refusal::Compressed => "Send the body uncompressed (no Content-Encoding).".into(),
            Refusal::Malformed(error) => error.to_string().into(),
            Refusal::NoModel => "The body names no `model`.".into(),
            Refusal::NotFound(tried) => tried.to_string().into(),
            Refusal::MayNot(Refused::NotListed, model) => {
                format!("The model `{model}` is not among the models this client may ask for.")
                    .into()
            }
            Refusal::MayNot(Refused::Blacklisted, model) => {
                format!("The model `{model}` is among those this client may not ask for.").into()
            }
            Refusal::NoKeyOpen(model) => format!(
                "No key for the model `{model}` is open to this client (see `keymux explain`)."
            )
            .into(),
            Refusal::OtherApi { provider, kind, operation } => format!(
                "The provider `{provider}` (kind {kind}) does not take {} in the form of the {} API.",
                operation.name(),
                operation.api().name(),
            )
            .into(),
            Refusal::NotKept(id) => {
                let shown: String = id.chars().take(100).flat_map(char::escape_debug).collect();
                format!("There is nothing of the id `{shown}`.").into()
            }
            Refusal::OtherKey => "The ids in this request belong to different keys of this \
                                  gateway, or to another provider than its model."
                .into(),
            Refusal::NoBatchKey => "No key with `use_for_batch_api` is open to this client for \
                                    what it asks."
                .into(),
            Refusal::Unclear(a, b) => format!(
                "The providers `{a}` and `{b}` could both take this, and nothing in it says which."
            )
            .into(),
            Refusal::NoList => "There is no list: it would tell of what other clients have left. \
                                Ask for each by its id."
                .into(),
            Refusal::Batch(fault) => format!("Request {}: {}", fault.request, fault.what).into(),
            Refusal::Unanswered { provider, broken } => {
                format!("The provider `{provider}` {}.", broken.words()).into()
            }
            Refusal::Failed { provider, class, .. } => format!(
                "The provider `{provider}` failed before its answer began ({}).",
                class.name()
            )
            .into(),
        }
    }
}

/// The status for a failure that a provider told without one.
fn status_of(class: Class) -> StatusCode {
    match class {
        Class::Caller | Class::ContextTooLong => StatusCode::BAD_REQUEST,
        Class::Throttled | Class::NoCredit => StatusCode::TOO_MANY_REQUESTS,
        Class::BadCredential | Class::NoAccess | Class::Trouble => StatusCode::BAD_GATEWAY,
    }
}

/// Turns the head of a stream into that of an error which the provider told within it.
pub(super) fn as_error<B>(
    mut head: Response<B>,
    told: &Told,
    class: Class,
    retry_after: Option<Duration>,
) -> Response<B> {
    *head.status_mut() = status_of(class);
    head.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(Ok(kind)) = told.kind.as_deref().map(HeaderValue::from_str) {
        head.headers_mut().insert(AMZN_ERROR, kind);
    }
    if let Some(span) = retry_after {
        head.headers_mut().insert(RETRY_AFTER, HeaderValue::from(span.as_secs().max(1)));
    }
    head
}

/// The answer to a request that keymux does not pass on, in the caller's own shape of errors.
pub(super) fn refuse(refusal: &Refusal, api: Api, id: &str) -> Response<Body> {
    let status = refusal.status();
    let mut response = json_response(status, &body(refusal, status, api, id));
    let headers = response.headers_mut();
    if api == Api::Bedrock {
        // What AWS SDKs make an exception of.
        headers.insert(AMZN_ERROR, HeaderValue::from_static(amzn_error(refusal, status)));
    }
    match refusal {
        Refusal::Method(allowed) => {
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        Refusal::Failed { retry_after: Some(span), .. } => {
            headers.insert(RETRY_AFTER, HeaderValue::from(span.as_secs().max(1)));
        }
        // What follows may be a body or a request.
        Refusal::FramedTwice => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Refusal::Crowded | Refusal::Stopping => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        Refusal::NoKey | Refusal::UnknownKey | Refusal::UnknownSigner | Refusal::Signature(_) => {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        _ => {}
    }
    response
}

/// The body of [`refuse`].
pub(super) fn words(refusal: &Refusal, api: Api, id: &str) -> String {
    body(refusal, refusal.status(), api, id).to_string()
}

/// The errors of the Bedrock runtime.
/// <https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html>
fn amzn_error(refusal: &Refusal, status: StatusCode) -> &'static str {
    match refusal {
        Refusal::UnknownSigner => return "UnrecognizedClientException",
        Refusal::Signature(Why::Form) => return "IncompleteSignatureException",
        Refusal::Signature(_) => return "InvalidSignatureException",
        _ => {}
    }
    match status.as_u16() {
        401 | 403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        408 | 504 => "ModelTimeoutException",
        429 => "ThrottlingException",
        400..=499 => "ValidationException",
        502 | 503 => "ServiceUnavailableException",
        _ => "InternalServerException",
    }
}

fn body(refusal: &Refusal, status: StatusCode, api: Api, id: &str) -> serde_json::Value {
    let message = refusal.message();
    match api {
        Api::OpenAi => {
            let (kind, code) = refusal.type_and_code();
            json!({"error": {"message": message, "type": kind, "param": refusal.param(), "code": code}})
        }
        Api::Anthropic => {
            let kind = match status.as_u16() {
                401 => "authentication_error",
                403 => "permission_error",
                404 => "not_found_error",
                413 => "request_too_large",
                429 => "rate_limit_error",
                400..=499 => "invalid_request_error",
                _ => "api_error",
            };
            json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": id})
        }
        // <https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html>
        Api::Bedrock => json!({"message": message}),
        Api::Cohere => json!({"id": id, "message": message}),
        // RFC 9457.
        Api::Replicate => {
            let title = status.canonical_reason().unwrap_or_default();
            json!({"title": title, "detail": message, "status": status.as_u16()})
        }
        Api::Gemini => {
            let name = match status.as_u16() {
                401 => "UNAUTHENTICATED",
                403 => "PERMISSION_DENIED",
                404 => "NOT_FOUND",
                429 => "RESOURCE_EXHAUSTED",
                400..=499 => "INVALID_ARGUMENT",
                502 | 503 => "UNAVAILABLE",
                504 => "DEADLINE_EXCEEDED",
                _ => "INTERNAL",
            };
            json!({"error": {"code": status.as_u16(), "message": message, "status": name}})
        }
    }
}

/// A JSON answer of our own.
pub(super) fn json_response(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::whole(Bytes::from(value.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Headers of a provider's answer that stay here: what belongs to the connection, also by the provider's
/// own word (RFC 9110, section 7.6.1), and what speaks for the provider's host and not for this one.
pub(super) fn left_out(headers: &HeaderMap) -> Vec<HeaderName> {
    let named = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named = named.flat_map(|list| list.split(',')).filter_map(|name| name.trim().parse().ok());
    // The body's length is our own matter and not the provider's to take away.
    let named = named.filter(|name| *name != CONTENT_LENGTH && *name != CONTENT_TYPE);
    headers.keys().filter(|name| stays_here(name)).cloned().chain(named).collect()
}

fn stays_here(name: &HeaderName) -> bool {
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

/// Names the request in an answer: our id, beside the provider's own if it has one.
pub(super) fn name_request(headers: &mut HeaderMap, id: &str) {
    let Ok(id) = HeaderValue::from_str(id) else { return };
    if !headers.contains_key(REQUEST_ID) {
        headers.insert(REQUEST_ID, id.clone());
    }
    headers.insert(KEYMUX_REQUEST_ID, id);
}
