//! The items of a caller's stream: blocks become items, or parts of one.
//!
//! Texts and refusals in a row are the parts of one message, so a message ends only when something else
//! begins or the answer ends. Its texts are not held back for that.

use super::Lines;
use super::object::Status;
use super::parts::{Call, MESSAGE, Part, REASONING, Thought, head};
use super::write::{number, raw, text, value};
use crate::wire::api::Format;
use crate::wire::format::openai_responses::signature;
use crate::wire::format::openai_responses::signature::Of;
use crate::wire::ir::{Kind, Media, MediaKind, Piece, Signature, Source};

const PICTURE: &str = "ig";

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// By output index, as JSON; empty while they are going on.
    items: Vec<Vec<u8>>,
    open: Vec<(u32, Open)>,
    /// Messages that are not at their end. Only the last may get another part.
    messages: Vec<Message>,
    refused: bool,
    kept: usize,
}

#[derive(Debug)]
enum Open {
    Part(Part),
    Thought(Thought),
    Call(Call),
}

#[derive(Debug)]
struct Message {
    index: usize,
    /// Those that are whole, as JSON; empty while they are going on.
    parts: Vec<Vec<u8>>,
    open: usize,
    /// Nothing follows in it.
    last: bool,
    signature: Option<Signature>,
}

impl Output {
    /// Those that are whole, by their place; others are empty.
    pub(crate) fn items(&self) -> &[Vec<u8>] {
        &self.items
    }

    /// Whether there was a refusal.
    pub(crate) fn refused(&self) -> bool {
        self.refused
    }

    /// Bytes that are kept.
    pub(crate) fn kept(&self) -> usize {
        self.kept
    }

    pub(crate) fn open(
        &mut self,
        block: u32,
        kind: &Kind,
        freeform: &[String],
        lines: &mut Lines<'_>,
    ) {
        let open = match kind {
            Kind::Text => Open::Part(self.part(false, lines)),
            Kind::Refusal => {
                self.refused = true;
                Open::Part(self.part(true, lines))
            }
            Kind::Reasoning => {
                let index = self.item(lines);
                added(index, lines, |out, id| {
                    head(out, REASONING, id, index, "reasoning");
                    out.extend_from_slice(b",\"summary\":[]}");
                });
                Open::Thought(Thought::new(index))
            }
            Kind::ToolCall { id, name } => {
                let index = self.item(lines);
                let id = id.clone().unwrap_or_else(|| format!("call_{}_{block}", lines.id()));
                let freeform = freeform.contains(name);
                let call = Call::new(index, id, name.clone(), freeform);
                added(index, lines, |out, id| call.write("", "in_progress", id, out));
                Open::Call(call)
            }
            Kind::Media(media) => return self.picture(media, lines),
            Kind::Foreign { format: Format::OpenAiResponses, json } => {
                let index = self.item(lines);
                added(index, lines, |out, _| value(out, json));
                return self.done(index, lines, |out, _| value(out, json));
            }
            // What only another format can say has no place here.
            Kind::Foreign { .. } => return,
        };
        self.open.push((block, open));
    }

    pub(crate) fn piece(&mut self, block: u32, piece: &Piece, lines: &mut Lines<'_>) {
        let Some((_, open)) = self.open.iter_mut().rfind(|(own, _)| *own == block) else { return };
        match (open, piece) {
            (Open::Part(part), Piece::Text(more)) => {
                self.kept += more.len();
                part.say(more, lines);
            }
            (Open::Part(part), Piece::Logprobs(more)) => {
                // As JSON, in which each token stands twice.
                self.kept += more.len() * 64;
                part.logprobs(more, lines);
            }
            (Open::Part(part), Piece::Citation(what)) => {
                self.kept += 256;
                part.cite(what, lines);
            }
            (Open::Part(part), Piece::Signature(own)) => {
                let index = part.index;
                let message = self.messages.iter_mut().find(|message| message.index == index);
                if let Some(message) = message {
                    message.signature = Some(own.clone());
                }
            }
            (Open::Thought(thought), Piece::Text(more)) => {
                self.kept += more.len();
                thought.say(more, lines);
            }
            (
                Open::Thought(Thought { signature, .. }) | Open::Call(Call { signature, .. }),
                Piece::Signature(own),
            ) => {
                self.kept += own.data.len();
                *signature = Some(own.clone());
            }
            (Open::Call(call), Piece::Text(more)) => {
                self.kept += more.len();
                call.say(more, lines);
            }
            (Open::Thought(_) | Open::Call(_), Piece::Citation(_) | Piece::Logprobs(_)) => {}
        }
    }

    pub(crate) fn close(&mut self, block: u32, lines: &mut Lines<'_>) {
        let Some(place) = self.open.iter().rposition(|(own, _)| *own == block) else { return };
        match self.open.swap_remove(place).1 {
            Open::Part(part) => self.part_done(part, lines),
            Open::Thought(thought) => {
                thought.close(lines);
                self.done(thought.index, lines, |out, id| thought.write(id, out));
            }
            Open::Call(mut call) => {
                let said = call.close(lines);
                self.done(call.index, lines, |out, id| call.write(&said, "completed", id, out));
                self.signature(call.signature.as_ref(), lines);
            }
        }
    }

