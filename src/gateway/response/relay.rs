//! Forwards a provider's response to the caller: one chunk in, at most one out, without a task or a channel
//! between. A slow caller slows the provider; when the caller disconnects, the provider's connection is dropped.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as _, SizeHint};
use tokio::time::Instant;

use super::id_signer::ResponseIdSigner;
use super::passage::Passage;
use super::signature_recorder::SignatureRecorder;
use super::started::StartedResponse;
use crate::gateway::deadline::DeadlineTimer;
use crate::gateway::record::Record;
use crate::observe::access::End;
use crate::upstream::ResponseBody;
use crate::wire::api::Framing;
use crate::wire::failure::error_event::Ending;

/// How long a stream may stay open after its closing event.
const AFTER_DONE: Duration = Duration::from_millis(500);
/// How long it may stay open when only the closing event is missing, which some vendors never send; also after an
/// error, after which some vendors send it.
const AFTER_FINISHED: Duration = Duration::from_secs(2);

/// The longest event. No API has longer ones, and a client would buffer it without limit.
const LONGEST_EVENT: usize = 16 << 20;

/// A provider's response that is being forwarded. [`Relay::read`] only reads it; the body or a rescue decides
/// what to do when it breaks.
#[derive(Debug)]
pub(crate) struct Relay {
    /// The chunks that were read before the head was sent to the caller.
    early: std::vec::IntoIter<Bytes>,
    /// The rest.
    upstream: ResponseBody,
    /// Has observed `early`.
    passage: Passage,
    /// Signs the ids, if they belong to a key.
    id_signer: Option<Box<ResponseIdSigner>>,
    /// Records reasoning signatures, if the provider has several keys.
    signatures: Option<Box<SignatureRecorder>>,
    /// The longest pause between two chunks.
    idle: Duration,
    /// The deadline of the whole response.
    deadline: Instant,
    timer: DeadlineTimer,
    /// The time of the last chunk.
    last_chunk: Instant,
    /// True when nothing more will be sent.
    ended: bool,
    /// Set when the body fails after its last chunk.
    failing: Option<Failing>,
}

/// The result of reading a response.
#[derive(Debug)]
pub(crate) enum Read {
    /// The next bytes; true if they are the last.
    Bytes(Bytes, bool),
    /// The response has ended and is complete.
    End,
    /// The response has ended and is incomplete.
    Broken(Break),
}

/// How a response broke.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Break {
    /// The end that the access line reports.
    pub(crate) end: End,
    /// The message of the error event.
    pub(crate) why: &'static str,
    /// True if the provider sent nothing for too long.
    pub(crate) stalled: bool,
}

/// The steps of a body that fails after its last chunk. hyper drops what it has not written when a body fails,
/// so it gets a turn to write between the two.
#[derive(Clone, Copy, Debug)]
enum Failing {
    ChunkReturned,
    ChunkWritten,
}

/// The error of a body that had to be cut. hyper closes the connection, so the caller sees the cut.
#[derive(Debug)]
pub(crate) struct Cut;

impl Break {
    /// The drain timeout has passed.
    pub(crate) const STOPPED: Self =
        Self { end: End::Stopped, why: "the gateway is stopping", stalled: false };

    /// The provider's response is incomplete.
    pub(crate) fn cut(why: &'static str) -> Self {
        Self { end: End::Cut, why, stalled: false }
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the provider's response broke off")
    }
}

impl std::error::Error for Cut {}

impl Relay {
    /// Forwards the body of a started response whose head was taken.
    pub(crate) fn new(
        started: StartedResponse,
        id_signer: Option<Box<ResponseIdSigner>>,
        signatures: Option<SignatureRecorder>,
    ) -> Self {
        let StartedResponse { response, early, passage, is_translated: _, idle, deadline } =
            started;
        Self {
            early: early.into_iter(),
            upstream: response.into_body(),
            passage,
            id_signer,
            signatures: signatures.map(Box::new),
            idle,
            deadline,
            timer: DeadlineTimer::default(),
            last_chunk: Instant::now(),
            ended: false,
            failing: None,
        }
    }

