//! The caller's answer, streamed or whole. Both are made from the same events: a whole answer is the object in
//! the last event of a stream.
//!
//! ```text
//! response.created, response.in_progress
//! for each item      response.output_item.added, the events of its parts, response.output_item.done
//! response.completed, or response.incomplete, or error and response.failed
//! ```
//!
//! The event that ends an item repeats the whole item, and the last event repeats all items, so all content is
//! buffered.

mod event_writer;
mod object;
mod output;
mod parts;

use self::event_writer::EventWriter;
use self::object::{ErrorObject, State, Status};
use self::output::Output;
use crate::wire::failure::ProviderError;
use crate::wire::format::context::ResponseContext;
use crate::wire::inspect::usage::Usage;
use crate::wire::ir::{Event, Response, Stop};

/// The longest answer that is buffered, in bytes: the limit of an event that is read.
const MAX_BUFFERED_BYTES: usize = 16 * 1024 * 1024;

/// Encodes a stream for the caller.
#[derive(Debug)]
pub struct Encoder {
    context: Box<ResponseContext>,
    /// Not set for a whole answer: its items are gathered, and no event is written.
    is_streamed: bool,
    output: Output,
    /// The number of the next event.
    sequence_number: u64,
    is_started: bool,
    is_over: bool,
    stop: Option<Stop>,
    usage: Usage,
    tier: Option<String>,
    status: Status,
}

/// Encodes a whole answer for the caller.
pub fn encode_whole(response: &Response, context: &ResponseContext) -> Vec<u8> {
    let mut encoder = Encoder { is_streamed: false, ..Encoder::new(context.clone()) };
    let mut out = Vec::new();
    for event in response.events() {
        encoder.event(&event, &mut out);
    }
    encoder.object(&mut out);
    out
}

impl Encoder {
    /// Creates the encoder of one answer.
    pub fn new(context: ResponseContext) -> Encoder {
        Encoder {
            context: Box::new(context),
            is_streamed: true,
            output: Output::default(),
            sequence_number: 0,
            is_started: false,
            is_over: false,
            stop: None,
            usage: Usage::default(),
            tier: None,
            status: Status::InProgress,
        }
    }

