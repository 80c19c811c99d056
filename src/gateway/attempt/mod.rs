//! Attempts: a request is sent with one key after another until a response begins. Nothing reaches the caller
//! before that. Each file uses only those before it in this list:
//!
//! ```text
//! call.rs         a parsed request
//! context.rs      one attempt: target, key, deadlines
//! failed.rs       a failed attempt: its class, and the response that is left for the caller
//! read.rs         reads first events, error bodies and whole bodies
//! translated.rs   the request and the response in another format than the caller's
//! send.rs         sends one request, until its response has begun
//! batch.rs        embeddings and token counts that take several requests
//! queue.rs        waits for a concurrency permit where only one key or client will do
//! try_key.rs      one attempt with one key, and what it means for the key
//! affinity.rs     the key that a request prefers: its conversation, session or signatures
//! history.rs      the attempts of a request so far
//! first_token.rs  `first_token`: a slow attempt makes way for another one
//! run.rs          the attempt loop
//! ```

mod affinity;
mod batch;
mod call;
mod context;
mod failed;
mod first_token;
mod history;
mod queue;
mod read;
mod run;
mod send;
#[cfg(test)]
mod tests;
mod translated;
mod try_key;

pub(super) use self::call::{Call, DecodedRequest};
pub(super) use self::failed::FailedAttempt;
pub(super) use self::queue::acquire;
pub(super) use self::run::AttemptLoop;
pub(super) use self::try_key::with_key;
