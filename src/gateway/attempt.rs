//! One attempt: a request sent with one key, until the answer's head and, for a stream, its first event
//! have come; and what it says of the key. Nothing has reached the caller before that.
//!
//! ```text
//! walk.rs     attempt after attempt, until one is answered
//!   budget.rs   how many may follow a provider's trouble
//!   haste.rs    when the first token is late
//!   resting.rs  what is said when every key is left alone
//!   stay.rs     what ties a request to a key
//! queue.rs    a wait for a place where there is no choice: of a client, or at the one key that will do
//! reading.rs  first events and error bodies
//! foreign.rs  providers of other formats than the caller's
//!   batch.rs    embeddings and counts, in several requests where one cannot carry all
//! ```

mod batch;
mod budget;
mod foreign;
mod haste;
mod queue;
mod reading;
mod resting;
mod stay;
mod walk;

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response};
use tokio::time::{Instant, timeout_at};

pub(super) use self::foreign::Understood;
use self::foreign::Written;
pub(super) use self::queue::place;
use self::reading::Begun;
pub(super) use self::resting::AllResting;
pub(super) use self::stay::Sealing;
pub(super) use self::walk::{Retries, Walk};

use super::answer::{self, Refusal};
use super::ids::Owner;
use super::record::Record;
use super::{Gateway, Provider};
use crate::config::Client;
use crate::keys::{Chosen, Pass, Standing};
use crate::observe::unix_time;
use crate::route::Target;
use crate::upstream::{Arriving, Attempt, Broken, What};
use crate::wire::failure::{Class, Failure, classify};
use crate::wire::listen::{Framing, Listener};
use crate::wire::translate::{Translation, Wire};
use crate::wire::{Operation, errors, quota};

/// A request, read and understood, that providers are to be asked for.
pub(super) struct Call<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) client: Option<&'a Client>,
    pub(super) what: What<'a>,
    /// The model in the caller's words.
    pub(super) asked_for: &'a str,
    /// The format of the body, where it is another than that of the operation.
    pub(super) body_wire: Option<Wire>,
    /// The body as it was understood, where a provider of another format is asked.
    pub(super) understood: Understood,
    pub(super) query: Option<&'a str>,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a Bytes,
    /// The one key that will do, by provider and place: what is asked for belongs to it.
    pub(super) pin: Option<Owner>,
    pub(super) now: u64,
}

/// An answer whose head has come, and for a stream its first event. Whatever reads on, a relay or a rescue,
/// takes it for an answer in the caller's format: where another is to be made of it, that is done to this,
/// when [`Walk::next`] has given it.
pub(super) struct Answered {
    pub(super) response: Response<Arriving>,
    /// What was read of its body already.
    pub(super) early: Vec<Bytes>,
    /// Has heard that, and knows how the answer is framed.
    pub(super) listener: Listener,
    /// Writes it anew, where the provider's format is not the caller's.
    pub(super) translation: Option<Box<Translation>>,
    /// Whether it was, or is, written anew: its ids are nobody's to ask for.
    pub(super) is_foreign: bool,
    pub(super) idle: Duration,
    pub(super) deadline: Instant,
}

impl Answered {
    /// How the caller gets it framed.
    pub(super) fn framing(&self) -> Framing {
        match &self.translation {
            Some(translation) => translation.framing(),
            None => self.listener.framing(),
        }
    }

    /// The answer with this for its body, framed so.
    fn rewritten(mut self, operation: Operation, framing: Framing, body: Bytes) -> Self {
        self.response.headers_mut().remove(CONTENT_LENGTH);
        self.response = self.response.map(|_| Arriving::Made(vec![body].into_iter()));
        self.early.clear();
        self.listener = Listener::new(operation, framing);
        self
    }

    /// The answer with this for its whole body.
    fn whole(self, operation: Operation, body: Bytes) -> Rest {
        Rest::Answer(Box::new(self.rewritten(operation, Framing::Whole, body)))
    }

