//! The response to a caller: a provider's response on its way through, or an error of our own. Each file uses
//! only those before it in this list:
//!
//! ```text
//! cooling_down.rs        why no key can serve now, and when to retry
//! refusal.rs             every reason to refuse a request: status, code, message
//! headers.rs             headers that keymux sets or removes
//! passage.rs             reads a provider's response: verbatim, or translated
//! started.rs             a provider's response whose head has arrived
//! id_signer.rs           signs the ids of stored objects in a response
//! signature_recorder.rs  records which key made a reasoning signature
//! relay.rs               forwards a provider's response chunk by chunk
//! rescue.rs              holds a stream until it is complete, and replaces a broken one
//! body.rs                the response body that hyper polls
//! error_response.rs      an error in the caller's format
//! ```

pub(super) mod body;
mod cooling_down;
pub(super) mod error_response;
pub(super) mod headers;
pub(super) mod id_signer;
pub(super) mod passage;
pub(super) mod refusal;
pub(super) mod relay;
pub(super) mod rescue;
pub(super) mod signature_recorder;
pub(super) mod started;

pub(super) use cooling_down::AllCoolingDown;
