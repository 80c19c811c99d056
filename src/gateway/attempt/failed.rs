//! A failed attempt.

use bytes::Bytes;

use super::call::Call;
use super::context::AttemptContext;
use crate::gateway::response::AllCoolingDown;
use crate::gateway::response::refusal::Refusal;
use crate::gateway::response::started::StartedResponse;
use crate::keys::KeyState;
use crate::route::Target;
use crate::upstream::UpstreamError;
use crate::wire::api::{Framing, Operation};
use crate::wire::failure::class::{Class, Failure};

/// The response that is left for the caller when no attempt succeeds: the provider's own error, or a refusal.
pub(super) type FailureResponse = Result<Box<StartedResponse>, Refusal>;

/// A failed attempt: its class decides the next step, the response is for the caller.
pub(crate) struct FailedAttempt {
    pub(super) failure: Failure,
    pub(super) response: FailureResponse,
    /// True if the provider sent nothing until the deadline.
    pub(super) is_silent: bool,
}

impl FailedAttempt {
    /// Returns true if another key may succeed.
    pub(crate) fn another_key_may_help(&self) -> bool {
        self.failure.class.another_key_may_help()
    }

    /// Returns the response that is left for the caller.
    pub(crate) fn into_response(self) -> Result<StartedResponse, Refusal> {
        self.response.map(|started| *started)
    }

    /// An attempt that ended with an error response for the caller.
    pub(super) fn with_response(failure: Failure, started: StartedResponse) -> Self {
        Self { failure, response: Ok(Box::new(started)), is_silent: false }
    }

    /// Nothing was sent, because the key is at a limit or cooling down.
    pub(super) fn over_limit(
        call: &Call<'_>,
        target: Target<'_>,
        key: usize,
        state: KeyState,
    ) -> Self {
        let keys = vec![(call.key_name(target, key), state)];
        let cooling = AllCoolingDown { model: target.model.to_owned(), keys };
        Self {
            failure: Failure { class: Class::Throttled, retry_after: None },
            response: Err(Refusal::CoolingDown(cooling)),
            is_silent: false,
        }
    }

    /// A whole response that is an error in spite of its status. The caller gets it with the right status.
    pub(super) fn in_response(
        mut started: StartedResponse,
        operation: Operation,
        body: Bytes,
        failure: Failure,
    ) -> Self {
        started.set_failure_status(failure.class);
        Self::with_response(failure, started.with_body(operation, Framing::Whole, body))
    }

    /// No response arrived.
    pub(super) fn no_response(attempt: AttemptContext<'_>, error: UpstreamError) -> Self {
        let class = match error {
            UpstreamError::InvalidModelName => Class::Caller,
            UpstreamError::CredentialRefused => Class::BadCredential,
            UpstreamError::Connect
            | UpstreamError::ConnectionLost
            | UpstreamError::StaleConnection
            | UpstreamError::Timeout
            | UpstreamError::NoToken => Class::Trouble,
        };
        let deadlines = attempt.deadlines;
        let is_silent = match error {
            UpstreamError::Timeout => true,
            // After the whole timeout the connection was not even refused.
            UpstreamError::Connect => deadlines.began.elapsed() >= deadlines.connect,
            _ => false,
        };
        let refusal = Refusal::NoResponse { provider: attempt.provider_name(), error };
        let failure = Failure { class, retry_after: None };
        Self { failure, response: Err(refusal), is_silent }
    }

    /// The provider failed without an error that the caller could get.
    pub(super) fn without_error(attempt: AttemptContext<'_>, failure: Failure) -> Self {
        let Failure { class, retry_after } = failure;
        let refusal = Refusal::Failed { provider: attempt.provider_name(), class, retry_after };
        Self { failure, response: Err(refusal), is_silent: false }
    }

    /// The response cannot be parsed.
    pub(super) fn unparsable(attempt: AttemptContext<'_>) -> Self {
        Self::without_error(attempt, Failure { class: Class::Trouble, retry_after: None })
    }
}