    /// An error in its place.
    fn error(mut self, operation: Operation, error: errors::Error) -> Rest {
        let body = answer::as_foreign_error(&mut self.response, error);
        self.whole(operation, body)
    }
}

/// What is left to answer when no attempt succeeds.
enum Rest {
    /// The provider's own error.
    Answer(Box<Answered>),
    Refusal(Refusal),
}

/// A failed attempt: its class for the next step, the rest for the caller.
pub(super) struct Fallen {
    failure: Failure,
    rest: Rest,
    /// Whether the provider was silent until the deadline.
    silent: bool,
}

/// The limits of one attempt.
#[derive(Clone, Copy)]
struct Limits {
    began: Instant,
    /// How long a connection may take to stand.
    connect: Duration,
    first_byte: Instant,
    idle: Duration,
    total: Instant,
}

/// What one attempt is made of.
struct Try<'t> {
    hop: Target<'t>,
    chosen: Chosen,
    limits: Limits,
    /// The request in the provider's format, where it is another than the caller's.
    written: Option<&'t Written>,
}

/// One attempt with this key and no other, also while it is left alone: what is asked for is there only.
/// The limits that the file has for it hold here too, after a wait of `server.queue_timeout` at most.
pub(super) async fn with_key(
    call: &Call<'_>,
    hop: Target<'_>,
    key: usize,
    record: &mut Record,
) -> Result<Answered, Fallen> {
    let began = Instant::now();
    let timeouts = call.gateway.config.providers[hop.provider].timeouts;
    let total = began + timeouts.total;
    let first_byte = (began + timeouts.first_byte).min(total);
    let limits =
        Limits { began, connect: timeouts.connect, first_byte, idle: timeouts.idle, total };
    let held = match queue::hold(call, hop, key).await {
        Ok(held) => held,
        Err(standing) => return Err(Fallen::over_limit(call, hop, key, standing)),
    };
    let chosen = Chosen { place: key, pass: Pass::default(), held };
    noted(call, Try { hop, chosen, limits, written: None }, record).await
}

/// One attempt, and what it says of the key.
async fn noted(call: &Call<'_>, attempt: Try<'_>, record: &mut Record) -> Result<Answered, Fallen> {
    let Try { hop, chosen: Chosen { place: key, pass, mut held }, limits, written } = attempt;
    record.attempts += 1;
    record.dropped.clear();
    if let Some(written) = written {
        written.note(record);
    }
    record.tried = Some((hop.provider, key));
    let provider = &call.gateway.providers[hop.provider];
    let answered = once(call, hop, key, limits, written, &record.id).await;
    let probe = pass.is_probe();
    match &answered {
        Ok(_) => {
            provider.pool.answered(key, hop.model, pass, call.now);
            provider.keys[key].answered();
            record.held = Some(held);
        }
        Err(Fallen { failure, .. }) => {
            provider.keys[key].failed(failure.class.name());
            let now = Instant::now().into_std();
            provider.pool.failed(key, hop.model, *failure, pass, call.now, now);
            held.counted(0);
        }
    }
    if probe {
        call.gateway.retries.probed();
    }
    answered
}

impl Rest {
    fn into_answer(self) -> Result<Answered, Refusal> {
        match self {
            Rest::Answer(answered) => Ok(*answered),
            Rest::Refusal(refusal) => Err(refusal),
        }
    }
}

async fn once(
    call: &Call<'_>,
    hop: Target<'_>,
    key: usize,
    limits: Limits,
    written: Option<&Written>,
    id: &str,
) -> Result<Answered, Fallen> {
    let Some(written) = written else { return begun(call, hop, key, limits, None, id).await };
    if written.is_conversation() {
        let answered = begun(call, hop, key, limits, Some(Part { written, at: 0 }), id).await?;
        let name = &call.gateway.config.providers[hop.provider].name;
        let upstream = &call.gateway.providers[hop.provider].upstream;
        let redact = |body| upstream.redact(key, body);
        return written.answer(call, answered, name, &redact, limits, id).await;
    }
    batch::once(call, hop, key, limits, written, id).await
}

