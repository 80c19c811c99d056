//! Observes the streams of Gemini: `GenerateContentResponse`s as server-sent events or as the elements of
//! an array. <https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent>

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;

use super::GATHERED;
use super::last_value::LastValue;
use super::progress::{Progress, StreamError};
use crate::wire::api::Api;
use crate::wire::failure::classify::classify_error_body;
use crate::wire::frame::json_array;
use crate::wire::frame::json_array::{Elements, Position};
use crate::wire::frame::sse::{Frame, Sse};
use crate::wire::inspect::token_counts::Tally;
use crate::wire::json::walk::members;

static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(r#""usageMetadata""#));
static FINISH: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(r#""finishReason""#));

/// Responses, each a part of the whole response.
#[derive(Debug)]
pub(crate) struct Stream {
    frames: Frames,
    long: Option<Box<Long>>,
    heard: Heard,
}

#[derive(Debug)]
enum Frames {
    Events(Sse),
    Array(Elements),
}

impl Stream {
    pub(crate) fn of_events() -> Self {
        Self::new(Frames::Events(Sse::new(GATHERED)))
    }

    pub(crate) fn of_array() -> Self {
        Self::new(Frames::Array(Elements::new(GATHERED)))
    }

    fn new(frames: Frames) -> Self {
        Self { frames, long: None, heard: Heard::default() }
    }

    pub(crate) fn observe(&mut self, bytes: &[u8]) {
        let Self { frames, long, heard } = self;
        match frames {
            Frames::Events(sse) => sse.push(bytes, |frame| match frame {
                Frame::Event(event) => heard.response(event.data.trim_ascii()),
                Frame::Long { bytes, last } => heard.piece(long, bytes, last),
            }),
            Frames::Array(elements) => {
                elements.push(bytes, |element| match element {
                    json_array::Element::Whole(response) => heard.response(response),
                    json_array::Element::Piece { bytes, last } => heard.piece(long, bytes, last),
                });
                match elements.position() {
                    Position::End => heard.progress.done = true,
                    // The body is not an array; only HTTP shows if it is complete.
                    Position::Malformed => {
                        heard.progress.begun = true;
                        heard.progress.whole = !heard.progress.known;
                    }
                    Position::Start
                    | Position::First
                    | Position::Within
                    | Position::After
                    | Position::Next => {
                        heard.progress.whole = false;
                    }
                }
            }
        }
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.heard.progress
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.heard.tally
    }

    pub(crate) fn open(&self) -> usize {
        match &self.frames {
            Frames::Events(sse) => sse.open(),
            Frames::Array(elements) => elements.open(),
        }
    }

    pub(crate) fn at_boundary(&self) -> bool {
        match &self.frames {
            Frames::Events(sse) => !sse.pending(),
            Frames::Array(elements) => match elements.position() {
                Position::Start | Position::First | Position::After | Position::Next => true,
                Position::Within | Position::End | Position::Malformed => false,
            },
        }
    }

    /// Returns the bytes that must precede the next element.
    pub(crate) fn separator(&self) -> &'static [u8] {
        match &self.frames {
            Frames::Events(_) => b"",
            Frames::Array(elements) => match elements.position() {
                Position::Start => b"[",
                Position::After => b",\n",
                Position::First
                | Position::Within
                | Position::Next
                | Position::End
                | Position::Malformed => b"",
            },
        }
    }
}

#[derive(Debug, Default)]
struct Heard {
    progress: Progress,
    tally: Tally,
    /// The candidates seen so far, and those whose last part had a finish reason, one bit each.
    seen: u64,
    closed: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'d> {
    #[serde(default)]
    index: u32,
    #[serde(default, borrow)]
    finish_reason: Option<&'d serde_json::value::RawValue>,
}

impl Heard {
    fn response(&mut self, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        let [candidates, usage, feedback, error] =
            members(data, ["candidates", "usageMetadata", "promptFeedback", "error"]);
        self.progress.begun = true;
        self.tally.of_gemini(usage);
        if error.is_some_and(|error| error.starts_with(b"{")) {
            self.progress.fail(classify_error_body(Api::Gemini, data), StreamError::body(data));
        }
        if let Some(candidates) = candidates {
            self.progress.known = true;
            for candidate in
                serde_json::from_slice::<Vec<Candidate<'_>>>(candidates).unwrap_or_default()
            {
                self.candidate(candidate.index, candidate.finish_reason.is_some());
            }
        }
        // A blocked prompt has no candidates.
        if let Some([Some(_)]) = feedback.map(|feedback| members(feedback, ["blockReason"])) {
            self.progress.known = true;
            self.progress.whole = true;
        }
    }

    /// Records a part of a candidate. Some models send a finish reason in every part, so it counts only
    /// until the next part.
    fn candidate(&mut self, index: u32, finished: bool) {
        // The API allows eight candidates.
        let bit = 1u64.checked_shl(index).unwrap_or(0);
        self.seen |= bit;
        self.closed = if finished { self.closed | bit } else { self.closed & !bit };
        self.progress.whole = self.closed != 0 && self.seen & !self.closed == 0;
    }

    /// Reads a piece of a response that is too long to be gathered: it contains an image.
    fn piece(&mut self, long: &mut Option<Box<Long>>, bytes: &[u8], last: bool) {
        self.progress.begun = true;
        self.progress.known = true;
        let open = long.get_or_insert_default();
        open.usage.observe(bytes);
        open.finish.observe(bytes);
        if last && let Some(open) = long.take() {
            self.tally.of_gemini(Some(open.usage.object()));
            let reason = open.finish.object().trim_ascii_start();
            self.candidate(0, reason.starts_with(b"\"") || reason.starts_with(b"1"));
        }
    }
}

/// The members read from a long response. A tool call's arguments can contain the same keys; this error is
/// accepted.
#[derive(Debug)]
struct Long {
    usage: LastValue,
    finish: LastValue,
}

impl Default for Long {
    fn default() -> Self {
        Self { usage: LastValue::of(&USAGE), finish: LastValue::of(&FINISH) }
    }
}
