//! A provider's answer, as a stream or whole. Both go by the same code: of a whole one, each item is told as
//! if no event had told of it before.

pub(crate) mod blocks;
pub(crate) mod error;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use self::blocks::{Blocks, Full, Place, Voice};
use self::error::{Response, Said};
use crate::wire::failure::ProviderError;
use crate::wire::failure::classify::classify_named;
use crate::wire::format::quirks::Quirks;
use crate::wire::frame::Frame;
use crate::wire::inspect::usage::read as read_usage;
use crate::wire::ir::{Event, Stop};

/// Makes events of a provider's stream.
#[derive(Debug, Default)]
pub struct Decoder {
    begun: bool,
    over: bool,
    blocks: Blocks,
}

/// Makes events of a provider's whole answer.
pub fn decode_whole(body: &[u8], quirks: &'static Quirks) -> Vec<Event> {
    let mut out = Vec::new();
    let mut decoder = Decoder::new(quirks);
    match serde_json::from_slice::<Response<'_>>(body) {
        Ok(response) if response.status.is_some() || response.output.is_some() => {
            decoder.over(&response, body, &mut out);
        }
        Ok(Response { error: Some(error), .. }) => {
            decoder.fail(error::error(error.get()), &mut out);
        }
        _ => decoder.fail(error::trouble("The provider's answer cannot be read."), &mut out),
    }
    out
}

impl Decoder {
    /// Of a vendor with these quirks.
    pub fn new(_quirks: &'static Quirks) -> Decoder {
        Decoder::default()
    }

