//! The body of an answer on its way to the caller: one chunk in, at most one out, no task and no
//! channel between. A slow caller slows the provider; a caller that leaves drops the connection to it.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

use super::alarm::Alarm;
use super::attempt::{Answered, Sealing};
use super::conn::Busy;
use super::ids::Signing;
use super::record::Record;
use super::rescue::Rescue;
use crate::observe::access::End;
use crate::upstream::ResponseBody;
use crate::wire::api::Framing;
use crate::wire::failure::class::Failure;
use crate::wire::failure::error_event::Ending;
use crate::wire::inspect::observer::ResponseObserver;
use crate::wire::translate::Translation;

/// How long a stream may stay open after its last event has come.
const AFTER_DONE: Duration = Duration::from_millis(500);
/// How long after its answer is whole but for the closing event, which some vendors never send; and after an
/// error, behind which some send one.
const AFTER_COMPLETE: Duration = Duration::from_secs(2);

/// No API has a longer event; a client would gather it for ever.
const LONGEST_EVENT: usize = 16 << 20;

/// The body of an answer. What is told of the request is told when it is dropped.
#[derive(Debug)]
pub(super) struct Body {
    kind: Kind,
    record: Option<Box<Record>>,
    busy: Option<Busy>,
}

#[derive(Debug)]
enum Kind {
    Whole(Option<Bytes>),
    Relay(Box<Relay>),
    Rescue(Box<Rescue>),
}

/// A provider's answer as it is passed on. What it reads says how it went; what is made of that is for
/// whoever reads it: [`Body`] passes it on as it comes, a rescue does not.
#[derive(Debug)]
pub(super) struct Relay {
    /// What was read of it before the caller's head was sent.
    early: std::vec::IntoIter<Bytes>,
    /// The rest.
    arriving: ResponseBody,
    /// Hears what passes; has heard `early`. Knows how the answer is framed, and so how it can be cut.
    pub(super) listener: ResponseObserver,
    /// Writes it anew, where the provider's format is not the caller's.
    translation: Option<Box<Translation>>,
    /// Signs the ids in it, where they belong to a key.
    signing: Option<Box<Signing>>,
    /// Notes the seals in it, where there are more keys than one.
    sealing: Option<Box<Sealing>>,
    /// The longest pause.
    idle: Duration,
    /// When all must be over.
    deadline: Instant,
    /// Rings when a pause is too long.
    alarm: Alarm,
    /// When the last byte came.
    last: Instant,
    /// Nothing more will be sent.
    ended: bool,
    /// The last word was said, and the body breaks off behind it.
    breaking: Option<Breaking>,
}

/// What is read of an answer.
#[derive(Debug)]
pub(super) enum Read {
    /// The next bytes; `true`: the last.
    Bytes(Bytes, bool),
    /// It is over, in order.
    End,
    /// It has come to an end that it did not announce.
    Broken(Break),
}

/// How an answer broke.
#[derive(Clone, Copy, Debug)]
pub(super) struct Break {
    /// As the access log has it.
    pub(super) end: End,
    /// In words.
    pub(super) why: &'static str,
    /// Whether the provider was silent for too long.
    pub(super) stalled: bool,
}

/// A body that breaks off behind its last word. hyper drops what it has not written when a body fails, so
/// it gets a turn to write between the two.
#[derive(Clone, Copy, Debug)]
enum Breaking {
    Said,
    Written,
}

/// An answer that had to be broken off; hyper closes the connection, so the caller sees it.
#[derive(Debug)]
pub(super) struct Cut;

impl Break {
    /// The drain time is over.
    pub(super) const STOPPED: Self =
        Self { end: End::Stopped, why: "the gateway is stopping", stalled: false };
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the provider's answer broke off")
    }
}

impl std::error::Error for Cut {}

