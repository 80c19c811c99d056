//! Observes the streams of OpenAI and of compatible providers: chunks with choices, or events with a type.
//!
//! A stream is a few hundred small events, of which two or three are relevant, so each event is first
//! searched for a few keys. Within a JSON string a quote is written `\"`, so `"usage"` with both quotes is
//! never part of a longer string: it is a whole string, and with a colon after it, a key. Members are
//! parsed only after a match whose value is not `null`.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::capture::MemberCapture;
use super::progress::{Progress, StreamError};
use super::{GATHERED, as_text};
use crate::wire::api::Operation;
use crate::wire::failure::classify::classify_stream_error;
use crate::wire::frame::sse::{Event, Frame, Sse, field, next_line};
use crate::wire::inspect::usage;
use crate::wire::inspect::usage::Usage;
use crate::wire::json::walk::members;

/// The number of first chunks that are searched for choices other than the first. Choices are sampled in
/// parallel, so all have appeared by then; later a chunk is read only if a choice has ended.
const WATCHED: u32 = 32;

/// Server-sent events, and the current event that is too long to be gathered.
#[derive(Debug)]
pub(crate) struct Stream {
    sse: Sse,
    long: Option<Box<Long>>,
    heard: Heard,
}

impl Stream {
    pub(crate) fn new(operation: Operation) -> Self {
        Self { sse: Sse::new(GATHERED), long: None, heard: Heard::new(operation) }
    }

    pub(crate) fn observe(&mut self, bytes: &[u8]) {
        let Self { sse, long, heard } = self;
        sse.push(bytes, |frame| match frame {
            Frame::Event(event) => heard.event(&event),
            Frame::Long { bytes, last } => {
                heard.progress.begun = true;
                match long {
                    Some(long) => long.catch.observe(bytes),
                    None => *long = Some(Box::new(Long::open(bytes))),
                }
                if last && let Some(long) = long.take() {
                    heard.said(&long.said());
                }
            }
        });
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.heard.progress
    }

    pub(crate) fn open(&self) -> usize {
        self.sse.open()
    }

    pub(crate) fn at_boundary(&self) -> bool {
        !self.sse.pending()
    }

    pub(crate) fn usage(&self) -> Usage {
        usage::read(&self.heard.usage)
    }
}

/// The state collected from the stream so far.
#[derive(Debug)]
struct Heard {
    /// True if events are chunks with choices, false if they carry a type.
    choices: bool,
    progress: Progress,
    /// The number of chunks with choices read so far.
    chunks: u32,
    /// The choices seen so far, and those that have a finish reason, one bit each.
    seen: u128,
    closed: u128,
    /// The last usage object, as written.
    usage: Vec<u8>,
}

/// The relevant members of one event, each value as written.
#[derive(Debug, Default)]
struct Said<'e> {
    kind: &'e [u8],
    usage: Option<&'e [u8]>,
    error: Option<&'e [u8]>,
}

impl Heard {
    fn new(operation: Operation) -> Self {
        Self {
            choices: matches!(operation, Operation::Chat | Operation::Completions),
            progress: Progress::default(),
            chunks: 0,
            seen: 0,
            closed: 0,
            usage: Vec::new(),
        }
    }

    fn event(&mut self, event: &Event<'_>) {
        let data = event.data.trim_ascii();
        if data.is_empty() || event.name == b"ping" {
            return;
        }
        if data.starts_with(b"[DONE]") {
            self.progress.begun = true;
            self.progress.done = true;
            return;
        }
        if self.choices {
            self.progress.begun = true;
            self.chunk(event.name, data);
        } else {
            self.typed(event.name, data);
        }
    }

    /// Reads a `chat.completion.chunk` or `text_completion`.
    fn chunk(&mut self, name: &[u8], data: &[u8]) {
        self.chunks = self.chunks.saturating_add(1);
        if self.seen & 1 == 0
            || self.closed != 0
            || FINISH.is_told(data, b"null")
            || (self.chunks <= WATCHED && INDEX.is_told(data, b"0"))
        {
            self.read_choices(data);
        }
        let error = name == b"error" || ERROR.is_told(data, b"null");
        if error || USAGE.is_told(data, b"null") {
            let [usage, groq, error] = members(data, ["usage", "x_groq", "error"]);
            let usage = usage.filter(|usage| *usage != b"null");
            let usage = usage.or_else(|| groq.and_then(|groq| members(groq, ["usage"])[0]));
            let error = if name == b"error" { error.or(Some(data)) } else { error };
            self.said(&Said { kind: b"", usage, error });
            self.keep(data);
        }
    }

