//! Why keymux answers itself: the status and the words of each reason.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::config::ModelNotFound;
use crate::gateway::attempt::AllResting;
use crate::observe::access::End;
use crate::provider::Kind;
use crate::route::ModelDenied;
use crate::upstream::Broken;
use crate::upstream::aws::verify::Why;
use crate::wire::failure::Class;
use crate::wire::fields::Rejected;
use crate::wire::peek::PeekError;
use crate::wire::{Operation, batch, counting};

/// Why keymux does not pass on a provider's answer.
#[derive(Debug)]
pub(in crate::gateway) enum Refusal {
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
    NotFound(ModelNotFound),
    /// The client may not have the model.
    MayNot(ModelDenied, String),
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
    /// The request cannot be read, or cannot be put to a provider of another format.
    Unsaid(Rejected),
    /// The client has as many requests under way as it may.
    ClientBusy {
        /// Its name.
        client: Arc<str>,
        /// How many it may have.
        limit: u32,
    },
    /// Every key that could serve is left alone for now.
    Resting(AllResting),
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
    pub(in crate::gateway) fn end(&self) -> End {
        match self {
            Refusal::Gone => End::CallerGone,
            Refusal::Stopping => End::Stopped,
            _ => End::Refused,
        }
    }

    pub(super) fn status(&self) -> StatusCode {
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
            | Refusal::Batch(_)
            | Refusal::Unsaid(_) => StatusCode::BAD_REQUEST,
            Refusal::ClientBusy { .. } => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Resting(all) if all.is_limit() => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Resting(_) | Refusal::Crowded | Refusal::Stopping => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Refusal::Unanswered { broken: Broken::Silent, .. } => StatusCode::GATEWAY_TIMEOUT,
            Refusal::Unanswered { .. } => StatusCode::BAD_GATEWAY,
            Refusal::Failed { class, .. } => status_of(*class),
        }
    }

    /// OpenAI's `type` and `code`.
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
            | Refusal::Batch(_)
            | Refusal::Unsaid(_) => ("invalid_request_error", "invalid_request"),
            Refusal::NoModel => ("invalid_request_error", "missing_required_parameter"),
            Refusal::NotFound(_)
            | Refusal::MayNot(..)
            | Refusal::NoKeyOpen(_)
            | Refusal::OtherApi { .. } => ("invalid_request_error", "model_not_found"),
            Refusal::Unanswered { broken: Broken::Silent, .. } => {
                ("upstream_error", "upstream_timeout")
            }
            Refusal::ClientBusy { .. } => ("rate_limit_error", "rate_limit_exceeded"),
            Refusal::Resting(all) if all.is_limit() => ("rate_limit_error", "rate_limit_exceeded"),
            Refusal::Resting(_) | Refusal::Unanswered { .. } => {
                ("upstream_error", "upstream_unavailable")
            }
            Refusal::Failed { .. } => ("upstream_error", "upstream_error"),
        }
    }

    pub(super) fn param(&self) -> Option<&str> {
        match self {
            Refusal::NoModel
            | Refusal::NotFound(_)
            | Refusal::MayNot(..)
            | Refusal::NoKeyOpen(_)
            | Refusal::OtherApi { .. } => Some("model"),
            Refusal::Malformed(error) => error.param(),
            Refusal::Unsaid(rejected) => {
                Some(&rejected.at).filter(|at| !at.is_empty()).map(|at| &**at)
            }
            _ => None,
        }
    }

    #[expect(clippy::too_many_lines, reason = "a table: the words of each")]
    pub(in crate::gateway) fn message(&self) -> Cow<'static, str> {
        match self {
            Refusal::Path(path) => format!(
                "There is nothing at {path}. Each API is at its own paths, for example \
                 POST /v1/chat/completions, POST /v1/messages, \
                 POST /v1beta/models/MODEL:generateContent and GET /v1/models."
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
                "The gateway is stopping and has no answer to this request yet; send it again."
                    .into()
            }
            Refusal::Fault => "The gateway failed on this request; its log says where.".into(),
            Refusal::Compressed => "Send the body uncompressed (no Content-Encoding).".into(),
            Refusal::Malformed(error) => error.to_string().into(),
            Refusal::NoModel => "The body names no `model`.".into(),
            Refusal::NotFound(tried) => tried.to_string().into(),
            Refusal::MayNot(refused, model) => {
                let how = match refused {
                    ModelDenied::NotListed => "not among the models this client may ask for",
                    ModelDenied::Blacklisted => "among those this client may not ask for",
                };
                format!("The model `{model}` is {how}.").into()
            }
            Refusal::NoKeyOpen(model) => format!(
                "No key for the model `{model}` is open to this client (see `keymux explain`)."
            )
            .into(),
            Refusal::OtherApi { provider, kind, operation } => {
                let to = format!("The provider `{provider}` (kind {kind})");
                match operation {
                    Operation::Completions => format!(
                        "{to} answers chats and no bare prompts, and the one is not made into the \
                         other: ask at /v1/chat/completions."
                    ),
                    Operation::Embeddings => {
                        format!(
                            "{to} makes no embeddings with this model, as far as is known here."
                        )
                    }
                    _ if counting::asked_in(*operation).is_some() => {
                        format!("{to} has no way to count tokens for this model.")
                    }
                    _ => format!(
                        "{to} does not take {} in the form of the {} API.",
                        operation.name(),
                        operation.api().name(),
                    ),
                }
                .into()
            }
            Refusal::NotKept(id) => format!("There is nothing of the id `{}`.", shown(id)).into(),
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
            Refusal::Unsaid(rejected) => rejected.to_string().into(),
            Refusal::ClientBusy { client, limit } => format!(
                "The client `{client}` has {limit} requests under way, as many as its \
                 max_concurrent allows; try again."
            )
            .into(),
            Refusal::Resting(all) => all.message().into(),
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

/// As much of an id as a message repeats.
fn shown(id: &str) -> String {
    id.chars().take(100).flat_map(char::escape_debug).collect()
}

/// The status for a failure that a provider told without one.
pub(in crate::gateway) fn status_of(class: Class) -> StatusCode {
    match class {
        Class::Caller | Class::ContextTooLong => StatusCode::BAD_REQUEST,
        Class::Throttled | Class::NoCredit => StatusCode::TOO_MANY_REQUESTS,
        Class::BadCredential | Class::NoAccess | Class::Trouble => StatusCode::BAD_GATEWAY,
    }
}