impl Body {
    /// An answer of our own.
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self { kind: Kind::Whole(Some(bytes)), record: None, busy: None }
    }

    /// A provider's answer.
    pub(super) fn relay(relay: Relay) -> Self {
        Self { kind: Kind::Relay(Box::new(relay)), record: None, busy: None }
    }

    /// The answers of as many attempts as one stream takes.
    pub(super) fn rescue(rescue: Rescue) -> Self {
        Self { kind: Kind::Rescue(Box::new(rescue)), record: None, busy: None }
    }

    /// Ties the telling of the request, and its connection's being busy, to the body's life.
    pub(super) fn of(mut self, mut record: Box<Record>, busy: Busy) -> Self {
        if let Kind::Whole(Some(bytes)) = &self.kind {
            record.bytes_out = bytes.len() as u64;
        }
        match &mut self.kind {
            // It makes attempts of its own, which the record tells of.
            Kind::Rescue(rescue) => rescue.begin(record),
            Kind::Whole(_) | Kind::Relay(_) => self.record = Some(record),
        }
        self.busy = Some(busy);
        self
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let body = &mut *self;
        let next = match (&mut body.kind, body.record.as_deref_mut()) {
            (Kind::Whole(bytes), Some(_)) => Poll::Ready(bytes.take().map(Ok)),
            (Kind::Relay(relay), Some(record)) => relay.poll(cx, record),
            (Kind::Rescue(rescue), _) => rescue.poll(cx),
            (_, None) => Poll::Ready(None),
        };
        next.map(|next| next.map(|next| next.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Kind::Relay(relay) => relay.ended,
            Kind::Rescue(rescue) => rescue.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            // An error event may come on top of what the provider sends.
            Kind::Relay(relay) if relay.is_stream() || relay.signing.is_some() => {
                SizeHint::default()
            }
            Kind::Relay(relay) => relay.left(),
            Kind::Rescue(_) => SizeHint::default(),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let (Kind::Relay(relay), Some(record)) = (&self.kind, &mut self.record) {
            record.usage = relay.listener.usage();
        }
    }
}

impl Relay {
    /// Of an answer whose first bytes were read, and the head taken away.
    pub(super) fn new(
        answered: Answered,
        signing: Option<Box<Signing>>,
        sealing: Option<Sealing>,
    ) -> Self {
        let Answered { response, early, listener, translation, is_foreign: _, idle, deadline } =
            answered;
        Self {
            early: early.into_iter(),
            arriving: response.into_body(),
            listener,
            translation,
            signing,
            sealing: sealing.map(Box::new),
            idle,
            deadline,
            alarm: Alarm::default(),
            last: Instant::now(),
            ended: false,
            breaking: None,
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        record: &mut Record,
    ) -> Poll<Option<Result<Bytes, Cut>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match self.breaking {
            None => {}
            Some(Breaking::Said) => {
                self.breaking = Some(Breaking::Written);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(Breaking::Written) => {
                self.ended = true;
                return Poll::Ready(Some(Err(Cut)));
            }
        }
        Poll::Ready(match ready!(self.read(cx, record)) {
            Read::Bytes(bytes, is_last) => {
                record.first_byte();
                self.hear_seals(&bytes, record);
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

    /// How much of an answer is left that is passed on as it is.
    fn left(&self) -> SizeHint {
        let early: u64 = self.early.as_slice().iter().map(|bytes| bytes.len() as u64).sum();
        let arriving = self.arriving.size_hint();
        match arriving.exact() {
            Some(exact) => SizeHint::with_exact(early + exact),
            None => SizeHint::default(),
        }
    }

    /// What comes next.
    pub(super) fn read(&mut self, cx: &mut Context<'_>, record: &Record) -> Poll<Read> {
        while let Some(bytes) = self.early.next() {
            if let Some(read) = self.pass(&bytes) {
                return Poll::Ready(read);
            }
        }
        if record.live().is_cut() {
            return Poll::Ready(Read::Broken(Break::STOPPED));
        }
        loop {
            match Pin::new(&mut self.arriving).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers say nothing to callers of these APIs.
                    let Ok(bytes) = frame.into_data() else { continue };
                    self.last = Instant::now();
                    self.listener.hear(&bytes);
                    let bytes = self.without_key(bytes, record);
                    if self.last > self.deadline {
                        return Poll::Ready(self.broken("the answer took longer than allowed"));
                    }
                    if self.listener.open_event() > LONGEST_EVENT {
                        return Poll::Ready(self.broken("an event is longer than 16 MiB"));
                    }
                    if let Some(read) = self.pass(&bytes) {
                        return Poll::Ready(read);
                    }
                }
                Poll::Ready(None) => return Poll::Ready(self.clean_end()),
                Poll::Ready(Some(Err(_))) => {
                    return Poll::Ready(self.broken_off());
                }
                Poll::Pending => {
                    ready!(self.poll_silence(cx));
                    return Poll::Ready(match self.broken("the provider's stream stalled") {
                        Read::Broken(how) => Read::Broken(Break { stalled: true, ..how }),
                        end => end,
                    });
                }
            }
        }
    }

    /// Cuts the key out of an error within a stream. A frame of AWS is then damaged, which is told as an
    /// error too.
    fn without_key(&self, bytes: Bytes, record: &Record) -> Bytes {
        match record.tried {
            Some((provider, key)) if self.is_stream() && self.listener.failure().is_some() => {
                record.gateway().providers[provider].upstream.redact(key, bytes)
            }
            _ => bytes,
        }
    }

    /// Whether what was read last was the last there is.
    fn is_last(&self) -> bool {
        self.early.as_slice().is_empty() && self.arriving.is_end_stream() && !self.is_unfinished()
    }

    /// What these bytes are to the caller; `None`: nothing yet.
    fn pass(&mut self, bytes: &Bytes) -> Option<Read> {
        if let Some(translation) = &mut self.translation {
            let mut out = Vec::with_capacity(bytes.len());
            translation.push(bytes, &mut out);
            let at_end = self.early.as_slice().is_empty() && self.arriving.is_end_stream();
            if at_end {
                translation.end(&mut out);
            }
            // Of what may follow an error nothing would be passed on.
            let is_last = translation.failure().is_some() || at_end && translation.is_over();
            return (is_last || !out.is_empty()).then(|| Read::Bytes(out.into(), is_last));
        }
        let is_last = self.is_last();
        let bytes = match &mut self.signing {
            Some(signing) => signing.pass(bytes, is_last),
            None => bytes.clone(),
        };
        Some(Read::Bytes(bytes, is_last))
    }

    /// What is left to say where the provider has said all, written anew.
    fn rest(&mut self) -> Read {
        let mut out = Vec::new();
        if let Some(translation) = &mut self.translation {
            translation.end(&mut out);
        }
        if out.is_empty() { Read::End } else { Read::Bytes(out.into(), true) }
    }

    /// The provider has ended its answer in order.
    fn clean_end(&mut self) -> Read {
        if self.is_unfinished() {
            let rest = self.rest();
            if self.is_unfinished() {
                return self.broken("the provider's stream ended before its answer was whole");
            }
            return rest;
        }
        let rest = self.signing.as_mut().map(|signing| signing.pass(b"", true));
        rest.filter(|rest| !rest.is_empty()).map_or(Read::End, |rest| Read::Bytes(rest, true))
    }

    /// The provider's answer has come to an end that it did not announce.
    fn broken(&mut self, why: &'static str) -> Read {
        if self.is_stream() && (self.listener.finished() || self.failure().is_some()) {
            let rest = self.rest();
            if !self.is_unfinished() {
                return rest;
            }
        }
        Read::Broken(Break { end: End::Cut, why, stalled: false })
    }

    /// The connection broke. What comes behind a stop is counts, and written anew the answer would say that
    /// there were none: only the last event makes it whole.
    fn broken_off(&mut self) -> Read {
        const WHY: &str = "the provider's stream broke off";
        if self.translation.as_ref().is_some_and(|translation| !translation.is_over()) {
            return Read::Broken(Break { end: End::Cut, why: WHY, stalled: false });
        }
        self.broken(WHY)
    }

    /// A stream ends with an error in the caller's format and without its terminal event; any other body
    /// is cut, which the caller sees by its length.
    fn break_off(&mut self, record: &mut Record, how: Break) -> Result<Bytes, Cut> {
        record.end = how.end;
        let Ending { bytes, breaks } = self.ending(how);
        self.ended = bytes.is_empty() || !breaks;
        if bytes.is_empty() {
            return Err(Cut);
        }
        if breaks {
            self.breaking = Some(Breaking::Said);
        }
        record.bytes_out += bytes.len() as u64;
        Ok(bytes)
    }

    fn finish(&mut self, record: &mut Record) {
        self.ended = true;
        record.end = if self.failure().is_some() { End::Cut } else { End::Complete };
    }

    /// Leaves the provider with what is still to come. What was heard stays known.
    pub(super) fn leave(&mut self) {
        self.arriving = ResponseBody::Buffered(Vec::new().into_iter());
    }

    /// What ends the answer where it stands: an error in the caller's format.
    pub(super) fn ending(&mut self, how: Break) -> Ending {
        match &mut self.translation {
            Some(translation) => {
                let mut out = Vec::new();
                translation.cut(how.why, &mut out);
                Ending { bytes: out.into(), breaks: false }
            }
            None => self.listener.cut(how.why, "upstream_error"),
        }
    }

    /// The error that a stream has told.
    pub(super) fn failure(&self) -> Option<Failure> {
        let by_translation = self.translation.as_ref().and_then(|own| own.failure());
        by_translation.or(self.listener.failure()).filter(|_| self.is_stream())
    }

    /// Notes the seals in what goes to the caller.
    pub(super) fn hear_seals(&mut self, bytes: &[u8], record: &Record) {
        if let Some(sealing) = &mut self.sealing {
            sealing.hear(bytes, record);
        }
    }

    /// How the caller gets it framed.
    pub(super) fn framing(&self) -> Framing {
        match &self.translation {
            Some(translation) => translation.framing(),
            None => self.listener.framing(),
        }
    }

    fn is_stream(&self) -> bool {
        self.listener.framing().is_stream()
    }

    /// Whether a clean end now would make a cut stream look whole.
    fn is_unfinished(&self) -> bool {
        match &self.translation {
            Some(translation) => !translation.is_over(),
            None => {
                self.is_stream() && !self.listener.complete() && self.listener.failure().is_none()
            }
        }
    }

    /// Ready when the provider has been silent for too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let pause = if self.listener.done() {
            AFTER_DONE.min(self.idle)
        } else if self.listener.finished() || self.listener.failure().is_some() {
            AFTER_COMPLETE.min(self.idle)
        } else {
            self.idle
        };
        let due = (self.last + pause).min(self.deadline);
        self.alarm.poll(cx, due)
    }
}
