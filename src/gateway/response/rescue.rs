//! `rescue = "hold"`: a stream is delivered when it is complete, so the caller never sees a broken one.
//!
//! The first attempt is made as for any request, and the head of its response is sent. The body is then one
//! future that owns everything for further attempts. It reads a response, makes the next attempt when that
//! breaks, and sends the complete one. It runs within the polls of the body, so a slow caller slows it, and
//! when the caller disconnects, it is dropped together with its attempt. Other routes pay nothing for it.

mod held_bytes;
mod keep_alive;

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::yield_now;

use self::held_bytes::{HeldBytes, Piece};
use self::keep_alive::KeepAlive;
use super::id_signer::ResponseIdSigner;
use super::passage::error_ending;
use super::relay::{Break, Cut, Read, Relay};
use super::signature_recorder::SignatureRecorder;
use super::started::StartedResponse;
use crate::gateway::Live;
use crate::gateway::record::Record;
use crate::observe::access::End;
use crate::wire::api::{Framing, Operation};
use crate::wire::failure::class::Class;
use crate::wire::failure::error_event::Ending;
use crate::wire::inspect::observer::ResponseObserver;

/// The future of a retry.
pub(crate) type RetryFuture<'a> =
    Pin<Box<dyn Future<Output = Option<StartedResponse>> + Send + 'a>>;

/// Makes further attempts of a request whose stream broke off.
pub(crate) trait Retry: Send {
    /// Returns the next successful response with this framing, or `None` if there is none. `stalled`: the
    /// provider of the broken stream sent nothing for too long.
    fn retry<'a>(
        &'a mut self,
        stalled: bool,
        framing: Framing,
        record: &'a mut Record,
    ) -> RetryFuture<'a>;
}

/// A request whose stream is held, apart from its attempts.
pub(crate) struct HeldRequest {
    pub(crate) operation: Operation,
    /// The URL at which the caller reached this gateway.
    pub(crate) origin: String,
    pub(crate) retry: Box<dyn Retry>,
}

/// The body of a held stream.
pub(crate) struct HeldStream(State);

enum State {
    Ready(Box<(HeldRequest, Relay)>),
    Running(Pin<Box<dyn Future<Output = ()> + Send>>, Receiver<Chunk>),
    Ended,
}

/// A chunk for the caller.
type Chunk = Result<Bytes, Cut>;

impl fmt::Debug for HeldStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeldStream")
    }
}

impl HeldStream {
    /// Returns true if this response can be held: it is a successful stream.
    pub(crate) fn applies_to(started: &StartedResponse) -> bool {
        started.response.status().is_success() && started.passage.framing().is_stream()
    }

    /// Holds the stream that begins with this response.
    pub(crate) fn new(request: HeldRequest, relay: Relay) -> Self {
        Self(State::Ready(Box::new((request, relay))))
    }

    /// Takes the record of the request, and starts.
    pub(super) fn start(&mut self, record: Box<Record>) {
        let State::Ready(ready) = std::mem::replace(&mut self.0, State::Ended) else { return };
        let (request, relay) = *ready;
        let (sender, chunks) = channel(1);
        let attempts = HeldAttempts { request, relay, record, sender };
        self.0 = State::Running(Box::pin(hold(attempts)), chunks);
    }

    /// Returns the next chunk for the caller.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Chunk>> {
        let State::Running(work, chunks) = &mut self.0 else { return Poll::Ready(None) };
        let has_ended = work.as_mut().poll(cx).is_ready();
        let next = match chunks.poll_recv(cx) {
            Poll::Pending if !has_ended => return Poll::Pending,
            Poll::Pending => None,
            Poll::Ready(next) => next,
        };
        if has_ended {
            // The channel has room for one chunk, so this is the last.
            self.0 = State::Ended;
        }
        Poll::Ready(next)
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.0, State::Ended)
    }
}

/// Reads attempt after attempt until a stream is complete, and delivers it.
async fn hold(mut attempts: HeldAttempts) {
    let (operation, framing) = (attempts.request.operation, attempts.relay.framing());
    let mut keep_alive = KeepAlive::new(operation, framing, attempts.sender.clone());
    let mut held = HeldBytes::default();
    loop {
        let read = keep_alive.during(attempts.read()).await;
        attempts.record.bytes_out += keep_alive.take_sent();
        let how = match read {
            Read::Broken(how) => how,
            Read::Bytes(..) | Read::End if attempts.has_failed() => {
                Break::cut("the provider's stream contained an error")
            }
            Read::Bytes(bytes, is_last) => {
                let fits = held.push(&bytes, &attempts.record);
                if fits && !is_last {
                    continue;
                }
                if !fits {
                    held.push_last(Piece::unreserved(bytes));
                }
                if deliver(&mut attempts, held, is_last).await && !is_last {
                    attempts.forward_rest().await;
                }
                return;
            }
            Read::End => {
                deliver(&mut attempts, held, true).await;
                return;
            }
        };
        held = HeldBytes::default();
        let next = keep_alive.during(attempts.retry(how)).await;
        attempts.record.bytes_out += keep_alive.take_sent();
        if let Err(how) = next {
            // Nothing of a response was sent yet.
            let observer = ResponseObserver::new(operation, framing);
            return attempts.break_off(how, error_ending(&observer, how.why)).await;
        }
    }
}

