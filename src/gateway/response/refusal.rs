//! Every reason for which keymux answers a request itself: the status, the code and the message of each.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::cooling_down::AllCoolingDown;
use crate::config::ModelNotFound;
use crate::observe::access::End;
use crate::provider::Kind;
use crate::route::ModelDenied;
use crate::upstream::UpstreamError;
use crate::upstream::aws::caller_signature::SignatureError;
use crate::wire::api::Operation;
use crate::wire::failure::class::Class;
use crate::wire::inspect::batch;
use crate::wire::inspect::model::PeekError;
use crate::wire::json::fields::Rejected;
use crate::wire::token_count;

/// Why keymux does not forward a provider's response.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// No API has this path.
    Path(String),
    /// The path exists, but not for this method. Contains the allowed methods.
    Method(&'static str),
    /// An HTTP/1.1 request without exactly one `host`.
    Host,
    /// More than one header delimits the body.
    FramedTwice,
    /// The bytes are no HTTP request.
    NotHttp,
    /// The head is too large.
    LargeHead {
        /// The limit in bytes.
        bytes: usize,
        /// The limit in header lines.
        lines: usize,
    },
    /// The request target is longer than any path of an API.
    LongTarget,
    /// The request has no API key.
    NoKey,
    /// The API key belongs to no enabled client.
    UnknownKey,
    /// The access key of a signature belongs to no enabled client.
    UnknownSigner,
    /// The request's AWS signature is malformed or does not match.
    Signature(SignatureError),
    /// The body is larger than `server.max_body`.
    TooLarge(usize),
    /// The body did not arrive within `server.body_timeout`.
    SlowBody,
    /// The framing of the body is invalid.
    BrokenBody,
    /// The caller disconnected before the whole body had arrived.
    Gone,
    /// Large bodies of other requests use all the memory that is reserved for bodies.
    BodyMemoryFull,
    /// The program stops before the request is answered.
    Stopping,
    /// A bug in keymux.
    Bug,
    /// `content-encoding` other than identity.
    Compressed,
    /// The body does not match its content type.
    Malformed(PeekError),
    /// The body has no model.
    NoModel,
    /// No provider has the model.
    NotFound(ModelNotFound),
    /// The client may not use the model.
    ModelNotAllowed(ModelDenied, String),
    /// No key of the providers allows this client and model.
    NoKeyForClient(String),
    /// No provider of the model supports the operation in the caller's format.
    UnsupportedOperation {
        /// The last of the providers.
        provider: String,
        /// Its kind.
        kind: Kind,
        /// The requested operation.
        operation: Operation,
    },
    /// No key of this gateway has issued this id to this client.
    UnknownObject(String),
    /// The ids in a request belong to different keys, or to another provider than its model.
    MixedKeys,
    /// No key with `use_for_batch_api` allows this client and request.
    NoBatchKey,
    /// Two of the providers that could store the object.
    AmbiguousProvider(String, String),
    /// A list would contain the objects of other clients.
    NoList,
    /// A batch that cannot be routed.
    Batch(batch::Fault),
    /// The request is invalid, or the provider's format cannot express it.
    Untranslatable(Rejected),
    /// The client has reached its `max_concurrent`.
    ClientBusy {
        /// Its name.
        client: Arc<str>,
        /// Its `max_concurrent`.
        limit: u32,
    },
    /// Every key that could serve is cooling down or at a limit.
    CoolingDown(AllCoolingDown),
    /// The last attempt got no response.
    NoResponse {
        /// The provider of the last attempt.
        provider: String,
        /// RequestKind failed.
        error: UpstreamError,
    },
    /// The provider failed before its response began.
    Failed {
        /// The provider of the last attempt.
        provider: String,
        /// The class of the failure.
        class: Class,
        /// The wait that the provider requests.
        retry_after: Option<Duration>,
    },
}

