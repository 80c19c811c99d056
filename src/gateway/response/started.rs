//! A provider's response whose head, and for a stream whose first event, has arrived.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode, header};
use tokio::time::Instant;

use super::passage::Passage;
use super::refusal::status_of;
use crate::upstream::ResponseBody;
use crate::wire::api::{Framing, Operation};
use crate::wire::failure::class::{Class, Failure};
use crate::wire::failure::convert;
use crate::wire::inspect::observer::StreamError;

/// The error name of AWS, which its SDKs turn into an exception.
pub(crate) const AMZN_ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// A response that has begun. Nothing of it has reached the caller yet.
pub(crate) struct StartedResponse {
    pub(crate) response: Response<ResponseBody>,
    /// The bytes of its body that were read already.
    pub(crate) early: Vec<Bytes>,
    /// Has observed `early`.
    pub(crate) passage: Passage,
    /// True if the body is or was translated. Its ids then mean nothing to the provider's API of stored objects.
    pub(crate) is_translated: bool,
    /// The longest pause between two chunks.
    pub(crate) idle: Duration,
    /// The deadline of the whole response.
    pub(crate) deadline: Instant,
}

impl StartedResponse {
    /// Observes and keeps bytes that are read before the response is forwarded.
    pub(crate) fn keep(&mut self, bytes: Bytes) {
        self.passage.observe(&bytes);
        self.early.push(bytes);
    }

    /// Sets the content type of a framing.
    pub(crate) fn set_content_type(&mut self, framing: Framing) {
        let media = match framing {
            Framing::Whole | Framing::Array => "application/json",
            Framing::Events => "text/event-stream; charset=utf-8",
            Framing::Aws => "application/vnd.amazon.eventstream",
        };
        let headers = self.response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
        headers.remove(CONTENT_LENGTH);
    }

    /// Replaces the body.
    pub(crate) fn with_body(mut self, operation: Operation, framing: Framing, body: Bytes) -> Self {
        self.response.headers_mut().remove(CONTENT_LENGTH);
        self.response = self.response.map(|_| ResponseBody::Buffered(vec![body].into_iter()));
        self.early.clear();
        self.passage = Passage::verbatim(operation, framing);
        self
    }

    /// Replaces status and body by an error in the caller's format.
    pub(crate) fn with_error(mut self, operation: Operation, error: convert::Error) -> Self {
        let convert::Error { status, body, kind } = error;
        *self.response.status_mut() =
            StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        let headers = self.response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.remove(AMZN_ERROR_TYPE);
        if let Some(kind) = kind {
            headers.insert(AMZN_ERROR_TYPE, HeaderValue::from_static(kind));
        }
        self.with_body(operation, Framing::Whole, body.into())
    }

    /// Replaces the head of a stream by that of the error that the provider sent within it.
    pub(crate) fn with_error_head(mut self, error: &StreamError, failure: Failure) -> Self {
        let Failure { class, retry_after } = failure;
        self.set_failure_status(class);
        let headers = self.response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(Ok(kind)) = error.kind.as_deref().map(HeaderValue::from_str) {
            headers.insert(AMZN_ERROR_TYPE, kind);
        }
        if let Some(wait) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        self
    }

    /// Sets the status of a failure that the provider reported without one.
    pub(crate) fn set_failure_status(&mut self, class: Class) {
        *self.response.status_mut() = status_of(class);
    }
}
