//! What an encoder of answers needs that does not come from the provider.

use std::sync::Arc;

use crate::wire::api::Framing;
use crate::wire::ir::Echo;

/// What an answer is to show that does not come from the provider.
#[derive(Clone, Debug, PartialEq)]
pub struct ResponseContext {
    /// Our id of the request: the seed of the ids that the caller's format needs and the provider's lacks.
    pub id: String,
    /// Unix time in seconds, likewise.
    pub created: u64,
    /// The model as the caller asked for it.
    pub model: String,
    /// Whether a stream tells its usage.
    pub usage: bool,
    /// How a stream is framed.
    pub framing: Framing,
    /// What it repeats of the request: `Request::echo`.
    pub echo: Option<Arc<Echo>>,
}