    fn read_choices(&mut self, data: &[u8]) {
        let [Some(choices)] = members(data, ["choices"]) else { return };
        self.progress.known = true;
        for choice in serde_json::from_slice::<Vec<Choice<'_>>>(choices).unwrap_or_default() {
            // OpenAI allows 128 choices; higher indexes are not tracked.
            let bit =
                u32::try_from(choice.index.unwrap_or(0)).ok().and_then(|n| 1u128.checked_shl(n));
            let bit = bit.unwrap_or(0);
            self.seen |= bit;
            // Some vendors send an empty reason in place of null.
            if choice.finish_reason.is_some_and(|reason| reason.get() != r#""""#) {
                self.closed |= bit;
            }
        }
        self.progress.closed = self.closed != 0 && self.seen & !self.closed == 0;
    }

    /// Reads an event of the Responses API, or of streamed speech, transcripts and images.
    fn typed(&mut self, name: &[u8], data: &[u8]) {
        if is_known(name) && !is_last(name) {
            self.progress.known = true;
            self.progress.begun |= !is_opening(name);
            return;
        }
        let [kind, usage, error, response] = members(data, ["type", "usage", "error", "response"]);
        let inner = response.map(|response| members(response, ["usage", "error"]));
        let [inner_usage, inner_error] = inner.unwrap_or_default();
        let kind = if matches!(name, b"" | b"message") { as_text(kind) } else { name };
        let usage = usage.or(inner_usage);
        self.progress.begun |= !is_opening(kind);
        self.said(&Said { kind, usage, error: error_of(kind, error, inner_error, data) });
        self.keep(data);
    }

    fn said(&mut self, said: &Said<'_>) {
        self.progress.known |= is_known(said.kind);
        self.progress.done |= is_last(said.kind);
        let usage = said.usage.filter(|usage| usage.starts_with(b"{"));
        if let Some(usage) = usage.filter(|usage| usage.len() <= usage::LONGEST) {
            self.usage.clear();
            self.usage.extend_from_slice(usage);
        }
        let error = said.error.filter(|error| !matches!(*error, b"null" | b"false" | b"\"\""));
        if self.progress.failure.is_none() {
            self.progress.failure = error.map(classify_stream_error);
        }
    }

    /// Keeps the event with the failure if it has the form of an error response.
    fn keep(&mut self, data: &[u8]) {
        if self.progress.failure.is_some()
            && self.progress.error.is_none()
            && let [Some(error)] = members(data, ["error"])
            && error.starts_with(b"{")
        {
            self.progress.error = Some(StreamError::body(data));
        }
    }
}

/// Returns true if this API defines the event type.
fn is_known(kind: &[u8]) -> bool {
    [&b"response."[..], b"speech.", b"transcript.", b"image_"]
        .iter()
        .any(|prefix| kind.starts_with(prefix))
}

/// Returns true for event types that precede the model's first output; an error can still follow them.
fn is_opening(kind: &[u8]) -> bool {
    matches!(kind, b"response.created" | b"response.queued" | b"response.in_progress")
}

/// Returns true for event types that complete the stream.
fn is_last(kind: &[u8]) -> bool {
    matches!(
        kind,
        b"response.completed"
            | b"response.incomplete"
            | b"response.failed"
            | b"speech.audio.done"
            | b"transcript.text.done"
            | b"image_generation.completed"
            | b"image_edit.completed"
    )
}

/// Returns the error of an event. In an `error` event, OpenAI's specification puts code and message next to
/// the type, but its servers put them under `error`; a failed response contains them in an inner object.
fn error_of<'e>(
    kind: &[u8],
    error: Option<&'e [u8]>,
    inner: Option<&'e [u8]>,
    data: &'e [u8],
) -> Option<&'e [u8]> {
    match kind {
        b"error" => error.or(Some(data)),
        b"response.failed" => error.or(inner).or(Some(data)),
        _ => error,
    }
}

#[derive(Deserialize)]
struct Choice<'d> {
    #[serde(default)]
    index: Option<u64>,
    #[serde(default, borrow)]
    finish_reason: Option<&'d RawValue>,
}

/// An event that is scanned in pieces as it arrives.
#[derive(Debug)]
struct Long {
    name: Vec<u8>,
    catch: MemberCapture,
}

impl Long {
    /// Creates the scan from the first piece, which contains all lines before the data.
    fn open(piece: &[u8]) -> Self {
        let mut long = Self { name: Vec::new(), catch: MemberCapture::default() };
        let mut rest = piece;
        while !rest.is_empty() {
            let here = rest;
            match field(next_line(&mut rest)) {
                (b"event", name) => long.name = name.to_vec(),
                (b"data", _) => {
                    long.catch.observe(&here[b"data:".len()..]);
                    break;
                }
                _ => {}
            }
        }
        long
    }

    fn said(&self) -> Said<'_> {
        let caught = &self.catch;
        let kind = if self.name.is_empty() { as_text(caught.kind()) } else { &self.name };
        let error = error_of(kind, caught.error(), caught.inner_error(), b"{}");
        Said { kind, usage: caught.usage(), error }
    }
}

/// A key that can be relevant.
struct Key(Finder<'static>);

static USAGE: LazyLock<Key> = LazyLock::new(|| Key(Finder::new(r#""usage""#)));
static FINISH: LazyLock<Key> = LazyLock::new(|| Key(Finder::new(r#""finish_reason""#)));
static INDEX: LazyLock<Key> = LazyLock::new(|| Key(Finder::new(r#""index""#)));
static ERROR: LazyLock<Key> = LazyLock::new(|| Key(Finder::new(r#""error""#)));

impl Key {
    /// Returns true if `data` contains this key anywhere with a value other than `usual`.
    fn is_told(&self, data: &[u8], usual: &[u8]) -> bool {
        let mut rest = data;
        while let Some(at) = self.0.find(rest) {
            rest = &rest[at + self.0.needle().len()..];
            if let Some(value) = rest.trim_ascii_start().strip_prefix(b":") {
                match value.trim_ascii_start().strip_prefix(usual) {
                    Some([b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n', ..]) => {}
                    _ => return true,
                }
            }
            // A second occurrence of the key is in another object, which begins after this point. A search
            // for its bracket is cheaper than a search of the few bytes that usually follow.
            if !rest.contains(&b'{') {
                return false;
            }
        }
        false
    }
}