    /// Writes the events of the caller's stream that `event` becomes.
    pub fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        if self.is_over {
            return;
        }
        if *event == Event::Ping {
            // A comment: some clients of this API fail on an event that they do not know.
            return out.extend_from_slice(b": ping\n\n");
        }
        if !self.is_started {
            self.is_started = true;
            self.response_event("response.created", out);
            self.response_event("response.in_progress", out);
        }
        let (output, mut events) = self.writer(out);
        match event {
            Event::Open { block, candidate: 0, kind } => output.open(*block, kind, &mut events),
            Event::Delta { block, piece } => output.delta(*block, piece, &mut events),
            Event::Close { block } => output.close(*block, &mut events),
            Event::Stop { candidate: 0, why, .. } => {
                let status = Status::from_stop(Some(*why), output.has_refusal());
                output.finish(&status, &mut events);
                self.stop = Some(*why);
            }
            // The format has no multiple candidates, so no caller of it requests them.
            Event::Start { .. } | Event::Ping | Event::Open { .. } | Event::Stop { .. } => {}
            Event::Usage(usage) => self.usage.update(*usage),
            Event::Tier(tier) => self.tier = Some(tier.clone()),
            Event::End => self.end(out),
            Event::Fail(error) => self.fail(error, out),
        }
        if !self.is_over && self.output.buffered_bytes() > MAX_BUFFERED_BYTES {
            self.fail(&ProviderError::malformed("The answer is longer than 16 MiB."), out);
        }
    }

    fn writer<'e>(&'e mut self, out: &'e mut Vec<u8>) -> (&'e mut Output, EventWriter<'e>) {
        let Encoder { context, is_streamed, output, sequence_number, .. } = self;
        (output, EventWriter { context, is_streamed: *is_streamed, sequence_number, out })
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        let status = Status::from_stop(self.stop, self.output.has_refusal());
        let (output, mut events) = self.writer(out);
        output.finish(&status, &mut events);
        let kind = match status {
            Status::Incomplete(_) => "response.incomplete",
            _ => "response.completed",
        };
        self.status = status;
        self.response_event(kind, out);
        self.is_over = true;
    }

    /// Writes the two events that OpenAI sends: `error`, which its clients raise, and `response.failed`.
    fn fail(&mut self, error: &ProviderError, out: &mut Vec<u8>) {
        let error = ErrorObject::new(error);
        self.writer(out).1.event("error", |event| {
            let ErrorObject { code, message, param, .. } = &error;
            event.put("code", code).put("message", message).put("param", param);
            event.put("error", &error);
        });
        self.status = Status::Failed(error);
        self.response_event("response.failed", out);
        self.is_over = true;
    }

    fn response_event(&mut self, kind: &str, out: &mut Vec<u8>) {
        let mut sequence_number = self.sequence_number;
        EventWriter {
            context: &self.context,
            is_streamed: self.is_streamed,
            sequence_number: &mut sequence_number,
            out,
        }
        .event(kind, |event| self.object(event.member("response")));
        self.sequence_number = sequence_number;
    }

    fn object(&self, out: &mut Vec<u8>) {
        let state = State {
            status: &self.status,
            items: self.output.items(),
            usage: self.usage,
            tier: self.tier.as_deref(),
        };
        object::write(&self.context, state, out);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::wire::api::{Format, Framing};
    use crate::wire::failure::class::{Class, Failure};
    use crate::wire::ir::{Echo, Kind, Piece, Signature};

    fn context(freeform: &[&str]) -> ResponseContext {
        let freeform = freeform.iter().map(|name| (*name).to_owned()).collect();
        ResponseContext {
            id: "7".to_owned(),
            created: 5,
            model: "m".to_owned(),
            usage: true,
            framing: Framing::Events,
            echo: Some(Echo { members: String::new(), freeform }.into()),
        }
    }

    fn encode(events: &[Event], freeform: &[&str]) -> Vec<Value> {
        let (mut encoder, mut out) = (Encoder::new(context(freeform)), Vec::new());
        for event in events {
            encoder.event(event, &mut out);
        }
        let text = String::from_utf8(out).unwrap();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(|data| serde_json::from_str(data).unwrap()).collect()
    }

    fn kinds(events: &[Value]) -> Vec<&str> {
        let kinds = events.iter().map(|event| event["type"].as_str().unwrap());
        kinds.map(|kind| kind.strip_prefix("response.").unwrap_or(kind)).collect()
    }

    fn start() -> Event {
        Event::Start { id: None, model: None, created: None }
    }

    fn open(block: u32, kind: Kind) -> Event {
        Event::Open { block, candidate: 0, kind }
    }

    fn text(block: u32, text: &str) -> Event {
        Event::Delta { block, piece: Piece::Text(text.to_owned()) }
    }

    fn call(name: &str) -> Kind {
        Kind::ToolCall { id: None, name: name.to_owned() }
    }

    fn stop(why: Stop) -> Event {
        Event::Stop { candidate: 0, why, raw: None, sequence: None }
    }

    #[test]
    fn texts_in_a_row_are_parts_of_one_message_until_another_item_begins() {
        let close = |block| Event::Close { block };
        let events = [
            start(),
            open(0, Kind::Text),
            text(0, "a"),
            close(0),
            open(1, Kind::Text),
            text(1, "b"),
            close(1),
            open(2, call("f")),
            close(2),
            stop(Stop::Calls),
            Event::End,
        ];
        let events = encode(&events, &[]);
        assert_eq!(
            kinds(&events),
            [
                "created",
                "in_progress",
                "output_item.added",
                "content_part.added",
                "output_text.delta",
                "output_text.done",
                "content_part.done",
                "content_part.added",
                "output_text.delta",
                "output_text.done",
                "content_part.done",
                "output_item.done",
                "output_item.added",
                "function_call_arguments.delta",
                "function_call_arguments.done",
                "output_item.done",
                "completed",
            ]
        );
        let output = &events.last().unwrap()["response"]["output"];
        assert_eq!(output[0]["content"][1]["text"], "b");
        assert_eq!(output[1]["call_id"], "call_7_2");
        assert_eq!(output[1]["arguments"], "{}");
    }

    #[test]
    fn a_custom_tool_call_contains_its_text_instead_of_json() {
        let events = [
            start(),
            open(0, call("apply_patch")),
            text(0, r#"{"inp"#),
            text(0, r#"ut":"*** \u00e9"}"#),
            Event::Close { block: 0 },
            stop(Stop::Calls),
            Event::End,
        ];
        let events = encode(&events, &["apply_patch"]);
        let item = &events.last().unwrap()["response"]["output"][0];
        assert_eq!((&item["type"], &item["input"]), (&json!("custom_tool_call"), &json!("*** é")));
        assert!(kinds(&events).contains(&"custom_tool_call_input.delta"));
    }

    #[test]
    fn a_signature_of_a_call_is_an_item_after_it() {
        let data = "c2ln".to_owned();
        let signature = Signature { format: Format::Gemini, data, id: None };
        let events = [
            start(),
            open(0, call("f")),
            Event::Delta { block: 0, piece: Piece::Signature(signature.clone()) },
            Event::Close { block: 0 },
            open(1, Kind::Reasoning),
            Event::Delta { block: 1, piece: Piece::Signature(signature) },
            Event::Close { block: 1 },
            stop(Stop::Calls),
            Event::End,
        ];
        let events = encode(&events, &[]);
        let output = &events.last().unwrap()["response"]["output"];
        assert_eq!(output[1]["encrypted_content"], "gemini/before:c2ln");
        assert_eq!(output[2]["encrypted_content"], "gemini:c2ln");
    }

    #[test]
    fn an_answer_that_was_cut_is_incomplete_with_its_reason() {
        let end = |why| {
            let events = [
                start(),
                open(0, Kind::Text),
                text(0, "a"),
                Event::Close { block: 0 },
                stop(why),
                Event::Usage(Usage { input: Some(3), ..Usage::default() }),
                Event::End,
            ];
            let response = encode(&events, &[]).pop().unwrap()["response"].take();
            (response["status"].clone(), response["incomplete_details"]["reason"].clone())
        };
        assert_eq!(end(Stop::End), (json!("completed"), Value::Null));
        assert_eq!(end(Stop::Sequence), (json!("completed"), Value::Null));
        assert_eq!(end(Stop::Length), (json!("incomplete"), json!("max_output_tokens")));
        assert_eq!(end(Stop::Filter), (json!("incomplete"), json!("content_filter")));
        assert_eq!(end(Stop::Refusal), (json!("incomplete"), json!("content_filter")));
        assert_eq!(end(Stop::Malformed), (json!("incomplete"), Value::Null));
    }

    #[test]
    fn a_failure_is_an_error_event_then_a_failed_response_and_nothing_follows() {
        let failure = Failure { class: Class::Throttled, retry_after: None };
        let error = ProviderError {
            failure,
            kind: Some("overloaded_error".to_owned()),
            ..ProviderError::malformed("Slow down")
        };
        let events = encode(&[Event::Fail(error), Event::End], &[]);
        assert_eq!(kinds(&events), ["created", "in_progress", "error", "failed"]);
        assert_eq!(events[2]["error"]["code"], "rate_limit_exceeded");
        assert_eq!(events[2]["error"]["message"], "Slow down");
        assert_eq!(events[3]["response"]["status"], "failed");
        assert_eq!(events[3]["response"]["error"]["message"], "Slow down");
    }

    #[test]
    fn usage_that_was_not_reported_is_null() {
        let response = encode(&[start(), stop(Stop::End), Event::End], &[]).pop().unwrap();
        assert_eq!(response["response"]["usage"], Value::Null);
    }
}