impl Refusal {
    /// Returns how the access line reports the end of the request.
    pub(crate) fn end(&self) -> End {
        match self {
            Refusal::Gone => End::CallerGone,
            Refusal::Stopping => End::Stopped,
            _ => End::Refused,
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Refusal::Path(_)
            | Refusal::NotFound(_)
            | Refusal::ModelNotAllowed(..)
            | Refusal::NoKeyForClient(_)
            | Refusal::UnsupportedOperation { .. }
            | Refusal::UnknownObject(_)
            | Refusal::NoBatchKey
            | Refusal::NoResponse { error: UpstreamError::InvalidModelName, .. } => {
                StatusCode::NOT_FOUND
            }
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
            Refusal::Bug => StatusCode::INTERNAL_SERVER_ERROR,
            Refusal::Host
            | Refusal::FramedTwice
            | Refusal::NotHttp
            | Refusal::BrokenBody
            | Refusal::Gone
            | Refusal::Malformed(_)
            | Refusal::NoModel
            | Refusal::MixedKeys
            | Refusal::AmbiguousProvider(..)
            | Refusal::Batch(_)
            | Refusal::Untranslatable(_) => StatusCode::BAD_REQUEST,
            Refusal::ClientBusy { .. } => StatusCode::TOO_MANY_REQUESTS,
            Refusal::CoolingDown(all) if all.is_limit() => StatusCode::TOO_MANY_REQUESTS,
            Refusal::CoolingDown(_) | Refusal::BodyMemoryFull | Refusal::Stopping => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Refusal::NoResponse { error: UpstreamError::Timeout, .. } => {
                StatusCode::GATEWAY_TIMEOUT
            }
            Refusal::NoResponse { .. } => StatusCode::BAD_GATEWAY,
            Refusal::Failed { class, .. } => status_of(*class),
        }
    }