/// Sends what was held. `is_complete`: nothing follows. Returns false if no more can be sent.
async fn deliver(attempts: &mut HeldAttempts, held: HeldBytes, is_complete: bool) -> bool {
    let mut pieces = held.into_pieces();
    let mut sent = ResponseObserver::new(attempts.request.operation, attempts.relay.framing());
    while let Some(piece) = pieces.pop_front() {
        if attempts.record.live().is_cut() {
            let ending = error_ending(&sent, Break::STOPPED.why);
            attempts.break_off(Break::STOPPED, ending).await;
            return false;
        }
        sent.observe(&piece);
        if is_complete && pieces.is_empty() {
            attempts.finish();
        }
        if !attempts.send(piece).await {
            return false;
        }
    }
    true
}

/// The attempts of one held stream: the current response, and what the next attempt needs.
struct HeldAttempts {
    request: HeldRequest,
    relay: Relay,
    record: Box<Record>,
    sender: Sender<Chunk>,
}

impl Drop for HeldAttempts {
    fn drop(&mut self) {
        self.record.usage = self.relay.passage().usage();
    }
}

impl HeldAttempts {
    /// Reads the next bytes of the response.
    async fn read(&mut self) -> Read {
        let Self { relay, record, .. } = self;
        let read = poll_fn(|cx| relay.read(cx, record)).await;
        record.set_first_byte();
        if let Read::Bytes(bytes, _) = &read {
            relay.record_signatures(bytes, record);
        }
        read
    }

    /// Returns true if the provider sent an error within its stream that another attempt may not meet.
    fn has_failed(&self) -> bool {
        self.relay.passage().failure().is_some_and(|failure| failure.class != Class::Caller)
    }

    /// Makes the next attempt. `Err`: there is none, or the program stops.
    async fn retry(&mut self, how: Break) -> Result<(), Break> {
        if how.end == End::Stopped {
            return Err(how);
        }
        let broken = self.record.last_key;
        let usage = self.relay.passage().usage();
        let framing = self.relay.framing();
        // Releases first: the only key may have one concurrent request.
        self.relay.disconnect();
        self.record.release(usage);
        let Self { request, record, .. } = self;
        let live = record.live_handle();
        let next = unless_cut(&live, request.retry.retry(how.stalled, framing, record));
        let started = next.await.ok_or(Break::STOPPED)?.ok_or(how)?;
        if let Some(broken) = broken {
            // The access line will report the usage of another response.
            let provider = &self.record.gateway().providers[broken.provider];
            provider.keys[broken.key].add_tokens(usage.input, usage.cached_input, usage.output);
            provider.meter.rescues.inc();
        }
        self.record.rescued += 1;
        let request = &self.request;
        let owner = self.record.last_key.filter(|_| !started.is_translated);
        let id_signer = owner.and_then(|owner| {
            let origin = || request.origin.clone();
            ResponseIdSigner::new(&self.record, owner, origin, request.operation, true)
        });
        let signatures = SignatureRecorder::new(&self.record);
        self.relay = Relay::new(started, id_signer, signatures);
        Ok(())
    }

    /// Sends a chunk. Returns false if the caller has disconnected.
    async fn send(&mut self, bytes: Bytes) -> bool {
        self.record.bytes_out += bytes.len() as u64;
        self.sender.send(Ok(bytes)).await.is_ok()
    }

    fn finish(&mut self) {
        let failed = self.relay.passage().failure().is_some();
        self.record.end = if failed { End::Cut } else { End::Complete };
    }

    /// Ends the stream with an error event in the caller's format.
    async fn break_off(&mut self, how: Break, ending: Ending) {
        self.record.end = how.end;
        let Ending { bytes, breaks } = ending;
        let breaks = breaks || bytes.is_empty();
        if !bytes.is_empty() {
            self.send(bytes).await;
        }
        if breaks {
            // hyper drops what it has not written when a body fails, so it gets a turn between the two.
            drop(self.sender.reserve().await);
            yield_now().await;
            let _ = self.sender.send(Err(Cut)).await;
        }
    }

    /// Forwards the rest of the response as it arrives, without another attempt.
    async fn forward_rest(&mut self) {
        loop {
            match self.read().await {
                Read::Bytes(bytes, is_last) => {
                    if is_last {
                        self.finish();
                    }
                    if !self.send(bytes).await || is_last {
                        return;
                    }
                }
                Read::End => return self.finish(),
                Read::Broken(how) => {
                    let ending = self.relay.ending(how);
                    return self.break_off(how, ending).await;
                }
            }
        }
    }
}

/// Returns `None` if the drain timeout passes first. Connections and HTTP/2 streams are woken then.
async fn unless_cut<T>(live: &Arc<Live>, mut work: impl Future<Output = T> + Unpin) -> Option<T> {
    poll_fn(|cx| match Pin::new(&mut work).poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if live.is_cut() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}