    /// The answer is over: so are its messages.
    pub(crate) fn finish(&mut self, status: &Status, lines: &mut Lines<'_>) {
        let status = match status {
            Status::Incomplete(_) => "incomplete",
            _ => "completed",
        };
        for message in std::mem::take(&mut self.messages) {
            self.message_done(&message, status, lines);
        }
    }

    /// The place of a new item; a message before it ends, unless a part of it is still going on.
    fn item(&mut self, lines: &mut Lines<'_>) -> usize {
        for message in &mut self.messages {
            message.last = true;
        }
        self.end_messages(lines);
        self.items.push(Vec::new());
        self.items.len() - 1
    }

    fn end_messages(&mut self, lines: &mut Lines<'_>) {
        while let Some(place) = self.messages.iter().position(|own| own.last && own.open == 0) {
            let message = self.messages.remove(place);
            self.message_done(&message, "completed", lines);
        }
    }

    fn message_done(&mut self, message: &Message, status: &str, lines: &mut Lines<'_>) {
        self.done(message.index, lines, |out, id| message.write(status, id, out));
        self.signature(message.signature.as_ref(), lines);
    }

    /// A signature of what is no thought, behind it.
    fn signature(&mut self, signature: Option<&Signature>, lines: &mut Lines<'_>) {
        let Some(signature) = signature else { return };
        self.items.push(Vec::new());
        let index = self.items.len() - 1;
        let item = |out: &mut Vec<u8>, id: &str| {
            head(out, REASONING, id, index, "reasoning");
            out.extend_from_slice(b",\"summary\":[]");
            text(out, "encrypted_content", &signature::written(signature, Of::Before));
            out.push(b'}');
        };
        added(index, lines, item);
        self.done(index, lines, item);
    }

    fn done(&mut self, index: usize, lines: &mut Lines<'_>, item: impl FnOnce(&mut Vec<u8>, &str)) {
        let mut json = Vec::new();
        item(&mut json, lines.id());
        let out = lines.begin("response.output_item.done");
        number(out, "output_index", index as u64);
        raw(out, "item", &json);
        lines.finish();
        self.kept += json.len();
        self.items[index] = json;
    }

    /// A new part of the message that is going on, or of a new one.
    fn part(&mut self, refusal: bool, lines: &mut Lines<'_>) -> Part {
        if self.messages.last().is_none_or(|message| message.last) {
            let index = self.item(lines);
            let message =
                Message { index, parts: Vec::new(), open: 0, last: false, signature: None };
            added(index, lines, |out, id| message.write("in_progress", id, out));
            self.messages.push(message);
        }
        let (mut index, mut place) = (0, 0);
        if let Some(message) = self.messages.last_mut() {
            message.open += 1;
            message.parts.push(Vec::new());
            (index, place) = (message.index, message.parts.len() - 1);
        }
        let part = Part::new(index, place, refusal);
        part.added(lines);
        part
    }

    fn part_done(&mut self, mut part: Part, lines: &mut Lines<'_>) {
        part.close(lines);
        if let Some(message) = self.messages.iter_mut().find(|own| own.index == part.index) {
            part.write(&mut message.parts[part.place]);
            message.open -= 1;
        }
        self.end_messages(lines);
    }

    /// As OpenAI's own tool tells what it has drawn; a sound has no place here.
    fn picture(&mut self, media: &Media, lines: &mut Lines<'_>) {
        let Media { kind: MediaKind::Image, source: Source::Base64 { media_type, data }, .. } =
            media
        else {
            return;
        };
        let index = self.item(lines);
        let item = |out: &mut Vec<u8>, id: &str| {
            head(out, PICTURE, id, index, "image_generation_call");
            text(out, "status", "completed");
            text(out, "output_format", media_type.strip_prefix("image/").unwrap_or(media_type));
            text(out, "result", data);
            out.push(b'}');
        };
        added(index, lines, item);
        self.done(index, lines, item);
    }
}

fn added(index: usize, lines: &mut Lines<'_>, item: impl FnOnce(&mut Vec<u8>, &str)) {
    let id = lines.id().to_owned();
    let out = lines.begin("response.output_item.added");
    number(out, "output_index", index as u64);
    raw(out, "item", b"");
    item(out, &id);
    lines.finish();
}

impl Message {
    fn write(&self, status: &str, id: &str, out: &mut Vec<u8>) {
        head(out, MESSAGE, id, self.index, "message");
        text(out, "status", status);
        text(out, "role", "assistant");
        raw(out, "content", b"[");
        for (place, part) in self.parts.iter().filter(|part| !part.is_empty()).enumerate() {
            if place > 0 {
                out.push(b',');
            }
            out.extend_from_slice(part);
        }
        out.extend_from_slice(b"]}");
    }
}
