//! A provider's answer, streamed or whole -> events.

use std::time::SystemTime;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::wire::api::Api;
use crate::wire::failure::ProviderError;
use crate::wire::failure::classify::classify_told;
use crate::wire::format::quirks::Quirks;
use crate::wire::frame::Frame;
use crate::wire::inspect::token_counts::Tally;
use crate::wire::ir::block_writer::BlockWriter;
use crate::wire::ir::{Event, Kind, Piece, Stop};

/// Decodes a provider's stream: one text, without usage.
/// <https://replicate.com/docs/topics/predictions/streaming>
#[derive(Debug)]
pub struct Decoder {
    writer: BlockWriter,
}

#[derive(Deserialize)]
struct Problem {
    detail: String,
}

#[derive(Default, Deserialize)]
struct Done {
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Prediction<'p> {
    id: Option<String>,
    model: Option<String>,
    created_at: Option<String>,
    status: String,
    output: Option<Output>,
    error: Option<Value>,
    #[serde(borrow)]
    metrics: Option<&'p RawValue>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Output {
    Text(String),
    Texts(Vec<String>),
    Other(serde::de::IgnoredAny),
}

impl Decoder {
    /// All models of this format stream in the same way.
    pub fn new(_quirks: &'static Quirks) -> Decoder {
        Decoder { writer: BlockWriter::new(1) }
    }

    /// Decodes a frame. The data of an `output` event are plain text, in which every space counts.
    pub fn frame(&mut self, frame: Frame<'_>, out: &mut Vec<Event>) {
        let Frame::Event { name, data } = frame else { return };
        match name {
            b"output" => self.text(String::from_utf8_lossy(data).into_owned(), out),
            b"error" => match serde_json::from_slice(data) {
                Ok(Problem { detail }) => self.fail(&detail, out),
                Err(_) => self.fail(String::from_utf8_lossy(data).trim(), out),
            },
            b"done" => {
                let Done { reason } = serde_json::from_slice(data).unwrap_or_default();
                match reason.as_deref() {
                    None => self.stop(out),
                    Some("canceled") => self.fail("The prediction was canceled.", out),
                    Some(_) => self.fail("The prediction failed.", out),
                }
            }
            _ => {}
        }
    }

    /// The stream has ended in order. The last event is `done`, so a stream without it was cut.
    pub fn end(&mut self, _out: &mut Vec<Event>) {}

    fn prediction(&mut self, prediction: Prediction<'_>, out: &mut Vec<Event>) {
        let Prediction { id, model, created_at, status, output, error, metrics } = prediction;
        self.writer.start(id, model, created_at.and_then(|time| unix_time(&time)), out);
        match output {
            Some(Output::Text(text)) => self.text(text, out),
            Some(Output::Texts(texts)) => texts.into_iter().for_each(|text| self.text(text, out)),
            None => {}
            Some(Output::Other(_)) => {
                return self.fail("The prediction's output is not text.", out);
            }
        }
        match &*status {
            "succeeded" | "successful" => {
                if let Some(metrics) = metrics {
                    let mut tally = Tally::default();
                    tally.of_replicate(Some(metrics.get().as_bytes()));
                    out.push(Event::Usage(tally.usage()));
                }
                self.stop(out);
            }
            "starting" | "processing" => self.fail("The prediction is not done yet.", out),
            "canceled" | "aborted" => self.fail("The prediction was canceled.", out),
            _ => {
                let error = error.as_ref().and_then(Value::as_str);
                self.fail(error.unwrap_or("The prediction failed."), out);
            }
        }
    }

    fn text(&mut self, text: String, out: &mut Vec<Event>) {
        if let Some(block) = self.writer.continue_or_open(0, Kind::Text, out) {
            self.writer.extend(block, Piece::Text(text), out);
        }
    }

    /// The API does not report why the model stopped.
    fn stop(&mut self, out: &mut Vec<Event>) {
        self.writer.stop(0, Stop::End, None, None, out);
        self.writer.end(out);
    }

    fn fail(&mut self, message: &str, out: &mut Vec<Event>) {
        let body = json!({ "detail": message }).to_string();
        let failure = classify_told(Api::Replicate, body.as_bytes());
        let error = ProviderError { failure, ..ProviderError::malformed(message) };
        self.writer.fail(error, out);
    }
}

fn unix_time(rfc3339: &str) -> Option<u64> {
    let time = humantime::parse_rfc3339_weak(rfc3339).ok()?;
    time.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// Decodes a prediction. `Prefer: wait` waits for a minute at most; a prediction that is not done by then fails.
pub fn decode_whole(body: &[u8], quirks: &'static Quirks) -> Vec<Event> {
    let (mut decoder, mut out) = (Decoder::new(quirks), Vec::new());
    match serde_json::from_slice(body) {
        Ok(prediction) => decoder.prediction(prediction, &mut out),
        Err(_) => match serde_json::from_slice(body) {
            Ok(Problem { detail }) => decoder.fail(&detail, &mut out),
            Err(_) => decoder.fail("The provider's answer cannot be read.", &mut out),
        },
    }
    out
}
