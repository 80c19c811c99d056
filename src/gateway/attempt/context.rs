//! One attempt: a call to one target with one key, under its deadlines.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::call::Call;
use crate::gateway::Provider;
use crate::route::Target;

/// One attempt.
#[derive(Clone, Copy)]
pub(super) struct AttemptContext<'t> {
    pub(super) call: &'t Call<'t>,
    pub(super) target: Target<'t>,
    /// The index of the key in the target's provider.
    pub(super) key: usize,
    pub(super) deadlines: Deadlines,
    /// Our id of the caller's request.
    pub(super) request_id: &'t str,
}

/// The deadlines of one attempt.
#[derive(Clone, Copy)]
pub(super) struct Deadlines {
    /// The start of the attempt.
    pub(super) began: Instant,
    /// For a connection to be established.
    pub(super) connect: Duration,
    /// For the response head, and for the first event of a stream.
    pub(super) first_byte: Instant,
    /// Between two chunks.
    pub(super) idle: Duration,
    /// For the whole response.
    pub(super) total: Instant,
}

impl Deadlines {
    /// Returns when the next chunk, or a short body, must have arrived.
    pub(super) fn next_chunk(&self) -> Instant {
        (Instant::now() + self.idle).min(self.total)
    }
}

impl<'t> AttemptContext<'t> {
    pub(super) fn provider(&self) -> &'t Provider {
        &self.call.gateway.providers[self.target.provider]
    }

    pub(super) fn provider_name(&self) -> String {
        self.call.gateway.config.providers[self.target.provider].name.to_string()
    }

    /// Cuts the key out of an error body.
    pub(super) fn redact(&self, body: Bytes) -> Bytes {
        self.provider().upstream.redact(self.key, body)
    }
}
