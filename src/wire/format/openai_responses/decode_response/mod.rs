//! A provider's answer, streamed or whole. Both are decoded by the same code: each item of a whole answer is
//! handled like an item of which no event was sent before its end.

mod items;
mod types;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use self::items::{Items, Place, TextEvent, TextKind};
use self::types::{Response, StreamEvent};
use crate::wire::failure::ProviderError;
use crate::wire::failure::classify::classify_named;
use crate::wire::frame::Frame;
use crate::wire::inspect::usage::read as read_usage;
use crate::wire::ir::{Event, Stop};

/// Decodes a provider's stream into events.
#[derive(Debug, Default)]
pub struct Decoder {
    items: Items,
}

/// Decodes a provider's whole answer into events.
pub fn decode_whole(body: &[u8]) -> Vec<Event> {
    let (mut decoder, mut out) = (Decoder::new(), Vec::new());
    match serde_json::from_slice::<Response<'_>>(body) {
        Ok(response) if response.status.is_some() || response.output.is_some() => {
            decoder.finish(&response, body, &mut out);
        }
        Ok(Response { error: Some(error), .. }) => {
            decoder.fail(types::error(error.get()), &mut out);
        }
        _ => {
            let message = "The provider's answer is not a response object.";
            decoder.fail(ProviderError::malformed(message), &mut out);
        }
    }
    out
}

impl Decoder {
    /// Creates the decoder of one stream.
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// Decodes a frame.
    pub fn frame(&mut self, frame: Frame<'_>, out: &mut Vec<Event>) {
        match frame {
            _ if self.items.writer.is_over() => {}
            Frame::Exception { kind, payload } => {
                let error = ProviderError {
                    failure: classify_named(kind, payload),
                    kind: Some(kind.to_owned()),
                    ..types::error(&String::from_utf8_lossy(payload))
                };
                self.fail(error, out);
            }
            Frame::Event { data: b"" | b"[DONE]", .. } => {}
            Frame::Event { name, data } => match serde_json::from_slice(data) {
                Ok(event) => self.event(name, data, &event, out),
                Err(_) if is_unknown(data) => {}
                Err(_) => {
                    let message = "The provider sent a malformed event.";
                    self.fail(ProviderError::malformed(message), out);
                }
            },
        }
    }

    /// Handles the end of the stream. The format has a last event, so a stream without it was cut, and nothing
    /// is added.
    pub fn end(&mut self, _out: &mut Vec<Event>) {}

    fn event(&mut self, name: &[u8], data: &[u8], event: &StreamEvent<'_>, out: &mut Vec<Event>) {
        match event.kind.strip_prefix("response.").unwrap_or_default() {
            "created" | "in_progress" | "queued" => self.start(&response(event.response), out),
            "completed" | "incomplete" | "failed" | "cancelled" => {
                let raw = event.response.map_or("{}", RawValue::get);
                self.finish(&response(event.response), raw.as_bytes(), out);
            }
            "" if event.kind == "keepalive" => out.push(Event::Ping),
            "" if event.kind == "error" || name == b"error" || event.error.is_some() => {
                let data = String::from_utf8_lossy(data);
                let error = event.error.map_or(data, |error| Cow::Borrowed(error.get()));
                self.fail(types::error(&error), out);
            }
            "" => {}
            kind => self.item_event(kind, event, out),
        }
    }

    /// Handles an event of an item. Events of OpenAI's own tools are ignored, because their item is read when it
    /// is done, and so are events that are not known.
    fn item_event(&mut self, kind: &str, event: &StreamEvent<'_>, out: &mut Vec<Event>) {
        let part = event.summary_index.or(event.content_index).unwrap_or(0);
        let place = Place { item: event.output_index, part };
        if let Some((text_kind, is_whole)) = text_event(kind) {
            let text = match text_kind {
                _ if !is_whole => types::text(event.delta),
                TextKind::Text | TextKind::Reasoning | TextKind::Summary => types::text(event.text),
                TextKind::Refusal => types::text(event.refusal),
                TextKind::Arguments => types::arguments(event.arguments),
            };
            let (text, logprobs) = (text.unwrap_or_default(), types::list(event.logprobs));
            let text = TextEvent { kind: text_kind, place, text, is_whole, logprobs };
            return self.items.text(text, out);
        }
        match (kind, event.item, types::parse(event.annotation)) {
            ("output_item.added", Some(item), _) => self.items.item_added(place.item, item, out),
            ("output_item.done", Some(item), _) => self.items.item_done(place.item, item, out),
            ("content_part.added", ..) => self.items.part_added(place, event.part, out),
            ("content_part.done", ..) => self.items.part_done(place, event.part, out),
            ("output_text.annotation.added", _, Some(citation)) => {
                self.items.citation(place, citation, out);
            }
            _ => {}
        }
    }

