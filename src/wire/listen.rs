//! Listening to an answer on its way through, for its usage, its errors and its end.
//!
//! The listener changes nothing and delays nothing. What it cannot read costs the usage figure and
//! nothing else: it goes on watching for the end.
//!
//! A stream is a few hundred small events of which two or three matter, so an event is first searched for
//! the few words that can matter. Within JSON a quote in a text is written `\"`, so `"usage"` with both its
//! quotes is never part of a longer text: it is a whole string, and with a colon behind it a key. Only then,
//! and only if its value is not `null`, are members picked out.

mod catch;
mod cut;
mod last;
mod usage;

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;

use self::catch::Catch;
use self::last::LastUsage;
use super::Operation;
use super::failure::{Failure, classify_in_stream};
use super::frame::sse::{Event, Frame, Sse, field, next_line};
use super::ir::Usage;
use super::scan::members;

pub use cut::error_event;

/// An event longer than this that comes in several chunks is not gathered but scanned as it passes: images
/// in base64, or a response that repeats its long instructions. Of such an event choices are not read.
const GATHERED: usize = 256 * 1024;

/// Chunks at the beginning that are searched for other choices than the first. Choices are sampled side
/// by side, so all have shown themselves by then; later a chunk is read only when some choice has ended.
const WATCHED: u32 = 32;

/// Hears one answer. See the module.
#[derive(Debug)]
pub struct Listener {
    ear: Ear,
    heard: Heard,
}

#[derive(Debug)]
enum Ear {
    /// Server-sent events, and the one that is too long to be gathered.
    Stream { sse: Sse, long: Option<Box<Long>> },
    /// One JSON object, or something else, which then tells nothing.
    Whole(LastUsage),
}

impl Listener {
    /// For the answer to `operation`; `streamed` says that it is `text/event-stream`.
    pub fn new(operation: Operation, streamed: bool) -> Listener {
        let ear = if streamed {
            Ear::Stream { sse: Sse::new(GATHERED), long: None }
        } else {
            Ear::Whole(LastUsage::default())
        };
        Listener { ear, heard: Heard::new(operation) }
    }

    /// Takes the next bytes of the answer.
    pub fn hear(&mut self, bytes: &[u8]) {
        let heard = &mut self.heard;
        match &mut self.ear {
            Ear::Whole(last) => {
                heard.begun |= !bytes.is_empty();
                last.hear(bytes);
            }
            Ear::Stream { sse, long } => sse.push(bytes, |frame| match frame {
                Frame::Event(event) => heard.event(&event),
                Frame::Long { bytes, last } => {
                    heard.begun = true;
                    match long {
                        Some(long) => long.catch.hear(bytes),
                        None => *long = Some(Box::new(Long::open(bytes))),
                    }
                    if last && let Some(long) = long.take() {
                        heard.said(&long.said());
                    }
                }
            }),
        }
    }

    /// Whether the answer has begun: an event with data that is no ping, or any byte of an answer that is
    /// no stream.
    pub fn begun(&self) -> bool {
        self.heard.begun
    }

    /// The first error that the stream carried.
    pub fn failure(&self) -> Option<Failure> {
        self.heard.failure
    }

    /// Whether the answer would be whole if it ended here: the provider has said its end, or speaks in
    /// events that are unknown here. Of an answer that is no stream, HTTP itself says whether it is whole.
    pub fn complete(&self) -> bool {
        match self.ear {
            Ear::Whole(_) => true,
            Ear::Stream { .. } => self.heard.complete(),
        }
    }

    /// Whether the provider has said its end: nothing that matters can follow. Other than
    /// [`Listener::complete`], it never holds of a stream whose events are unknown here.
    pub fn finished(&self) -> bool {
        match self.ear {
            Ear::Whole(_) => false,
            Ear::Stream { .. } => self.heard.finished(),
        }
    }

    /// Whether the event that ends the stream was seen, `[DONE]` or the operation's own.
    pub fn done(&self) -> bool {
        self.heard.done
    }

    /// Whether the stream stands between two events, so that another can be put behind it.
    pub fn at_boundary(&self) -> bool {
        match &self.ear {
            Ear::Stream { sse, .. } => !sse.pending(),
            Ear::Whole(_) => false,
        }
    }

    /// The tokens that the provider has counted so far.
    pub fn usage(&self) -> Usage {
        match &self.ear {
            Ear::Whole(last) => usage::read(last.object()),
            Ear::Stream { .. } => usage::read(&self.heard.usage),
        }
    }
}

/// The first event of a stream that holds an error, as written: what the answer would have been, had the
/// provider said it with a status.
pub fn error_told(stream: &[u8]) -> Option<Vec<u8>> {
    let mut told = None;
    Sse::new(GATHERED).push(stream, |frame| {
        if let (Frame::Event(event), None) = (frame, &told)
            && let [Some(error)] = members(&event.data, ["error"])
            && error.starts_with(b"{")
        {
            told = Some(event.data.trim_ascii().to_vec());
        }
    });
    told
}

/// What a stream has told so far.
#[derive(Debug)]
struct Heard {
    /// Whether events are chunks with choices, or carry a type.
    choices: bool,
    begun: bool,
    /// An event of the operation's own form was seen.
    known: bool,
    done: bool,
    failure: Option<Failure>,
    /// Chunks of choices heard.
    chunks: u32,
    /// The choices that have come, and those that have a finish reason, one bit each.
    seen: u128,
    closed: u128,
    /// The last usage object, as written.
    usage: Vec<u8>,
}

