//! A stream that may take more than one attempt: `rescue` of its route. Requests on other routes pay
//! nothing for it.
//!
//! The first attempt is made as for any request, and its answer's head goes out. The body is then one piece
//! of work that owns all that further attempts need, and the walk they go on with: it reads an answer,
//! makes the next attempt when that breaks, and says what the caller is to get. It runs within the caller's
//! own reading of the body, so a slow caller slows it and a caller that leaves drops it, attempt and all.
//!
//! ```text
//! rescue.rs   the work as a body, and its attempts
//! hold.rs     nothing is delivered before it is whole
//! ```

mod hold;

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Uri};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::yield_now;

use super::attempt::{Answered, Call, Sealing, Understood, Walk};
use super::handle::{body_wire, look_into, signing};
use super::ids::Owner;
use super::record::Record;
use super::relay::{Break, Cut, Read, Relay};
use super::{Gateway, Live};
use crate::config;
use crate::observe::access::End;
use crate::route::Plan;
use crate::share::Turn;
use crate::upstream::What;
use crate::wire::Operation;
use crate::wire::address::{self, Place};
use crate::wire::failure::Class;
use crate::wire::listen::{Ending, Framing, Listener};

/// A request with all that its attempts need.
pub(super) struct Request {
    pub(super) gateway: Arc<Gateway>,
    /// The caller, by place.
    pub(super) client: Option<usize>,
    pub(super) operation: Operation,
    /// The path says what is asked for.
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// As asked for; a route.
    pub(super) model: String,
    /// Whose turn it was among the route's targets.
    pub(super) turn: Turn,
    pub(super) pin: Option<Owner>,
    pub(super) now: u64,
    /// Where the caller reached this gateway.
    pub(super) origin: String,
}

/// The body of a stream that may take more than one attempt.
pub(super) struct Rescue(State);

enum State {
    Ready(Box<Ready>),
    Running(Pin<Box<dyn Future<Output = ()> + Send>>, Receiver<Said>),
    Over,
}

struct Ready {
    mode: config::Rescue,
    request: Request,
    walk: Walk,
    relay: Relay,
}

/// What goes to the caller.
type Said = Result<Bytes, Cut>;

impl fmt::Debug for Rescue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rescue")
    }
}

impl Rescue {
    /// Whether an answer that has begun on such a route is one that can be rescued.
    pub(super) fn is_for(mode: config::Rescue, answered: &Answered, _operation: Operation) -> bool {
        let framing = answered.framing();
        answered.response.status().is_success()
            && framing.is_stream()
            && match mode {
                config::Rescue::None => false,
                config::Rescue::Hold => true,
            }
    }

    /// From its first answer on, and with the walk that led there.
    pub(super) fn new(mode: config::Rescue, request: Request, walk: Walk, relay: Relay) -> Self {
        Self(State::Ready(Box::new(Ready { mode, request, walk, relay })))
    }

    /// Takes the record of the request, and begins.
    pub(super) fn begin(&mut self, record: Box<Record>) {
        let State::Ready(ready) = std::mem::replace(&mut self.0, State::Over) else { return };
        let Ready { mode, request, walk, relay } = *ready;
        let (say, said) = channel(1);
        let attempts = Attempts { request, walk, relay, record, say };
        self.0 = match mode {
            config::Rescue::Hold | config::Rescue::None => {
                State::Running(Box::pin(hold::run(attempts)), said)
            }
        };
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Said>> {
        let State::Running(work, said) = &mut self.0 else { return Poll::Ready(None) };
        let is_over = work.as_mut().poll(cx).is_ready();
        let next = match said.poll_recv(cx) {
            Poll::Pending if !is_over => return Poll::Pending,
            Poll::Pending => None,
            Poll::Ready(next) => next,
        };
        if is_over {
            // There is room for one: this is the last.
            self.0 = State::Over;
        }
        Poll::Ready(next)
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.0, State::Over)
    }
}

/// The attempts of one stream: the answer that is read now, and what leads to the next.
struct Attempts {
    request: Request,
    walk: Walk,
    relay: Relay,
    record: Box<Record>,
    say: Sender<Said>,
}

impl Drop for Attempts {
    fn drop(&mut self) {
        self.record.usage = self.relay.listener.usage();
    }
}

impl Attempts {
    /// What comes next of the answer.
    async fn read(&mut self) -> Read {
        let Self { relay, record, .. } = self;
        let read = poll_fn(|cx| relay.read(cx, record)).await;
        record.first_byte();
        if let Read::Bytes(bytes, _) = &read {
            relay.hear_seals(bytes, record);
        }
        read
    }

