//! The request of one attempt, the same for every key.

use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::wire::api::Operation;
use crate::wire::api::resources::Stored;
use crate::wire::api::routes::Address;
use crate::wire::inspect::model::Peek;

/// The request of one attempt, the same for every key.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// The requested operation or object.
    pub kind: RequestKind<'a>,
    /// The provider's model, before `deployments` maps it.
    pub model: &'a str,
    /// The caller's query string.
    pub query: Option<&'a str>,
    /// The caller's headers.
    pub headers: &'a HeaderMap,
    /// The caller's body.
    pub body: &'a Bytes,
    /// The id of an answer that the echo provider makes.
    pub id: &'a str,
    /// Unix time in seconds, for an answer that the echo provider makes.
    pub now: u64,
}

/// The requested operation or object.
#[derive(Clone, Copy, Debug)]
pub enum RequestKind<'a> {
    /// An answer of a model.
    Operation {
        /// Parsed from the caller's path.
        address: &'a Address<'a>,
        /// Found in the body.
        peek: &'a Peek<'a>,
    },
    /// An object that the provider stores.
    StoredObject {
        /// With the provider's own `id`.
        object: &'a Stored<'a>,
        /// The caller's method.
        method: &'a Method,
    },
}

impl RequestKind<'_> {
    /// Returns the operation of the request.
    pub fn operation(&self) -> Operation {
        match self {
            RequestKind::Operation { address, .. } => address.operation,
            RequestKind::StoredObject { object, .. } => object.operation,
        }
    }

    /// Returns true if the request asks for a stream.
    pub fn streams(&self) -> bool {
        match self {
            RequestKind::Operation { address, peek } => peek.stream || address.operation.streams(),
            RequestKind::StoredObject { .. } => false,
        }
    }
}
