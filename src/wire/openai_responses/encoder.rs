//! A caller's stream, and whole answers, which are the object in a stream's last event.
//!
//! ```text
//! response.created, response.in_progress
//! of each item       response.output_item.added, the events of its parts, response.output_item.done
//! response.completed, or response.incomplete, or error and response.failed
//! ```
//!
//! Events at an item's end repeat it whole, and the last of all repeats all items, so what was said is kept.

use super::object::{Problem, State, Status, object};
use super::output::Output;
use super::write::{number, raw, text, value};
use crate::wire::ir::{Event, Reply, Stop, Told, Usage};
use crate::wire::translate::Shown;

/// The longest answer that is kept to be repeated: that of an event on its way in.
const LONGEST: usize = 16 * 1024 * 1024;

/// Makes a stream for the caller.
#[derive(Debug)]
pub struct Encoder {
    shown: Box<Shown>,
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
pub fn encode_whole(reply: &Reply, shown: &Shown) -> Vec<u8> {
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
    pub fn new(shown: Shown) -> Encoder {
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
            let told = super::told::trouble("The answer is longer than 16 MiB.");
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
    fn fail(&mut self, told: &Told, out: &mut Vec<u8>) {
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
pub(super) struct Lines<'o> {
    next: &'o mut u64,
    /// The seed of the items' ids.
    id: &'o str,
    out: &'o mut Vec<u8>,
}

impl Lines<'_> {
    /// Begins an event of this type: its members follow.
    pub(super) fn begin(&mut self, kind: &str) -> &mut Vec<u8> {
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
    pub(super) fn begin_at(&mut self, kind: &str, prefix: &str, index: usize) -> &mut Vec<u8> {
        let id = self.id;
        let out = self.begin(kind);
        raw(out, "item_id", b"");
        item_id(out, prefix, id, index);
        number(out, "output_index", index as u64);
        out
    }

    /// The seed of the items' ids.
    pub(super) fn id(&self) -> &str {
        self.id
    }

    /// Ends the event.
    pub(super) fn finish(&mut self) {
        self.out.extend_from_slice(b"}\n\n");
    }
}

/// The id of an item, quoted. Nothing in it needs an escape but what our own id brings.
pub(super) fn item_id(out: &mut Vec<u8>, prefix: &str, id: &str, index: usize) {
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