    /// Whether the provider has told an error in its stream that another attempt may not meet.
    fn is_failed(&self) -> bool {
        self.relay.failure().is_some_and(|failure| failure.class != Class::Caller)
    }

    /// Goes on with the next attempt. `Err`: there is none, or the program stops.
    async fn next(&mut self, how: Break) -> Result<(), Break> {
        if how.end == End::Stopped {
            return Err(how);
        }
        let broken = self.record.tried;
        let usage = self.relay.listener.usage();
        // Its key may be the only one, and have one place.
        self.relay.leave();
        self.record.release(usage);
        self.walk.broke(how.stalled);
        let framing = self.framing();
        let Self { request, walk, record, .. } = self;
        let live = record.live_handle();
        // Boxed: an attempt is large, and most streams need no other.
        let next = unless_stopped(&live, Box::pin(request.next(framing, walk, record)));
        let answered = next.await.ok_or(Break::STOPPED)?.ok_or(how)?;
        let gateway = &self.request.gateway;
        if let Some((provider, key)) = broken {
            // The answer that is told of in the end is another.
            let provider = &gateway.providers[provider];
            provider.keys[key].tokens(usage.input, usage.cached_input, usage.output);
            provider.meter.rescued.inc();
        }
        self.record.rescued += 1;
        let owner = self.record.tried.map(|(provider, key)| Owner { provider, key });
        let request = &self.request;
        let owner = owner.filter(|_| !answered.is_foreign);
        let signing = owner.and_then(|owner| {
            signing(&self.record, owner, || request.origin.clone(), request.operation, true)
        });
        let sealing = Sealing::new(&self.record);
        self.relay = Relay::new(answered, signing, sealing);
        Ok(())
    }

    /// Says something; `false`: nobody hears it any more.
    async fn say(&mut self, bytes: Bytes) -> bool {
        self.record.bytes_out += bytes.len() as u64;
        self.say.send(Ok(bytes)).await.is_ok()
    }

    /// The answer is over, in order.
    fn finish(&mut self) {
        let failed = self.relay.failure().is_some();
        self.record.end = if failed { End::Cut } else { End::Complete };
    }

    /// Ends the stream with an error in the caller's format, put where this listener stands.
    async fn break_off(&mut self, how: Break, ending: Ending) {
        self.record.end = how.end;
        let Ending { bytes, breaks } = ending;
        let breaks = breaks || bytes.is_empty();
        if !bytes.is_empty() {
            self.say(bytes).await;
        }
        if breaks {
            // hyper drops what it has not written when a body fails, so it gets a turn between the two.
            drop(self.say.reserve().await);
            yield_now().await;
            let _ = self.say.send(Err(Cut)).await;
        }
    }

    /// The rest of the answer as it comes, and with no other attempt.
    async fn pass_on(&mut self) {
        loop {
            match self.read().await {
                Read::Bytes(bytes, is_last) => {
                    if is_last {
                        self.finish();
                    }
                    if !self.say(bytes).await || is_last {
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

    fn framing(&self) -> Framing {
        self.relay.framing()
    }
}

fn ending(listener: &Listener, how: Break) -> Ending {
    listener.cut(how.why, "upstream_error")
}

impl Request {
    /// The next answer that could go on with the stream. What is read of the request here was read before,
    /// with the same outcome.
    async fn next(
        &self,
        framing: Framing,
        walk: &mut Walk,
        record: &mut Record,
    ) -> Option<Answered> {
        let Some(Place::Operation(address)) = address::find(self.uri.path()) else { return None };
        let peek = look_into(&address, &self.headers, &self.body).ok()?;
        let asked = self.gateway.config.resolve_model(&self.model).ok()?;
        let call = Call {
            gateway: &self.gateway,
            client: self.client.map(|at| &self.gateway.config.clients[at]),
            what: What::Operation { address: &address, peek: &peek },
            asked_for: &self.model,
            body_wire: body_wire(&address, &peek),
            understood: Understood::default(),
            query: self.uri.query(),
            headers: &self.headers,
            body: &self.body,
            pin: self.pin,
            now: self.now,
        };
        let plan = Plan::new(&asked, self.turn);
        let answered = walk.next(&call, &plan, record).await.ok()?;
        let goes_on = answered.response.status().is_success() && answered.framing() == framing;
        if !goes_on {
            record.release(answered.listener.usage());
            return None;
        }
        Some(answered)
    }
}

/// `None`: the drain time was over first. Connections and HTTP/2 streams are woken then.
async fn unless_stopped<T>(live: &Live, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if live.is_cut() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}