    fn start(&mut self, response: &Response<'_>, out: &mut Vec<Event>) {
        // Bedrock sends fractions of a second.
        let created = types::parse::<f64>(response.created_at).filter(|time| *time >= 1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time")]
        let created = created.map(|time| time as u64);
        let (id, model) = (types::text(response.id), types::text(response.model));
        self.items.writer.start(id, model, created, out);
    }

    /// Handles the last event of a stream, or a whole answer.
    fn finish(&mut self, response: &Response<'_>, raw: &[u8], out: &mut Vec<Event>) {
        let status = types::text(response.status);
        let status = status.as_deref().unwrap_or("completed");
        if response.error.is_some() || !matches!(status, "completed" | "incomplete") {
            return self.fail(failure(response, status, raw), out);
        }
        self.start(response, out);
        self.items.finish(response.output.as_deref().unwrap_or_default(), out);
        if self.items.writer.is_over() {
            return;
        }
        out.extend(types::text(response.service_tier).map(Event::Tier));
        out.extend(response.usage.map(|usage| Event::Usage(read_usage(usage.get().as_bytes()))));
        let reason = response.incomplete_details.as_ref().and_then(|details| details.reason);
        let reason = types::text(reason);
        let stop = match (status, reason.as_deref()) {
            ("incomplete", Some("max_output_tokens")) => Stop::Length,
            ("incomplete", Some("content_filter")) => Stop::Filter,
            ("incomplete", _) => Stop::Other,
            _ if self.items.has_call => Stop::Calls,
            _ if self.items.has_refusal => Stop::Refusal,
            _ => Stop::End,
        };
        let raw = reason.unwrap_or_else(|| status.to_owned());
        self.items.writer.stop(0, stop, Some(raw), None, out);
        self.items.writer.end(out);
    }

    fn fail(&mut self, error: ProviderError, out: &mut Vec<Event>) {
        self.items.writer.fail(error, out);
    }
}

/// Returns the kind of text that an event brings, and true if it is the whole text at its end.
fn text_event(kind: &str) -> Option<(TextKind, bool)> {
    let (kind, step) = kind.rsplit_once('.')?;
    let kind = match kind {
        "output_text" => TextKind::Text,
        "refusal" => TextKind::Refusal,
        "reasoning_text" => TextKind::Reasoning,
        "reasoning_summary_text" => TextKind::Summary,
        "function_call_arguments" => TextKind::Arguments,
        _ => return None,
    };
    matches!(step, "delta" | "done").then_some((kind, step == "done"))
}

fn failure(response: &Response<'_>, status: &str, raw: &[u8]) -> ProviderError {
    match response.error {
        Some(error) => types::error(error.get()),
        None if status == "failed" => types::error(&String::from_utf8_lossy(raw)),
        None => ProviderError::malformed(format!(
            "The provider's answer has the status `{status}`; `completed` or `incomplete` is expected."
        )),
    }
}

fn response(raw: Option<&RawValue>) -> Response<'_> {
    types::parse(raw).unwrap_or_default()
}

