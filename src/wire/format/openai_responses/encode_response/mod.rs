//! A caller's stream, and whole answers, which are the object in a stream's last event.
//!
//! ```text
//! response.created, response.in_progress
//! of each item       response.output_item.added, the events of its parts, response.output_item.done
//! response.completed, or response.incomplete, or error and response.failed
//! ```
//!
//! Events at an item's end repeat it whole, and the last of all repeats all items, so what was said is kept.

pub(crate) mod object;
pub(crate) mod output;
pub(crate) mod parts;
pub(crate) mod write;

use self::object::{Problem, State, Status, object};
use self::output::Output;
use self::write::{number, raw, text, value};
use crate::wire::failure::ProviderError;
use crate::wire::format::context::ResponseContext;
use crate::wire::inspect::usage::Usage;
use crate::wire::ir::{Event, Response, Stop};

/// The longest answer that is kept to be repeated: that of an event on its way in.
const LONGEST: usize = 16 * 1024 * 1024;

/// Makes a stream for the caller.
#[derive(Debug)]
pub struct Encoder {
    shown: Box<ResponseContext>,
    output: Output,
    /// The number of the next event.
    next: u64,
    over: bool,
    stop: Option<Stop>,
    usage: Usage,
    tier: Option<String>,
    status: Status,
}

/// Writes a whole answer for the caller.
pub fn encode_whole(reply: &Response, shown: &ResponseContext) -> Vec<u8> {
    let mut encoder = Encoder::new(shown.clone());
    let mut out = Vec::new();
    for event in reply.events() {
        encoder.event(&event, &mut out);
        out.clear();
    }
    encoder.object(&mut out);
    out
}

impl Encoder {
    /// Of an answer that shows this.
    pub fn new(shown: ResponseContext) -> Encoder {
        Encoder {
            shown: Box::new(shown),
            output: Output::default(),
            next: 0,
            over: false,
            stop: None,
            usage: Usage::default(),
            tier: None,
            status: Status::Going,
        }
    }

    /// Writes an event.
    pub fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        if self.over {
            return;
        }
        if *event == Event::Ping {
            // A comment: clients of this API are not all ready for an event that they do not know.
            return out.extend_from_slice(b": ping\n\n");
        }
        self.begin(out);
        let mut lines = Lines { next: &mut self.next, id: &self.shown.id, out };
        match event {
            Event::Open { block, candidate: 0, kind } => {
                let freeform = self.shown.echo.as_deref().map_or(&[][..], |echo| &echo.freeform);
                self.output.open(*block, kind, freeform, &mut lines);
            }
            Event::Delta { block, piece } => self.output.piece(*block, piece, &mut lines),
            Event::Close { block } => self.output.close(*block, &mut lines),
            Event::Stop { candidate: 0, why, .. } => {
                self.stop = Some(*why);
                let status = Status::of(self.stop, self.output.refused());
                self.output.finish(&status, &mut lines);
            }
            // No caller of this format asks for several answers.
            Event::Start { .. } | Event::Ping | Event::Open { .. } | Event::Stop { .. } => {}
            Event::Usage(usage) => self.usage.update(*usage),
            Event::Tier(tier) => self.tier = Some(tier.clone()),
            Event::End => self.end(out),
            Event::Fail(told) => self.fail(told, out),
        }
        if !self.over && self.output.kept() > LONGEST {
            let told = super::decode_response::error::trouble("The answer is longer than 16 MiB.");
            self.fail(&told, out);
        }
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if self.next == 0 {
            self.respond("response.created", out);
            self.respond("response.in_progress", out);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.status = Status::of(self.stop, self.output.refused());
        let mut lines = Lines { next: &mut self.next, id: &self.shown.id, out };
        self.output.finish(&self.status, &mut lines);
        let kind = match self.status {
            Status::Incomplete(_) => "response.incomplete",
            _ => "response.completed",
        };
        self.respond(kind, out);
        self.over = true;
    }

    /// As OpenAI does: an `error`, which is what its clients raise, and `response.failed`.
    fn fail(&mut self, told: &ProviderError, out: &mut Vec<u8>) {
        let problem = Problem::of(told);
        let mut lines = Lines { next: &mut self.next, id: &self.shown.id, out };
        let line = lines.begin("error");
        text(line, "code", &problem.code);
        text(line, "message", &problem.message);
        raw(line, "param", b"");
        value(line, &problem.param);
        raw(line, "error", b"{\"type\":");
        value(line, &problem.kind);
        text(line, "code", &problem.code);
        text(line, "message", &problem.message);
        raw(line, "param", b"");
        value(line, &problem.param);
        line.push(b'}');
        lines.finish();
        self.status = Status::Failed(problem);
        self.respond("response.failed", out);
        self.over = true;
    }

    fn respond(&mut self, kind: &str, out: &mut Vec<u8>) {
        let mut lines = Lines { next: &mut self.next, id: &self.shown.id, out };
        raw(lines.begin(kind), "response", b"");
        self.object(out);
        out.extend_from_slice(b"}\n\n");
    }

    fn object(&self, out: &mut Vec<u8>) {
        let state = State {
            status: &self.status,
            items: self.output.items(),
            usage: self.usage,
            tier: self.tier.as_deref(),
        };
        object(&self.shown, &state, out);
    }
}

/// Where events go.
#[derive(Debug)]
pub(crate) struct Lines<'o> {
    next: &'o mut u64,
    /// The seed of the items' ids.
    id: &'o str,
    out: &'o mut Vec<u8>,
}