    pub(crate) fn passage(&self) -> &Passage {
        &self.passage
    }

    pub(crate) fn framing(&self) -> Framing {
        self.passage.framing()
    }

    /// Returns the next chunk for the caller.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        record: &mut Record,
    ) -> Poll<Option<Result<Bytes, Cut>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match self.failing {
            None => {}
            Some(Failing::ChunkReturned) => {
                self.failing = Some(Failing::ChunkWritten);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(Failing::ChunkWritten) => {
                self.ended = true;
                return Poll::Ready(Some(Err(Cut)));
            }
        }
        Poll::Ready(match ready!(self.read(cx, record)) {
            Read::Bytes(bytes, is_last) => {
                record.set_first_byte();
                self.record_signatures(&bytes, record);
                record.bytes_out += bytes.len() as u64;
                if is_last {
                    self.finish(record);
                }
                Some(Ok(bytes))
            }
            Read::End => {
                self.finish(record);
                None
            }
            Read::Broken(how) => Some(self.break_off(record, how)),
        })
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Returns the number of bytes left, if it is known.
    pub(super) fn size_hint(&self) -> SizeHint {
        // A stream may get an error event in addition, and signed ids are longer.
        if self.passage.is_stream() || self.id_signer.is_some() {
            return SizeHint::default();
        }
        let early: u64 = self.early.as_slice().iter().map(|bytes| bytes.len() as u64).sum();
        match self.upstream.size_hint().exact() {
            Some(exact) => SizeHint::with_exact(early + exact),
            None => SizeHint::default(),
        }
    }

    /// Reads the next bytes.
    pub(super) fn read(&mut self, cx: &mut Context<'_>, record: &Record) -> Poll<Read> {
        while let Some(bytes) = self.early.next() {
            if let Some(read) = self.convert(&bytes) {
                return Poll::Ready(read);
            }
        }
        if record.live().is_cut() {
            return Poll::Ready(Read::Broken(Break::STOPPED));
        }
        loop {
            match Pin::new(&mut self.upstream).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers contain nothing that callers of these APIs read.
                    let Ok(bytes) = frame.into_data() else { continue };
                    self.last_chunk = Instant::now();
                    self.passage.observe(&bytes);
                    let bytes = self.redact(bytes, record);
                    if self.last_chunk > self.deadline {
                        return Poll::Ready(self.broken("the response took longer than allowed"));
                    }
                    if self.passage.open_event_length() > LONGEST_EVENT {
                        return Poll::Ready(self.broken("an event is longer than 16 MiB"));
                    }
                    if let Some(read) = self.convert(&bytes) {
                        return Poll::Ready(read);
                    }
                }
                Poll::Ready(None) => return Poll::Ready(self.upstream_ended()),
                Poll::Ready(Some(Err(_))) => return Poll::Ready(self.upstream_failed()),
                Poll::Pending => {
                    ready!(self.poll_idle(cx));
                    return Poll::Ready(match self.broken("the provider's stream stalled") {
                        Read::Broken(how) => Read::Broken(Break { stalled: true, ..how }),
                        end => end,
                    });
                }
            }
        }
    }

    /// Cuts the key out of an error within a stream. This damages an AWS frame, which clients report as an error
    /// as well.
    fn redact(&self, bytes: Bytes, record: &Record) -> Bytes {
        match record.last_key {
            Some(last) if self.passage.is_stream() && self.passage.provider_failure().is_some() => {
                record.gateway().providers[last.provider].upstream.redact(last.key, bytes)
            }
            _ => bytes,
        }
    }

    /// Returns what the caller gets for these bytes, or `None` if it is nothing yet.
    fn convert(&mut self, bytes: &Bytes) -> Option<Read> {
        let is_last = self.early.as_slice().is_empty() && self.upstream.is_end_stream();
        if let Some(out) = self.passage.translated(bytes, is_last) {
            // Nothing after an error is forwarded.
            let is_last = self.passage.has_sent_error() || is_last && !self.passage.is_incomplete();
            return (is_last || !out.is_empty()).then(|| Read::Bytes(out.into(), is_last));
        }
        let is_last = is_last && !self.passage.is_incomplete();
        let bytes = match &mut self.id_signer {
            Some(signer) => signer.push(bytes, is_last),
            None => bytes.clone(),
        };
        Some(Read::Bytes(bytes, is_last))
    }

    /// Returns what a translation still has to send after the provider's last byte.
    fn finish_translation(&mut self) -> Read {
        let rest = self.passage.finish();
        if rest.is_empty() { Read::End } else { Read::Bytes(rest.into(), true) }
    }

    /// Handles the regular end of the provider's response.
    fn upstream_ended(&mut self) -> Read {
        if self.passage.is_incomplete() {
            let rest = self.finish_translation();
            if self.passage.is_incomplete() {
                return self.broken("the provider's stream ended before the response was complete");
            }
            return rest;
        }
        let rest = self.id_signer.as_mut().map(|signer| signer.push(b"", true));
        rest.filter(|rest| !rest.is_empty()).map_or(Read::End, |rest| Read::Bytes(rest, true))
    }

    /// Handles an irregular end. The response counts as complete if its content is.
    fn broken(&mut self, why: &'static str) -> Read {
        let passage = &self.passage;
        if passage.is_stream() && (passage.is_finished() || passage.failure().is_some()) {
            let rest = self.finish_translation();
            if !self.passage.is_incomplete() {
                return rest;
            }
        }
        Read::Broken(Break::cut(why))
    }

    /// Handles a lost connection. A translated response is complete only with its closing event: token counts
    /// follow a stop, and without them the translation would report that there were none.
    fn upstream_failed(&mut self) -> Read {
        const WHY: &str = "the provider's stream broke off";
        if self.passage.is_translated() && self.passage.is_incomplete() {
            return Read::Broken(Break::cut(WHY));
        }
        self.broken(WHY)
    }

    /// Ends a stream with an error in the caller's format and without its closing event. Any other body is cut,
    /// which the caller sees by its length.
    fn break_off(&mut self, record: &mut Record, how: Break) -> Result<Bytes, Cut> {
        record.end = how.end;
        let Ending { bytes, breaks } = self.ending(how);
        self.ended = bytes.is_empty() || !breaks;
        if bytes.is_empty() {
            return Err(Cut);
        }
        if breaks {
            self.failing = Some(Failing::ChunkReturned);
        }
        record.bytes_out += bytes.len() as u64;
        Ok(bytes)
    }

    fn finish(&mut self, record: &mut Record) {
        self.ended = true;
        record.end = if self.passage.failure().is_some() { End::Cut } else { End::Complete };
    }

    /// Drops the provider's connection. RequestKind was observed stays known.
    pub(super) fn disconnect(&mut self) {
        self.upstream = ResponseBody::Buffered(Vec::new().into_iter());
    }

    /// Returns the error event that ends the response here, in the caller's format.
    pub(super) fn ending(&mut self, how: Break) -> Ending {
        self.passage.break_off(how.why)
    }

    /// Records the reasoning signatures in what goes to the caller.
    pub(super) fn record_signatures(&mut self, bytes: &[u8], record: &Record) {
        if let Some(signatures) = &mut self.signatures {
            signatures.push(bytes, record);
        }
    }

    /// Returns `Ready` when the provider has sent nothing for too long.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let pause = if self.passage.is_done() {
            AFTER_DONE.min(self.idle)
        } else if self.passage.is_finished() || self.passage.provider_failure().is_some() {
            AFTER_FINISHED.min(self.idle)
        } else {
            self.idle
        };
        let due = (self.last_chunk + pause).min(self.deadline);
        self.timer.poll(cx, due)
    }
}