/// Returns true for an event of a type that is not read, whatever its members are.
fn is_unknown(data: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct TypeOnly<'f> {
        #[serde(rename = "type", borrow)]
        kind: Cow<'f, str>,
    }
    serde_json::from_slice::<TypeOnly<'_>>(data)
        .is_ok_and(|event| event.kind != "error" && !event.kind.starts_with("response."))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::wire::failure::class::Class;
    use crate::wire::ir::{Kind, Piece};

    fn decode(events: &[Value]) -> Vec<Event> {
        let (mut decoder, mut out) = (Decoder::new(), Vec::new());
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
    fn text_without_a_delta_is_written_at_the_end_and_nothing_twice() {
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
            assert_eq!(texts(&decode(&events)), ["Hello"], "{events:?}");
        }
        let completed = json!({"type": "response.completed", "response": {"status": "completed",
            "output": [{"type": "message", "content": [{"type": "output_text", "text": "All"}]}]}});
        assert_eq!(texts(&decode(&[completed])), ["All"]);
    }

    #[test]
    fn the_parts_of_a_summary_are_paragraphs_of_one_block() {
        let delta = |part: u32, text: &str| {
            json!({"type": "response.reasoning_summary_text.delta", "output_index": 0,
                "summary_index": part, "delta": text})
        };
        let item = json!({"type": "response.output_item.done", "output_index": 0, "item": {
            "type": "reasoning", "id": "rs_1", "encrypted_content": "gA",
            "summary": [{"type": "summary_text", "text": "One"}, {"type": "summary_text", "text": "Two"}]}});
        let events = decode(&[delta(0, "O"), delta(0, "ne"), delta(1, "Two"), item.clone()]);
        assert_eq!(texts(&events).concat(), "One\n\nTwo");
        assert_eq!(texts(&decode(&[item])).concat(), "One\n\nTwo");
        let signature = events.iter().find_map(|event| match event {
            Event::Delta { piece: Piece::Signature(signature), .. } => Some(signature),
            _ => None,
        });
        let signature = signature.unwrap();
        assert_eq!((&*signature.data, signature.id.as_deref()), ("gA", Some("rs_1")));
    }

    #[test]
    fn a_call_may_come_whole_and_with_arguments_that_are_no_string() {
        let item = json!({"type": "response.output_item.done", "output_index": 4, "item": {
            "type": "function_call", "call_id": "c", "name": "f", "arguments": {"a": 1}}});
        let events = decode(&[item]);
        let kind = Kind::ToolCall { id: Some("c".to_owned()), name: "f".to_owned() };
        assert!(events.contains(&Event::Open { block: 0, candidate: 0, kind }));
        assert_eq!(texts(&events), [r#"{"a":1}"#]);
    }

    #[test]
    fn an_answer_stops_for_the_reason_of_its_status() {
        let stop = |status: &str, more: Value, output: Value| {
            let body = json!({"status": status, "output": output, "incomplete_details": more});
            let events = decode_whole(body.to_string().as_bytes());
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
            let events = decode(&[event.clone(), event.clone()]);
            let [Event::Fail(error)] = &*events else { panic!("{event}: {events:?}") };
            assert_eq!(
                (error.code.as_deref(), &*error.message),
                (Some("rate_limit_exceeded"), "Slow")
            );
            assert_eq!(error.failure.class, Class::Throttled, "{event}");
        }
    }

    #[test]
    fn malformed_events_fail_and_unknown_events_are_ignored() {
        let mut out = Vec::new();
        Decoder::new().frame(Frame::Event { name: b"", data: b"{\"type\":" }, &mut out);
        assert!(matches!(&*out, [Event::Fail(_)]));
        let new = json!({"type": "new.thing", "delta": {"x": 1}, "output_index": "7"});
        assert_eq!(decode(&[new, json!({"type": "response.new.delta", "delta": [1]})]), []);
        assert_eq!(decode(&[json!({"type": "keepalive", "sequence_number": 3})]), [Event::Ping]);
        assert!(matches!(&*decode_whole(b"<html>"), [Event::Fail(_)]));
        assert!(matches!(&*decode_whole(b"{}"), [Event::Fail(_)]));
    }

    #[test]
    fn an_answer_of_too_many_items_fails() {
        let added = |index: u32| {
            json!({"type": "response.output_item.added", "output_index": index,
                "item": {"type": "message", "content": []}})
        };
        let events: Vec<_> = (0..2000).map(added).collect();
        assert!(matches!(decode(&events).last(), Some(Event::Fail(_))));
    }
}
