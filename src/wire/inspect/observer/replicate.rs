//! Observes the streams of Replicate's predictions.
//! <https://replicate.com/docs/topics/predictions/streaming>

use serde_json::json;

use super::progress::{Progress, StreamError};
use super::{GATHERED, as_text, name_of_long};
use crate::wire::api::Api;
use crate::wire::failure::classify::classify_error_body;
use crate::wire::frame::sse::{Event, Frame, Sse};
use crate::wire::json::walk::members;

/// Server-sent events named `output`, `logs`, `error` and `done`; the data of the first two is text. The
/// events contain no token counts.
#[derive(Debug)]
pub(crate) struct Stream {
    sse: Sse,
    progress: Progress,
}

impl Stream {
    pub(crate) fn new() -> Self {
        Self { sse: Sse::new(GATHERED), progress: Progress::default() }
    }

    pub(crate) fn observe(&mut self, bytes: &[u8]) {
        let Self { sse, progress } = self;
        sse.push(bytes, |frame| match frame {
            Frame::Event(event) => hear_event(progress, &event),
            Frame::Long { bytes, .. } => {
                progress.begun = true;
                progress.known |= name_of_long(bytes) == b"output";
            }
        });
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    pub(crate) fn open(&self) -> usize {
        self.sse.open()
    }

    pub(crate) fn at_boundary(&self) -> bool {
        !self.sse.pending()
    }
}

fn hear_event(progress: &mut Progress, event: &Event<'_>) {
    match event.name {
        b"output" | b"logs" => {
            progress.begun = true;
            progress.known = true;
        }
        b"done" => {
            progress.begun = true;
            progress.known = true;
            progress.done = true;
            // `{}`, or the reason of a failure: `{"reason":"error"}` after an `error`, or `canceled`.
            if as_text(members(&event.data, ["reason"])[0]) == b"error" {
                fail(progress, b"The prediction failed.");
            }
        }
        b"error" => fail(progress, &event.data),
        _ => progress.begun = true,
    }
}

/// Records the failure of an `error` event, whose data is a text or an object with a `detail`.
fn fail(progress: &mut Progress, data: &[u8]) {
    let data = data.trim_ascii();
    let body = if let [Some(_)] = members(data, ["detail"]) {
        data.to_vec()
    } else {
        json!({ "detail": String::from_utf8_lossy(data) }).to_string().into_bytes()
    };
    progress.fail(classify_error_body(Api::Replicate, &body), StreamError { body, kind: None });
}