    /// Takes a frame.
    pub fn frame(&mut self, frame: Frame<'_>, out: &mut Vec<Event>) {
        match frame {
            _ if self.over => {}
            Frame::Exception { kind, payload } => {
                let body = String::from_utf8_lossy(payload);
                let mut told = error::error(&body);
                told.failure = classify_named(kind, payload);
                told.kind = Some(kind.to_owned());
                self.fail(told, out);
            }
            Frame::Event { data: b"" | b"[DONE]", .. } => {}
            Frame::Event { name, data } => match serde_json::from_slice::<Said<'_>>(data) {
                Ok(said) => self.said(name, data, &said, out),
                Err(_) if is_unknown(data) => {}
                Err(_) => {
                    self.fail(
                        error::trouble("The provider sent an event that cannot be read."),
                        out,
                    );
                }
            },
        }
    }

    /// The stream has ended in order. This format has a last event of its own, so without it nothing is
    /// owed: the answer was cut.
    pub fn end(&mut self, _out: &mut Vec<Event>) {}

    fn said(&mut self, name: &[u8], data: &[u8], said: &Said<'_>, out: &mut Vec<Event>) {
        let kind = said.kind.strip_prefix("response.").unwrap_or_default();
        let full = match kind {
            "created" | "in_progress" | "queued" => {
                self.begin(&response(said.response), out);
                Ok(())
            }
            "completed" | "incomplete" | "failed" | "cancelled" => {
                let raw = said.response.map_or("{}", RawValue::get);
                self.over(&response(said.response), raw.as_bytes(), out);
                Ok(())
            }
            "" => {
                if said.kind == "keepalive" {
                    out.push(Event::Ping);
                } else if said.kind == "error" || name == b"error" || said.error.is_some() {
                    let whole = String::from_utf8_lossy(data);
                    let error = said.error.map_or(whole, |error| Cow::Borrowed(error.get()));
                    self.fail(error::error(&error), out);
                }
                Ok(())
            }
            _ => self.of_item(kind, said, out),
        };
        if full.is_err() {
            self.fail(error::trouble("The provider's answer has more parts than are read."), out);
        }
    }

    /// An event of an item of the answer.
    fn of_item(&mut self, kind: &str, said: &Said<'_>, out: &mut Vec<Event>) -> Result<(), Full> {
        let voice = match kind {
            "output_text.delta" | "output_text.done" => Some(Voice::Text),
            "refusal.delta" | "refusal.done" => Some(Voice::Refusal),
            "reasoning_text.delta" | "reasoning_text.done" => Some(Voice::Thinking),
            "reasoning_summary_text.delta" | "reasoning_summary_text.done" => Some(Voice::Summary),
            "function_call_arguments.delta" | "function_call_arguments.done" => {
                Some(Voice::Arguments)
            }
            "output_item.added"
            | "output_item.done"
            | "content_part.added"
            | "content_part.done"
            | "output_text.annotation.added" => None,
            // Steps of OpenAI's own tools, of which the item is told when it is done, and what is new.
            _ => return Ok(()),
        };
        self.begin(&Response::default(), out);
        let part = said.summary_index.or(said.content_index);
        let place = Place { item: said.output_index, part: part.unwrap_or(0) };
        match (voice, kind, said.item) {
            (Some(voice), ..) => {
                self.text(voice, place, kind.rsplit('.').next() == Some("done"), said, out)
            }
            (None, "output_item.added", Some(item)) => self.blocks.added(place.item, item, out),
            (None, "output_item.done", Some(item)) => self.blocks.done(place.item, item, out),
            (None, "content_part.added", _) => self.blocks.part_added(place, said.part, out),
            (None, "content_part.done", _) => {
                self.blocks.part_done(place, said.part, out);
                Ok(())
            }
            (None, "output_text.annotation.added", _) => {
                self.blocks.cites(place, error::read(said.annotation), out);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn text(
        &mut self,
        voice: Voice,
        place: Place,
        whole: bool,
        said: &Said<'_>,
        out: &mut Vec<Event>,
    ) -> Result<(), Full> {
        let text = match voice {
            _ if !whole => error::text(said.delta),
            Voice::Text | Voice::Thinking | Voice::Summary => error::text(said.text),
            Voice::Refusal => error::text(said.refusal),
            Voice::Arguments => error::arguments(said.arguments),
        };
        let text = text.unwrap_or_default();
        self.blocks.text(voice, place, text, whole, error::list(said.logprobs), out)
    }

    fn begin(&mut self, response: &Response<'_>, out: &mut Vec<Event>) {
        if self.begun {
            return;
        }
        self.begun = true;
        // Bedrock has fractions of a second.
        let created = error::read::<f64>(response.created_at).filter(|time| *time >= 1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time")]
        let created = created.map(|time| time as u64);
        out.push(Event::Start {
            id: error::text(response.id),
            model: error::text(response.model),
            created,
        });
    }

    /// The last event, or the whole answer.
    fn over(&mut self, response: &Response<'_>, raw: &[u8], out: &mut Vec<Event>) {
        let status = error::text(response.status);
        let status = status.as_deref().unwrap_or("completed");
        if response.error.is_some() || !matches!(status, "completed" | "incomplete") {
            return self.fail(failed(response, status, raw), out);
        }
        self.begin(response, out);
        if self.blocks.rest(response.output.as_deref().unwrap_or_default(), out).is_err() {
            return self
                .fail(error::trouble("The provider's answer has more parts than are read."), out);
        }
        out.extend(error::text(response.service_tier).map(Event::Tier));
        if let Some(usage) = response.usage {
            out.push(Event::Usage(read_usage(usage.get().as_bytes())));
        }
        let reason = error::text(response.incomplete_details.as_ref().and_then(|own| own.reason));
        let why = match (status, reason.as_deref()) {
            ("incomplete", Some("max_output_tokens")) => Stop::Length,
            ("incomplete", Some("content_filter")) => Stop::Filter,
            ("incomplete", _) => Stop::Other,
            _ if self.blocks.called() => Stop::Calls,
            _ if self.blocks.refused() => Stop::Refusal,
            _ => Stop::End,
        };
        let raw = Some(reason.unwrap_or_else(|| status.to_owned()));
        out.push(Event::Stop { candidate: 0, why, raw, sequence: None });
        out.push(Event::End);
        self.over = true;
    }

    fn fail(&mut self, told: ProviderError, out: &mut Vec<Event>) {
        self.over = true;
        out.push(Event::Fail(told));
    }
}

fn failed(response: &Response<'_>, status: &str, raw: &[u8]) -> ProviderError {
    match response.error {
        Some(error) => error::error(error.get()),
        None if status == "failed" => error::error(&String::from_utf8_lossy(raw)),
        None => error::trouble(&format!("The provider's answer is not whole: it is {status}.")),
    }
}

fn response(raw: Option<&RawValue>) -> Response<'_> {
    error::read(raw).unwrap_or_default()
}

/// Whether an event is of a kind that is not read here, whatever its members are.
fn is_unknown(data: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Kind<'f> {
        #[serde(rename = "type", borrow)]
        kind: Cow<'f, str>,
    }
    serde_json::from_slice::<Kind<'_>>(data)
        .is_ok_and(|own| own.kind != "error" && !own.kind.starts_with("response."))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::wire::failure::class::Class;
    use crate::wire::format::quirks::PLAIN;
    use crate::wire::ir::{Kind, Piece};

    fn told(events: &[Value]) -> Vec<Event> {
        let (mut decoder, mut out) = (Decoder::new(&PLAIN), Vec::new());
        for event in events {
            decoder.frame(Frame::Event { name: b"", data: event.to_string().as_bytes() }, &mut out);
        }
        out
    }

    fn texts(events: &[Event]) -> Vec<&str> {
        let text = |event| match event {
            &Event::Delta { piece: Piece::Text(ref text), .. } => Some(&**text),
            _ => None,
        };
        events.iter().filter_map(text).collect()
    }

    #[test]
    fn what_no_delta_told_is_told_at_the_end_and_nothing_twice() {
        let done = json!({"type": "response.output_text.done", "output_index": 0,
            "content_index": 0, "text": "Hello"});
        let item = json!({"type": "response.output_item.done", "output_index": 0, "item":
            {"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}});
        let delta = json!({"type": "response.output_text.delta", "output_index": 0,
            "content_index": 0, "delta": "Hello"});
        for events in [
            vec![done.clone()],
            vec![item.clone()],
            vec![delta.clone(), done.clone(), item.clone(), done.clone(), delta],
            vec![done.clone(), item],
        ] {
            assert_eq!(texts(&told(&events)), ["Hello"], "{events:?}");
        }
        let completed = json!({"type": "response.completed", "response": {"status": "completed",
            "output": [{"type": "message", "content": [{"type": "output_text", "text": "All"}]}]}});
        assert_eq!(texts(&told(&[completed])), ["All"]);
    }

    #[test]
    fn the_parts_of_a_summary_are_paragraphs_of_one_thought() {
        let delta = |part: u32, text: &str| {
            json!({"type": "response.reasoning_summary_text.delta", "output_index": 0,
                "summary_index": part, "delta": text})
        };
        let item = json!({"type": "response.output_item.done", "output_index": 0, "item": {
            "type": "reasoning", "id": "rs_1", "encrypted_content": "gA",
            "summary": [{"type": "summary_text", "text": "One"}, {"type": "summary_text", "text": "Two"}]}});
        let events = told(&[delta(0, "O"), delta(0, "ne"), delta(1, "Two"), item.clone()]);
        assert_eq!(texts(&events).concat(), "One\n\nTwo");
        assert_eq!(texts(&told(&[item])).concat(), "One\n\nTwo");
        let signature = events.iter().find_map(|event| match event {
            Event::Delta { piece: Piece::Signature(signature), .. } => Some(signature),
            _ => None,
        });
        let signature = signature.unwrap();
        assert_eq!((&*signature.data, signature.id.as_deref()), ("gA", Some("rs_1")));
    }

    #[test]
    fn a_call_may_come_at_once_and_without_its_ids() {
        let item = json!({"type": "response.output_item.done", "output_index": 4, "item": {
            "type": "function_call", "call_id": "c", "name": "f", "arguments": {"a": 1}}});
        let events = told(&[item]);
        let kind = Kind::ToolCall { id: Some("c".to_owned()), name: "f".to_owned() };
        assert!(events.contains(&Event::Open { block: 0, candidate: 0, kind }));
        assert_eq!(texts(&events), [r#"{"a":1}"#]);
    }

    #[test]
    fn an_answer_stops_for_the_reason_told() {
        let stop = |status: &str, more: Value, output: Value| {
            let body = json!({"status": status, "output": output, "incomplete_details": more});
            let events = decode_whole(body.to_string().as_bytes(), &PLAIN);
            events.iter().find_map(|event| match event {
                Event::Stop { why, .. } => Some(*why),
                _ => None,
            })
        };
        let none = || json!([]);
        let call =
            json!([{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}]);
        let refusal =
            json!([{"type": "message", "content": [{"type": "refusal", "refusal": "No"}]}]);
        assert_eq!(stop("completed", Value::Null, none()), Some(Stop::End));
        assert_eq!(stop("completed", Value::Null, call), Some(Stop::Calls));
        assert_eq!(stop("completed", Value::Null, refusal), Some(Stop::Refusal));
        let reason = |word: &str| json!({ "reason": word });
        assert_eq!(stop("incomplete", reason("max_output_tokens"), none()), Some(Stop::Length));
        assert_eq!(stop("incomplete", reason("content_filter"), none()), Some(Stop::Filter));
        for unfinished in ["failed", "cancelled", "in_progress", "queued"] {
            assert_eq!(stop(unfinished, Value::Null, none()), None, "{unfinished}");
        }
    }

    #[test]
    fn errors_come_in_several_shapes_and_end_the_answer() {
        for event in [
            json!({"type": "error", "error": {"code": "rate_limit_exceeded", "message": "Slow"}}),
            json!({"type": "error", "code": "rate_limit_exceeded", "message": "Slow", "param": null}),
            json!({"error": {"code": "rate_limit_exceeded", "message": "Slow"}}),
            json!({"type": "response.failed", "response": {"status": "failed",
                "error": {"code": "rate_limit_exceeded", "message": "Slow"}}}),
        ] {
            let events = told(&[event.clone(), event.clone()]);
            let [Event::Fail(told)] = &*events else { panic!("{event}: {events:?}") };
            assert_eq!(
                (told.code.as_deref(), &*told.message),
                (Some("rate_limit_exceeded"), "Slow")
            );
            assert_eq!(told.failure.class, Class::Throttled, "{event}");
        }
    }

    #[test]
    fn what_is_no_json_fails_and_what_is_new_is_passed_over() {
        let mut out = Vec::new();
        Decoder::new(&PLAIN).frame(Frame::Event { name: b"", data: b"{\"type\":" }, &mut out);
        assert!(matches!(&*out, [Event::Fail(_)]));
        let new = json!({"type": "new.thing", "delta": {"x": 1}, "output_index": "7"});
        assert_eq!(told(&[new, json!({"type": "response.new.delta", "delta": [1]})]), []);
        assert_eq!(told(&[json!({"type": "keepalive", "sequence_number": 3})]), [Event::Ping]);
        assert!(matches!(&*decode_whole(b"<html>", &PLAIN), [Event::Fail(_)]));
        assert!(matches!(&*decode_whole(b"{}", &PLAIN), [Event::Fail(_)]));
    }

    #[test]
    fn an_answer_of_endless_items_fails() {
        let added = |index: u32| {
            json!({"type": "response.output_item.added", "output_index": index,
                "item": {"type": "message", "content": []}})
        };
        let events: Vec<_> = (0..2000).map(added).collect();
        assert!(matches!(told(&events).last(), Some(Event::Fail(_))));
    }
}