impl Lines<'_> {
    /// Begins an event of this type: its members follow.
    pub(crate) fn begin(&mut self, kind: &str) -> &mut Vec<u8> {
        let out = &mut *self.out;
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\ndata: {\"type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.push(b'"');
        number(out, "sequence_number", *self.next);
        *self.next += 1;
        out
    }

    /// Begins an event of an item's part.
    pub(crate) fn begin_at(&mut self, kind: &str, prefix: &str, index: usize) -> &mut Vec<u8> {
        let id = self.id;
        let out = self.begin(kind);
        raw(out, "item_id", b"");
        item_id(out, prefix, id, index);
        number(out, "output_index", index as u64);
        out
    }

    /// The seed of the items' ids.
    pub(crate) fn id(&self) -> &str {
        self.id
    }

    /// Ends the event.
    pub(crate) fn finish(&mut self) {
        self.out.extend_from_slice(b"}\n\n");
    }
}

/// The id of an item, quoted. Nothing in it needs an escape but what our own id brings.
pub(crate) fn item_id(out: &mut Vec<u8>, prefix: &str, id: &str, index: usize) {
    out.push(b'"');
    out.extend_from_slice(prefix.as_bytes());
    out.push(b'_');
    let from = out.len();
    value(out, id);
    // Without the quotes of its own.
    out.remove(from);
    out.pop();
    out.push(b'_');
    out.extend_from_slice(itoa::Buffer::new().format(index).as_bytes());
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::wire::api::{Format, Framing};
    use crate::wire::failure::class::{Class, Failure};
    use crate::wire::ir::{Echo, Kind, Piece, Signature};

    fn shown(freeform: &[&str]) -> ResponseContext {
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

    fn written(events: &[Event], freeform: &[&str]) -> Vec<Value> {
        let (mut encoder, mut out) = (Encoder::new(shown(freeform)), Vec::new());
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

    fn say(block: u32, text: &str) -> Event {
        Event::Delta { block, piece: Piece::Text(text.to_owned()) }
    }

    fn call(name: &str) -> Kind {
        Kind::ToolCall { id: None, name: name.to_owned() }
    }

    fn stop(why: Stop) -> Event {
        Event::Stop { candidate: 0, why, raw: None, sequence: None }
    }

    #[test]
    fn texts_in_a_row_are_parts_of_one_message_until_something_else_begins() {
        let close = |block| Event::Close { block };
        let events = [
            start(),
            open(0, Kind::Text),
            say(0, "a"),
            close(0),
            open(1, Kind::Text),
            say(1, "b"),
            close(1),
            open(2, call("f")),
            close(2),
            stop(Stop::Calls),
            Event::End,
        ];
        let events = written(&events, &[]);
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
    fn a_custom_tool_gets_its_text_alone() {
        let events = [
            start(),
            open(0, call("apply_patch")),
            say(0, r#"{"inp"#),
            say(0, r#"ut":"*** \u00e9"}"#),
            Event::Close { block: 0 },
            stop(Stop::Calls),
            Event::End,
        ];
        let events = written(&events, &["apply_patch"]);
        let item = &events.last().unwrap()["response"]["output"][0];
        assert_eq!((&item["type"], &item["input"]), (&json!("custom_tool_call"), &json!("*** é")));
        assert!(kinds(&events).contains(&"custom_tool_call_input.delta"));
    }

    #[test]
    fn a_signature_of_a_call_stands_behind_it() {
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
        let events = written(&events, &[]);
        let output = &events.last().unwrap()["response"]["output"];
        assert_eq!(output[1]["encrypted_content"], "gemini/before:c2ln");
        assert_eq!(output[2]["encrypted_content"], "gemini:c2ln");
    }

    #[test]
    fn an_answer_that_was_cut_short_says_so() {
        let ends = |why| {
            let events = [
                start(),
                open(0, Kind::Text),
                say(0, "a"),
                Event::Close { block: 0 },
                stop(why),
                Event::Usage(Usage { input: Some(3), ..Usage::default() }),
                Event::End,
            ];
            let response = written(&events, &[]).pop().unwrap()["response"].take();
            (response["status"].clone(), response["incomplete_details"]["reason"].clone())
        };
        assert_eq!(ends(Stop::End), (json!("completed"), Value::Null));
        assert_eq!(ends(Stop::Sequence), (json!("completed"), Value::Null));
        assert_eq!(ends(Stop::Length), (json!("incomplete"), json!("max_output_tokens")));
        assert_eq!(ends(Stop::Filter), (json!("incomplete"), json!("content_filter")));
        assert_eq!(ends(Stop::Refusal), (json!("incomplete"), json!("content_filter")));
        assert_eq!(ends(Stop::Malformed), (json!("incomplete"), Value::Null));
    }

    #[test]
    fn a_failure_is_raised_and_then_told_and_nothing_follows() {
        let failure = Failure { class: Class::Throttled, retry_after: None };
        let told = ProviderError {
            failure,
            kind: Some("overloaded_error".to_owned()),
            ..crate::wire::format::openai_responses::decode_response::error::trouble("Slow down")
        };
        let events = written(&[Event::Fail(told), Event::End], &[]);
        assert_eq!(kinds(&events), ["created", "in_progress", "error", "failed"]);
        assert_eq!(events[2]["error"]["code"], "rate_limit_exceeded");
        assert_eq!(events[2]["error"]["message"], "Slow down");
        assert_eq!(events[3]["response"]["status"], "failed");
        assert_eq!(events[3]["response"]["error"]["message"], "Slow down");
    }

    #[test]
    fn usage_that_was_not_told_is_null() {
        let response = written(&[start(), stop(Stop::End), Event::End], &[]).pop().unwrap();
        assert_eq!(response["response"]["usage"], Value::Null);
    }
}