/// What one event says, each value as written.
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
            begun: false,
            known: false,
            done: false,
            failure: None,
            chunks: 0,
            seen: 0,
            closed: 0,
            usage: Vec::new(),
        }
    }

    fn finished(&self) -> bool {
        let all_closed = self.closed != 0 && self.seen & !self.closed == 0;
        self.done || all_closed
    }

    fn complete(&self) -> bool {
        self.finished() || (self.begun && !self.known && self.failure.is_none())
    }

    fn event(&mut self, event: &Event<'_>) {
        let data = event.data.trim_ascii();
        if data.is_empty() || event.name == b"ping" {
            return;
        }
        self.begun = true;
        if data.starts_with(b"[DONE]") {
            self.done = true;
            return;
        }
        if self.choices {
            self.chunk(event.name, data);
        } else {
            self.typed(event.name, data);
        }
    }

    /// A `chat.completion.chunk` or `text_completion`.
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
        }
    }

    fn read_choices(&mut self, data: &[u8]) {
        let [Some(choices)] = members(data, ["choices"]) else { return };
        self.known = true;
        for choice in serde_json::from_slice::<Vec<Choice<'_>>>(choices).unwrap_or_default() {
            // OpenAI allows 128 choices; what lies beyond is not watched.
            let bit =
                u32::try_from(choice.index.unwrap_or(0)).ok().and_then(|n| 1u128.checked_shl(n));
            let bit = bit.unwrap_or(0);
            self.seen |= bit;
            // An empty reason is some vendors' null.
            if choice.finish_reason.is_some_and(|reason| reason.get() != r#""""#) {
                self.closed |= bit;
            }
        }
    }

    /// An event of the Responses API, or of streamed speech, transcripts and images.
    fn typed(&mut self, name: &[u8], data: &[u8]) {
        if is_known(name) && !is_last(name) {
            self.known = true;
            return;
        }
        let [kind, usage, error, response] = members(data, ["type", "usage", "error", "response"]);
        let inner = response.map(|response| members(response, ["usage", "error"]));
        let [inner_usage, inner_error] = inner.unwrap_or_default();
        let kind = if matches!(name, b"" | b"message") { as_text(kind) } else { name };
        let usage = usage.or(inner_usage);
        self.said(&Said { kind, usage, error: error_of(kind, error, inner_error, data) });
    }

    fn said(&mut self, said: &Said<'_>) {
        self.known |= is_known(said.kind);
        self.done |= is_last(said.kind);
        let usage = said.usage.filter(|usage| usage.starts_with(b"{"));
        if let Some(usage) = usage.filter(|usage| usage.len() <= usage::LONGEST) {
            self.usage.clear();
            self.usage.extend_from_slice(usage);
        }
        let error = said.error.filter(|error| !matches!(*error, b"null" | b"false" | b"\"\""));
        if self.failure.is_none() {
            self.failure = error.map(classify_in_stream);
        }
    }
}

/// Kinds of events that are this API's own.
fn is_known(kind: &[u8]) -> bool {
    [&b"response."[..], b"speech.", b"transcript.", b"image_"]
        .iter()
        .any(|prefix| kind.starts_with(prefix))
}

/// Kinds of events that say that nothing is missing.
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

/// The error of an event. OpenAI's specification puts code and message of an `error` event beside its type,
/// its servers put them under `error`; a failed response has them within.
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

/// A string without its quotes.
fn as_text(value: Option<&[u8]>) -> &[u8] {
    match value {
        Some([b'"', text @ .., b'"']) => text,
        _ => &[],
    }
}

#[derive(Deserialize)]
struct Choice<'d> {
    #[serde(default)]
    index: Option<u64>,
    #[serde(default, borrow)]
    finish_reason: Option<&'d RawValue>,
}

/// An event that is scanned as it passes.
#[derive(Debug)]
struct Long {
    name: Vec<u8>,
    catch: Catch,
}

impl Long {
    /// From the first piece, in which all lines before the data stand.
    fn open(piece: &[u8]) -> Self {
        let mut long = Self { name: Vec::new(), catch: Catch::default() };
        let mut rest = piece;
        while !rest.is_empty() {
            let here = rest;
            match field(next_line(&mut rest)) {
                (b"event", name) => long.name = name.to_vec(),
                (b"data", _) => {
                    long.catch.hear(&here[b"data:".len()..]);
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

/// A key that can matter.
struct Key(Finder<'static>);

static USAGE: LazyLock<Key> = LazyLock::new(|| Key(Finder::new(r#""usage""#)));
static FINISH: LazyLock<Key> = LazyLock::new(|| Key(Finder::new(r#""finish_reason""#)));
static INDEX: LazyLock<Key> = LazyLock::new(|| Key(Finder::new(r#""index""#)));
static ERROR: LazyLock<Key> = LazyLock::new(|| Key(Finder::new(r#""error""#)));

impl Key {
    /// Whether `data` has this key anywhere with another value than `usual`.
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
            // The same key once more is in another object, which begins behind here. To look for its
            // bracket first is cheaper than to search the few bytes that mostly follow.
            if !rest.contains(&b'{') {
                return false;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests;
