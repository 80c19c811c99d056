//! `rescue = "hold"`: a stream is delivered when it is whole, and a broken one is never seen.
//!
//! Meanwhile the caller gets keep-alives, so that no clock between here and there runs out: a comment of
//! server-sent events, which every client passes over. Older clients of Gemini take a comment for an event
//! that they cannot read, so there, as in an array, it is an empty line. Frames of AWS have nothing that
//! means nothing: their callers get nothing until it is whole.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc::Sender;
use tokio::time::{Interval, interval};

use super::{Attempts, Said, ending};
use crate::gateway::incoming::Room;
use crate::gateway::relay::{Break, Read};
use crate::observe::access::End;
use crate::wire::api::{Api, Framing, Operation};
use crate::wire::inspect::observer::ResponseObserver;

/// Proxies and load balancers give up after 30 to 60 seconds of silence.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Most that is held of one stream. What is longer is delivered as it comes from then on.
const MOST: usize = 16 << 20;
/// How much is held in one piece, so that chunks of a few bytes do not keep the buffers they came in.
const PIECE: usize = 64 * 1024;

pub(super) async fn run(mut attempts: Attempts) {
    let (operation, framing) = (attempts.request.operation, attempts.framing());
    let mut pulse = Pulse::new(operation, framing, attempts.say.clone());
    let mut held = Held::default();
    loop {
        let read = pulse.during(attempts.read()).await;
        attempts.record.bytes_out += std::mem::take(&mut pulse.sent);
        let how = match read {
            Read::Broken(how) => how,
            Read::Bytes(..) | Read::End if attempts.is_failed() => {
                Break { end: End::Cut, why: "the provider's stream told an error", stalled: false }
            }
            Read::Bytes(bytes, is_last) => {
                let fits = held.push(&bytes, &attempts);
                if fits && !is_last {
                    continue;
                }
                if !fits {
                    held.full.push_back(Piece { bytes, _room: None });
                }
                if deliver(&mut attempts, held, is_last).await && !is_last {
                    attempts.pass_on().await;
                }
                return;
            }
            Read::End => {
                deliver(&mut attempts, held, true).await;
                return;
            }
        };
        held = Held::default();
        let next = pulse.during(attempts.next(how)).await;
        attempts.record.bytes_out += std::mem::take(&mut pulse.sent);
        if let Err(how) = next {
            // Nothing has been said yet.
            let listener = ResponseObserver::new(operation, framing);
            return attempts.break_off(how, ending(&listener, how)).await;
        }
    }
}

/// Says what was held; `whole`: it is all there is. `false`: no more can be said.
async fn deliver(attempts: &mut Attempts, held: Held, whole: bool) -> bool {
    let mut pieces = held.into_pieces();
    let mut said = ResponseObserver::new(attempts.request.operation, attempts.framing());
    while let Some(piece) = pieces.pop_front() {
        if attempts.record.live().is_cut() {
            attempts.break_off(Break::STOPPED, ending(&said, Break::STOPPED)).await;
            return false;
        }
        said.hear(&piece);
        if whole && pieces.is_empty() {
            attempts.finish();
        }
        if !attempts.say(piece).await {
            return false;
        }
    }
    true
}

/// What shows that the connection lives.
struct Pulse {
    beat: Interval,
    bytes: Bytes,
    say: Sender<Said>,
    /// Bytes said that are not counted yet.
    sent: u64,
}

impl Pulse {
    fn new(operation: Operation, framing: Framing, say: Sender<Said>) -> Self {
        let bytes: &[u8] = match (framing, operation.api()) {
            (Framing::Whole | Framing::Aws, _) => b"",
            (Framing::Array, _) | (Framing::Events, Api::Gemini) => b"\n",
            (Framing::Events, _) => b": keymux\n\n",
        };
        Self { beat: interval(KEEP_ALIVE), bytes: Bytes::from_static(bytes), say, sent: 0 }
    }

    /// Does something, and beats at once and every [`KEEP_ALIVE`] until it is done. A beat that the caller
    /// does not take is left out.
    async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = self.beat.tick(), if !self.bytes.is_empty() => {
                    if self.say.try_send(Ok(self.bytes.clone())).is_ok() {
                        self.sent += self.bytes.len() as u64;
                    }
                }
            }
        }
    }
}

/// The beginning of a stream that is not whole yet. All but its first piece counts as the bodies of callers
/// do, until the caller has read it.
#[derive(Default)]
struct Held {
    full: VecDeque<Piece>,
    open: BytesMut,
    room: Option<Room>,
    size: usize,
}

struct Piece {
    bytes: Bytes,
    _room: Option<Room>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Held {
    /// Takes the next bytes, all or none. `false`: there is no room for them.
    fn push(&mut self, bytes: &[u8], attempts: &Attempts) -> bool {
        if self.size + bytes.len() > MOST {
            return false;
        }
        if self.open.len() + bytes.len() > PIECE {
            self.close();
            let max_body = attempts.request.gateway.config.server.max_body;
            let store = &attempts.record.live().bodies;
            let Some(room) = store.room(PIECE.max(bytes.len()), max_body) else { return false };
            self.room = Some(room);
        }
        self.open.extend_from_slice(bytes);
        self.size += bytes.len();
        true
    }

    fn close(&mut self) {
        let bytes = std::mem::take(&mut self.open).freeze();
        let room = self.room.take();
        if !bytes.is_empty() {
            self.full.push_back(Piece { bytes, _room: room });
        }
    }

    fn into_pieces(mut self) -> VecDeque<Bytes> {
        self.close();
        self.full.into_iter().map(Bytes::from_owner).collect()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::channel;
    use tokio::time::{Instant, sleep};

    use super::*;

    /// When something was said during that many seconds, to a caller that takes it at once or not at all.
    async fn beats(framing: Framing, operation: Operation, seconds: u64, taken: bool) -> Vec<u64> {
        let (say, mut said) = channel(1);
        let mut pulse = Pulse::new(operation, framing, say);
        let (start, mut beats) = (Instant::now(), Vec::new());
        {
            let mut work = pin!(pulse.during(sleep(Duration::from_secs(seconds))));
            loop {
                tokio::select! {
                    () = &mut work => break,
                    _ = said.recv(), if taken => beats.push(start.elapsed().as_secs()),
                }
            }
        }
        assert_eq!(pulse.sent > 0, !pulse.bytes.is_empty());
        beats
    }

    #[tokio::test(start_paused = true)]
    async fn the_caller_hears_something_at_once_and_every_ten_seconds() {
        let sse = beats(Framing::Events, Operation::Chat, 35, true).await;
        assert_eq!(sse, [0, 10, 20, 30]);
        let array = beats(Framing::Array, Operation::StreamGenerateContent, 15, true).await;
        assert_eq!(array, [0, 10]);
        assert_eq!(beats(Framing::Aws, Operation::ConverseStream, 35, true).await, [0u64; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_does_not_read_delays_nothing() {
        let start = Instant::now();
        beats(Framing::Events, Operation::Chat, 35, false).await;
        assert_eq!(start.elapsed(), Duration::from_secs(35));
    }
}
