//! An answer, streamed or whole -> events.

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
use crate::wire::ir::{Event, Kind, Piece, Stop};

/// Makes events of a provider's stream: one text, and nothing counted.
/// <https://replicate.com/docs/topics/predictions/streaming>
#[derive(Debug, Default)]
pub struct Decoder {
    started: bool,
    open: bool,
    over: bool,
}

impl Decoder {
    /// Models of this format are many, and their streams are one.
    pub fn new(_quirks: &'static Quirks) -> Decoder {
        Decoder::default()
    }

    /// Takes a frame, and gives what it tells. The data of an `output` are text, in which every space counts.
    pub fn frame(&mut self, frame: Frame<'_>, out: &mut Vec<Event>) {
        let Frame::Event { name, data } = frame else { return };
        if self.over {
            return;
        }
        match name {
            b"output" => self.text(&String::from_utf8_lossy(data), out),
            b"error" => {
                let text = String::from_utf8_lossy(data);
                let told: Option<Value> = serde_json::from_slice(data).ok();
                let detail = told.as_ref().and_then(|told| told.get("detail")?.as_str());
                self.fail(detail.unwrap_or(text.trim()), out);
            }
            b"done" => {
                let told: Value = serde_json::from_slice(data).unwrap_or_default();
                match told["reason"].as_str() {
                    None => self.done(out),
                    Some("canceled") => self.fail("The prediction was canceled.", out),
                    Some(_) => self.fail("The prediction failed.", out),
                }
            }
            _ => {}
        }
    }

    /// Behind its last event nothing is owed.
    pub fn end(&mut self, _out: &mut Vec<Event>) {}

    fn begin(&mut self, head: Event, out: &mut Vec<Event>) {
        if !self.started {
            self.started = true;
            out.push(head);
        }
    }

    fn text(&mut self, text: &str, out: &mut Vec<Event>) {
        self.begin(Event::Start { id: None, model: None, created: None }, out);
        if !self.open {
            self.open = true;
            out.push(Event::Open { block: 0, candidate: 0, kind: Kind::Text });
        }
        if !text.is_empty() {
            out.push(Event::Delta { block: 0, piece: Piece::Text(text.to_owned()) });
        }
    }

    /// Why the model stopped, nobody says.
    fn done(&mut self, out: &mut Vec<Event>) {
        self.begin(Event::Start { id: None, model: None, created: None }, out);
        if self.open {
            out.push(Event::Close { block: 0 });
        }
        self.over = true;
        out.push(Event::Stop { candidate: 0, why: Stop::End, raw: None, sequence: None });
        out.push(Event::End);
    }

    fn fail(&mut self, message: &str, out: &mut Vec<Event>) {
        self.over = true;
        let body = json!({ "detail": message }).to_string();
        out.push(Event::Fail(ProviderError {
            failure: classify_told(Api::Replicate, body.as_bytes()),
            status: None,
            kind: None,
            code: None,
            param: None,
            message: message.to_owned(),
        }));
    }
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

#[derive(Deserialize)]
struct Problem {
    detail: Option<String>,
}

/// Makes events of a prediction. One that is not done yet (`Prefer: wait` waits for a minute at most) is no
/// whole answer, and fails as one.
pub fn decode_whole(body: &[u8], quirks: &'static Quirks) -> Vec<Event> {
    let mut out = Vec::new();
    let mut decoder = Decoder::new(quirks);
    let Ok(prediction) = serde_json::from_slice::<Prediction<'_>>(body) else {
        let detail = serde_json::from_slice(body).ok().and_then(|Problem { detail }| detail);
        decoder
            .fail(detail.as_deref().unwrap_or("The provider's answer cannot be read."), &mut out);
        return out;
    };
    let Prediction { id, model, created_at, status, output, error, metrics } = prediction;
    let time = created_at.and_then(|time| humantime::parse_rfc3339_weak(&time).ok());
    let created = time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    let created = created.map(|since| since.as_secs());
    decoder.begin(Event::Start { id, model, created }, &mut out);
    match output {
        Some(Output::Text(text)) => decoder.text(&text, &mut out),
        Some(Output::Texts(texts)) => texts.iter().for_each(|text| decoder.text(text, &mut out)),
        None => {}
        Some(Output::Other(_)) => {
            decoder.fail("The prediction's output is no text.", &mut out);
            return out;
        }
    }
    match &*status {
        "succeeded" | "successful" => {
            if let Some(metrics) = metrics {
                let mut tally = Tally::default();
                tally.of_replicate(Some(metrics.get().as_bytes()));
                out.push(Event::Usage(tally.usage()));
            }
            decoder.done(&mut out);
        }
        "starting" | "processing" => decoder.fail("The prediction is not done yet.", &mut out),
        "canceled" | "aborted" => decoder.fail("The prediction was canceled.", &mut out),
        _ => {
            let told = error.as_ref().and_then(Value::as_str);
            decoder.fail(told.unwrap_or("The prediction failed."), &mut out);
        }
    }
    out
}
