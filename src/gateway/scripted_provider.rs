//! Scripts that answer in place of providers in tests, with a paused clock.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::upstream::{Attempt, ResponseBody, UpstreamError};

/// RequestKind a provider does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// Sends a whole response.
    Respond(u16, Vec<(&'static str, String)>, Value),
    /// Begins a stream and breaks it off.
    Cut,
    /// Sends no response, for this reason.
    Fail(UpstreamError),
    /// Sends nothing.
    Stall,
    /// Does the other action after that time.
    After(Duration, Box<Action>),
}

/// A request as a provider received it.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) provider: String,
    pub(crate) key: String,
    pub(crate) model: String,
    /// The id of the caller's request.
    pub(crate) request: String,
    pub(crate) at: Instant,
    /// The status of the response (0 for none), and its `retry-after`. `None`: there is none yet, or the caller has
    /// disconnected.
    pub(crate) response: Option<(u16, Option<Duration>)>,
    /// When the request ended, in whatever way.
    pub(crate) ended: Option<Instant>,
}

pub(crate) type Play = dyn Fn(&Received) -> Action + Send + Sync;

/// Answers in place of one provider.
#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) provider: String,
    pub(crate) keys: Vec<String>,
    pub(crate) play: Arc<Play>,
    pub(crate) received: Arc<Mutex<Vec<Received>>>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

impl Script {
    pub(crate) async fn play(
        &self,
        key: usize,
        attempt: &Attempt<'_>,
    ) -> Result<Response<ResponseBody>, UpstreamError> {
        let received = Received {
            provider: self.provider.clone(),
            key: self.keys[key].clone(),
            model: attempt.model.to_owned(),
            request: attempt.id.to_owned(),
            at: Instant::now(),
            response: None,
            ended: None,
        };
        let mut entry = Entry::new(&self.received, received.clone());
        let mut action = (self.play)(&received);
        loop {
            action = match action {
                Action::After(span, then) => {
                    sleep(span).await;
                    *then
                }
                Action::Respond(status, headers, body) => {
                    let hint = headers.iter().find(|(name, _)| *name == "retry-after-ms");
                    let hint = hint.and_then(|(_, millis)| millis.parse().ok());
                    entry.set_response(status, hint.map(Duration::from_millis));
                    return Ok(response(status, &headers, &body));
                }
                Action::Cut => {
                    let sse = vec![("content-type", "text/event-stream".to_owned())];
                    return Ok(response(200, &sse, &Value::Null));
                }
                Action::Fail(error) => {
                    entry.set_response(0, None);
                    return Err(error);
                }
                Action::Stall => std::future::pending().await,
            };
        }
    }
}

/// A request in the list of received ones, until it ends.
struct Entry<'b> {
    all: &'b Mutex<Vec<Received>>,
    index: usize,
}

impl<'b> Entry<'b> {
    fn new(list: &'b Mutex<Vec<Received>>, received: Received) -> Self {
        let mut all = list.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(received);
        Self { all: list, index: all.len() - 1 }
    }

    fn set_response(&mut self, status: u16, hint: Option<Duration>) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all[self.index].response = Some((status, hint));
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all[self.index].ended = Some(Instant::now());
    }
}

fn response(
    status: u16,
    headers: &[(&'static str, String)],
    body: &Value,
) -> Response<ResponseBody> {
    let frames = if body.is_null() { vec![] } else { vec![Bytes::from(body.to_string())] };
    let mut response = Response::new(ResponseBody::Buffered(frames.into_iter()));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).expect("a header value");
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
    response
}