/// One of the requests that a written request is sent in.
#[derive(Clone, Copy)]
struct Part<'w> {
    written: &'w Written,
    at: usize,
}

/// The request sent, and its answer as far as its head and first event.
async fn begun(
    call: &Call<'_>,
    hop: Target<'_>,
    key: usize,
    limits: Limits,
    part: Option<Part<'_>>,
    id: &str,
) -> Result<Answered, Fallen> {
    let provider = &call.gateway.providers[hop.provider];
    let name = || call.gateway.config.providers[hop.provider].name.to_string();
    let (model, now) = (hop.model, call.now);
    let written = part.map(|part| part.written);
    let sent = match part {
        None => {
            let Call { what, query, headers, body, .. } = *call;
            let attempt = Attempt { what, model, query, headers, body, id, now };
            timeout_at(limits.first_byte, send(provider, key, attempt)).await
        }
        Some(Part { written, at }) => {
            let body = written.body(at);
            let (address, peek) = (written.address(), written.peek(body));
            let what = What::Operation { address: &address, peek: &peek };
            let (query, headers) = (written.query(), written.headers());
            let attempt = Attempt { what, model, query, headers, body, id, now };
            timeout_at(limits.first_byte, send(provider, key, attempt)).await
        }
    };
    let response = match sent.unwrap_or(Err(Broken::Silent)) {
        Ok(response) => response,
        Err(broken) => return Err(Fallen::unanswered(name(), broken, limits)),
    };
    learn(provider, key, hop.model, response.headers());
    let operation = written.map_or_else(|| call.what.operation(), Written::operation);
    let content_type = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let framing = Framing::of(operation, content_type);
    let is_json = content_type.is_some_and(|media| media.starts_with(b"application/json"));
    let mut listener = Listener::new(operation, framing);
    listener.read_head(&|name| response.headers().get(name)?.to_str().ok());
    let mut answered = Answered {
        listener,
        response,
        early: Vec::new(),
        translation: None,
        is_foreign: written.is_some(),
        idle: limits.idle,
        deadline: limits.total,
    };
    if !answered.response.status().is_success() {
        return Err(rejected(call, hop, key, answered, limits, written, id).await);
    }
    let begun = match (framing, written) {
        (Framing::Whole, None) if is_json => {
            reading::short_answer(&mut answered, operation.api(), limits).await
        }
        // What is written anew is read to its end first.
        (Framing::Whole, _) => Ok(()),
        (Framing::Events | Framing::Array | Framing::Aws, _) => {
            reading::first_event(&mut answered, limits.first_byte).await
        }
    };
    match begun {
        Ok(()) => Ok(answered),
        Err(Begun::Not(broken)) => Err(Fallen::unanswered(name(), broken, limits)),
        Err(Begun::Failed(failure)) if framing == Framing::Whole => {
            let body = provider.upstream.redact(key, answered.early.concat().into());
            Err(Fallen::in_answer(answered, operation, body, failure))
        }
        Err(Begun::Failed(failure)) => {
            let failed = Failed { name: name(), failure, written, id };
            Err(failed_at_once(provider, key, failed, operation, answered))
        }
    }
}

/// Takes note of what the answer's headers say of the provider's limits.
fn learn(provider: &Provider, key: usize, model: &str, headers: &HeaderMap) {
    let each = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    if let Some(quota) = quota::read(each, unix_time()) {
        provider.pool.learn(key, model, quota, Instant::now().into_std());
    }
}

async fn send(
    provider: &Provider,
    key: usize,
    attempt: Attempt<'_>,
) -> Result<Response<Arriving>, Broken> {
    #[cfg(test)]
    if let Some(script) = &provider.script {
        return script.play(key, &attempt).await;
    }
    provider.upstream.send(key, attempt).await
}

/// A stream that failed before it began.
struct Failed<'f> {
    /// The provider's name.
    name: String,
    failure: Failure,
    written: Option<&'f Written>,
    id: &'f str,
}