    /// Returns OpenAI's `type` and `code`.
    pub(super) fn type_and_code(&self) -> (&'static str, &'static str) {
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
            Refusal::UnknownObject(_) => ("invalid_request_error", "not_found"),
            Refusal::NoBatchKey | Refusal::NoList => ("invalid_request_error", "not_available"),
            Refusal::LargeHead { .. } => ("invalid_request_error", "headers_too_large"),
            Refusal::LongTarget => ("invalid_request_error", "url_too_long"),
            Refusal::BodyMemoryFull => ("server_error", "overloaded"),
            Refusal::Stopping => ("server_error", "stopping"),
            Refusal::Bug => ("server_error", "internal_error"),
            Refusal::Host
            | Refusal::FramedTwice
            | Refusal::NotHttp
            | Refusal::BrokenBody
            | Refusal::Gone
            | Refusal::Malformed(_)
            | Refusal::MixedKeys
            | Refusal::AmbiguousProvider(..)
            | Refusal::Batch(_)
            | Refusal::Untranslatable(_) => ("invalid_request_error", "invalid_request"),
            Refusal::NoModel => ("invalid_request_error", "missing_required_parameter"),
            Refusal::NotFound(_)
            | Refusal::ModelNotAllowed(..)
            | Refusal::NoKeyForClient(_)
            | Refusal::UnsupportedOperation { .. } => ("invalid_request_error", "model_not_found"),
            Refusal::NoResponse { error: UpstreamError::Timeout, .. } => {
                ("upstream_error", "upstream_timeout")
            }
            Refusal::ClientBusy { .. } => ("rate_limit_error", "rate_limit_exceeded"),
            Refusal::CoolingDown(all) if all.is_limit() => {
                ("rate_limit_error", "rate_limit_exceeded")
            }
            Refusal::CoolingDown(_) | Refusal::NoResponse { .. } => {
                ("upstream_error", "upstream_unavailable")
            }
            Refusal::Failed { .. } => ("upstream_error", "upstream_error"),
        }
    }

    /// Returns OpenAI's `param`.
    pub(super) fn param(&self) -> Option<&str> {
        match self {
            Refusal::NoModel
            | Refusal::NotFound(_)
            | Refusal::ModelNotAllowed(..)
            | Refusal::NoKeyForClient(_)
            | Refusal::UnsupportedOperation { .. } => Some("model"),
            Refusal::Malformed(error) => error.param(),
            Refusal::Untranslatable(rejected) => {
                Some(&rejected.at).filter(|at| !at.is_empty()).map(|at| &**at)
            }
            _ => None,
        }
    }

    #[expect(clippy::too_many_lines, reason = "a table: one message per reason")]
    pub(crate) fn message(&self) -> Cow<'static, str> {
        match self {
            Refusal::Path(path) => format!(
                "Unknown path {path}. Each API has its own paths, for example \
                 POST /v1/chat/completions, POST /v1/messages, \
                 POST /v1beta/models/MODEL:generateContent and GET /v1/models."
            )
            .into(),
            Refusal::Method(allowed) => format!("This path allows {allowed} only.").into(),
            Refusal::Host => "An HTTP/1.1 request needs exactly one Host header.".into(),
            Refusal::NoKey => {
                "No API key. Send the client's key as `Authorization: Bearer KEY`.".into()
            }
            Refusal::UnknownKey => "This API key belongs to no client of this gateway.".into(),
            Refusal::UnknownSigner => {
                "The access key of this signature belongs to no client of this gateway.".into()
            }
            Refusal::Signature(why) => why.message().into(),
            Refusal::TooLarge(limit) => {
                format!("The body is larger than the {limit} bytes that server.max_body allows.")
                    .into()
            }
            Refusal::SlowBody => "The request body did not arrive in time.".into(),
            Refusal::BrokenBody => "The request body does not match the framing headers.".into(),
            Refusal::Gone => "The request body ended early.".into(),
            Refusal::FramedTwice => "The request delimits its body twice. Send one \
                                     Content-Length or Transfer-Encoding, not both."
                .into(),
            Refusal::NotHttp => "Malformed HTTP request.".into(),
            Refusal::LargeHead { bytes, lines } => {
                format!("The request head exceeds {bytes} bytes or {lines} header lines.").into()
            }
            Refusal::LongTarget => "The request target is too long.".into(),
            Refusal::BodyMemoryFull => {
                "Other large request bodies use all memory reserved for bodies; try again.".into()
            }
            Refusal::Stopping => {
                "The gateway is stopping and has not answered this request; send it again.".into()
            }
            Refusal::Bug => {
                "The gateway failed on this request; its log contains the location.".into()
            }
            Refusal::Compressed => "Send the body uncompressed (no Content-Encoding).".into(),
            Refusal::Malformed(error) => error.to_string().into(),
            Refusal::NoModel => "The body has no `model`.".into(),
            Refusal::NotFound(tried) => tried.to_string().into(),
            Refusal::ModelNotAllowed(refused, model) => match refused {
                ModelDenied::NotListed => {
                    format!("The model `{model}` is not in this client's `models`.")
                }
                ModelDenied::Blacklisted => {
                    format!("The model `{model}` is in this client's `blacklisted_models`.")
                }
            }
            .into(),
            Refusal::NoKeyForClient(model) => format!(
                "No key for the model `{model}` is available to this client (see `keymux explain`)."
            )
            .into(),
            Refusal::UnsupportedOperation { provider, kind, operation } => {
                let provider = format!("The provider `{provider}` (kind {kind})");
                match operation {
                    Operation::Completions => format!(
                        "{provider} supports chats only, and keymux does not turn a prompt into a \
                         chat: use /v1/chat/completions."
                    ),
                    Operation::Embeddings => {
                        format!("{provider} has no known embeddings for this model.")
                    }
                    _ if token_count::conversation_format(*operation).is_some() => {
                        format!("{provider} cannot count tokens for this model.")
                    }
                    _ => format!(
                        "{provider} does not support {} in the format of the {} API.",
                        operation.name(),
                        operation.api().name(),
                    ),
                }
                .into()
            }
            Refusal::UnknownObject(id) => format!("No object with id `{}`.", shorten(id)).into(),
            Refusal::MixedKeys => "The ids in this request belong to different keys of this \
                                   gateway, or to another provider than its model."
                .into(),
            Refusal::NoBatchKey => "No key with `use_for_batch_api` is available to this client \
                                    for this request."
                .into(),
            Refusal::AmbiguousProvider(a, b) => format!(
                "The providers `{a}` and `{b}` both support this, and the request selects neither."
            )
            .into(),
            Refusal::NoList => "Lists are not available: they would contain the objects of other \
                                clients. Request each object by its id."
                .into(),
            Refusal::Batch(fault) => format!("Request {}: {}", fault.request, fault.what).into(),
            Refusal::Untranslatable(rejected) => rejected.to_string().into(),
            Refusal::ClientBusy { client, limit } => format!(
                "The client `{client}` has {limit} requests in flight, the limit of its \
                 max_concurrent; try again."
            )
            .into(),
            Refusal::CoolingDown(all) => all.message().into(),
            Refusal::NoResponse { provider, error } => {
                format!("The provider `{provider}` {}.", error.message()).into()
            }
            Refusal::Failed { provider, class, .. } => format!(
                "The provider `{provider}` failed before its response began ({}).",
                class.name()
            )
            .into(),
        }
    }
}

/// Returns the part of an id that a message repeats.
fn shorten(id: &str) -> String {
    id.chars().take(100).flat_map(char::escape_debug).collect()
}

/// Returns the status for a failure that a provider reported without one.
pub(crate) fn status_of(class: Class) -> StatusCode {
    match class {
        Class::Caller | Class::ContextTooLong => StatusCode::BAD_REQUEST,
        Class::Throttled | Class::NoCredit => StatusCode::TOO_MANY_REQUESTS,
        Class::BadCredential | Class::NoAccess | Class::Trouble => StatusCode::BAD_GATEWAY,
    }
}