/// A stream whose first event is an error: the caller gets it with the status that it should have had.
fn failed_at_once(
    provider: &Provider,
    key: usize,
    failed: Failed<'_>,
    operation: Operation,
    mut answered: Answered,
) -> Fallen {
    let Failed { name, failure, written, id } = failed;
    let Failure { class, retry_after } = failure;
    let Some(told) = answered.listener.told().cloned() else {
        let refusal = Refusal::Failed { provider: name, class, retry_after };
        return Fallen { failure, rest: Rest::Refusal(refusal), silent: false };
    };
    if let Some(written) = written {
        let body = provider.upstream.redact(key, told.body.into());
        let rest = written.error(answered, None, &body, failure, id);
        return Fallen { failure, rest, silent: false };
    }
    answered.response = answer::as_error(answered.response, &told, class, retry_after);
    let rest = answered.whole(operation, provider.upstream.redact(key, told.body.into()));
    Fallen { failure, rest, silent: false }
}

impl Fallen {
    /// Whether another key may succeed.
    pub(super) fn another_key_may_help(&self) -> bool {
        self.failure.class.another_key_may_help()
    }

    /// What is left to answer.
    pub(super) fn into_answer(self) -> Result<Answered, Refusal> {
        self.rest.into_answer()
    }

    /// Nothing was sent: it would have been more than the file allows.
    fn over_limit(call: &Call<'_>, hop: Target<'_>, key: usize, standing: Standing) -> Self {
        let keys = vec![(call.key_name(hop, key), standing)];
        let resting = AllResting { model: hop.model.to_owned(), keys };
        Self {
            failure: Failure { class: Class::Throttled, retry_after: None },
            rest: Rest::Refusal(Refusal::Resting(resting)),
            silent: false,
        }
    }

    /// An error that came as an answer: the caller gets it with the status that it should have had.
    fn in_answer(
        mut answered: Answered,
        operation: Operation,
        body: Bytes,
        failure: Failure,
    ) -> Self {
        *answered.response.status_mut() = answer::status_of(failure.class);
        Self { failure, rest: answered.whole(operation, body), silent: false }
    }

    fn unanswered(provider: String, broken: Broken, limits: Limits) -> Self {
        let class = match broken {
            Broken::Name => Class::Caller,
            Broken::Refused => Class::BadCredential,
            Broken::Connect | Broken::Lost | Broken::Stale | Broken::Silent | Broken::NoToken => {
                Class::Trouble
            }
        };
        Self {
            failure: Failure { class, retry_after: None },
            rest: Rest::Refusal(Refusal::Unanswered { provider, broken }),
            silent: match broken {
                Broken::Silent => true,
                // Nobody has refused the connection either.
                Broken::Connect => limits.began.elapsed() >= limits.connect,
                _ => false,
            },
        }
    }
}

/// A provider's error: read whole, classified, and kept for the caller without the key it may echo.
async fn rejected(
    call: &Call<'_>,
    hop: Target<'_>,
    key: usize,
    mut answered: Answered,
    limits: Limits,
    written: Option<&Written>,
    id: &str,
) -> Fallen {
    let status = answered.response.status();
    let body = reading::error(answered.response.body_mut(), limits).await;
    let headers = answered.response.headers();
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let operation = written.map_or_else(|| call.what.operation(), Written::operation);
    let bytes = body.as_deref().unwrap_or_default();
    let failure = classify(operation.api(), status.as_u16(), bytes, &header);
    let rest = match body {
        Some(body) => {
            let body = call.gateway.providers[hop.provider].upstream.redact(key, body);
            match written {
                Some(written) => written.error(answered, Some(status), &body, failure, id),
                None => answered.whole(operation, body),
            }
        }
        None => Rest::Refusal(Refusal::Failed {
            provider: call.gateway.config.providers[hop.provider].name.to_string(),
            class: failure.class,
            retry_after: failure.retry_after,
        }),
    };
    Fallen { failure, rest, silent: false }
}

#[cfg(test)]
pub(super) mod tests;
