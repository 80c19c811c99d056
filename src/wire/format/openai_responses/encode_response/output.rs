//! The `output` items of a caller's answer: each block becomes an item, or a part of one.
//!
//! Texts and refusals in a row are the parts of one message, so a message ends only when another item begins or
//! the answer ends. The events of its texts do not wait for that.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::event_writer::{EventWriter, Place};
use super::object::Status;
use super::parts::{CallItem, MessagePart, ReasoningItem};
use crate::wire::api::Format;
use crate::wire::format::openai_responses::signature::{self, Signed};
use crate::wire::format::openai_responses::types::OutputItem;
use crate::wire::ir::{Kind, Media, MediaKind, Piece, Signature, Source};

/// All items of an answer.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// By output index; `None` until the item is done.
    items: Vec<Option<Box<RawValue>>>,
    open_blocks: Vec<(u32, OpenBlock)>,
    /// Messages that are not done. Only the last one may get another part.
    messages: Vec<Message>,
    has_refusal: bool,
    buffered_bytes: usize,
}

#[derive(Debug)]
enum OpenBlock {
    Part(MessagePart),
    Reasoning(ReasoningItem),
    Call(CallItem),
}

#[derive(Debug)]
struct Message {
    output_index: usize,
    id: String,
    /// `None` until the part is done.
    parts: Vec<Option<Box<RawValue>>>,
    open_parts: usize,
    /// Set when no part may follow.
    is_sealed: bool,
    signature: Option<Signature>,
}

impl Output {
    /// Returns the items that are done.
    pub(super) fn items(&self) -> Vec<&RawValue> {
        self.items.iter().flatten().map(|item| &**item).collect()
    }

    /// Returns true if the answer contains a refusal text.
    pub(super) fn has_refusal(&self) -> bool {
        self.has_refusal
    }

    /// Returns the number of bytes kept for the last event.
    pub(super) fn buffered_bytes(&self) -> usize {
        self.buffered_bytes
    }

    /// Opens a block.
    pub(super) fn open(&mut self, block: u32, kind: &Kind, events: &mut EventWriter<'_>) {
        let open_block = match kind {
            Kind::Text => OpenBlock::Part(self.open_part(false, events)),
            Kind::Refusal => {
                self.has_refusal = true;
                OpenBlock::Part(self.open_part(true, events))
            }
            Kind::Reasoning => {
                let part = Some(("summary_index", 0));
                let item = ReasoningItem::new(Place { part, ..self.begin_item("rs", events) });
                item_added(item.place.output_index, &item.json(), events);
                OpenBlock::Reasoning(item)
            }
            Kind::ToolCall { id, name } => {
                let context = events.context;
                let call_id = id.clone().unwrap_or_else(|| format!("call_{}_{block}", context.id));
                let is_custom =
                    context.echo.as_deref().is_some_and(|echo| echo.freeform.contains(name));
                let place = self.begin_item(if is_custom { "ctc" } else { "fc" }, events);
                let call = CallItem::new(place, call_id, name.clone(), is_custom);
                item_added(call.place.output_index, &call.json("", "in_progress"), events);
                OpenBlock::Call(call)
            }
            Kind::Media(media) => return self.image(media, events),
            Kind::Foreign { format: Format::OpenAiResponses, json } => {
                let place = self.begin_item("", events);
                return self.whole_item(place.output_index, json, events);
            }
            // Items of other formats have no counterpart.
            Kind::Foreign { .. } => return,
        };
        self.open_blocks.push((block, open_block));
    }

    /// Adds to an open block.
    pub(super) fn delta(&mut self, block: u32, piece: &Piece, events: &mut EventWriter<'_>) {
        let open_block = self.open_blocks.iter_mut().rfind(|(number, _)| *number == block);
        let Some((_, open_block)) = open_block else { return };
        self.buffered_bytes += match piece {
            Piece::Text(text) => text.len(),
            Piece::Signature(signature) => signature.data.len(),
            // As JSON; each token's text and its bytes.
            Piece::Logprobs(logprobs) => logprobs.len() * 64,
            Piece::Citation(_) => 256,
        };
        match (open_block, piece) {
            (OpenBlock::Part(part), Piece::Text(delta)) => part.push_text(delta, events),
            (OpenBlock::Part(part), Piece::Logprobs(more)) => part.push_logprobs(more, events),
            (OpenBlock::Part(part), Piece::Citation(citation)) => {
                part.push_citation(citation, events);
            }
            (OpenBlock::Part(part), Piece::Signature(signature)) => {
                let index = part.place.output_index;
                let message = self.messages.iter_mut().find(|it| it.output_index == index);
                if let Some(message) = message {
                    message.signature = Some(signature.clone());
                }
            }
            (OpenBlock::Reasoning(item), Piece::Text(delta)) => item.push_text(delta, events),
            (OpenBlock::Reasoning(item), Piece::Signature(signature)) => {
                item.signature = Some(signature.clone());
            }
            (OpenBlock::Call(call), Piece::Text(delta)) => call.push_arguments(delta, events),
            (OpenBlock::Call(call), Piece::Signature(signature)) => {
                call.signature = Some(signature.clone());
            }
            // Only texts have them.
            (
                OpenBlock::Reasoning(_) | OpenBlock::Call(_),
                Piece::Citation(_) | Piece::Logprobs(_),
            ) => {}
        }
    }

    /// Closes a block.
    pub(super) fn close(&mut self, block: u32, events: &mut EventWriter<'_>) {
        let position = self.open_blocks.iter().rposition(|(number, _)| *number == block);
        let Some(position) = position else { return };
        match self.open_blocks.swap_remove(position).1 {
            OpenBlock::Part(part) => self.close_part(part, events),
            OpenBlock::Reasoning(item) => {
                item.close(events);
                self.item_done(item.place.output_index, &item.json(), events);
            }
            OpenBlock::Call(mut call) => {
                let input = call.close(events);
                self.item_done(call.place.output_index, &call.json(&input, "completed"), events);
                self.signature_item(call.signature.as_ref(), events);
            }
        }
    }

    /// Ends all messages, with the status of the answer.
    pub(super) fn finish(&mut self, status: &Status, events: &mut EventWriter<'_>) {
        let status = match status {
            Status::Incomplete(_) => "incomplete",
            _ => "completed",
        };
        for message in std::mem::take(&mut self.messages) {
            self.message_done(&message, status, events);
        }
    }

    /// Reserves the place of a new item. Messages before it end as soon as their parts are closed.
    fn begin_item(&mut self, id_prefix: &str, events: &mut EventWriter<'_>) -> Place {
        for message in &mut self.messages {
            message.is_sealed = true;
        }
        self.end_sealed_messages(events);
        self.reserve(id_prefix, events)
    }

    fn reserve(&mut self, id_prefix: &str, events: &EventWriter<'_>) -> Place {
        let output_index = self.items.len();
        self.items.push(None);
        let item_id = format!("{id_prefix}_{}_{output_index}", events.context.id);
        Place { item_id, output_index, part: None }
    }

    fn end_sealed_messages(&mut self, events: &mut EventWriter<'_>) {
        let ended = |message: &Message| message.is_sealed && message.open_parts == 0;
        while let Some(position) = self.messages.iter().position(ended) {
            let message = self.messages.remove(position);
            self.message_done(&message, "completed", events);
        }
    }

    fn message_done(
        &mut self,
        message: &Message,
        status: &'static str,
        events: &mut EventWriter<'_>,
    ) {
        self.item_done(message.output_index, &message.json(status), events);
        self.signature_item(message.signature.as_ref(), events);
    }

    /// Writes the signature of a message or a call, as a reasoning item after it.
    fn signature_item(&mut self, signature: Option<&Signature>, events: &mut EventWriter<'_>) {
        let Some(signature) = signature else { return };
        let place = self.reserve("rs", events);
        let item = OutputItem::Reasoning {
            id: &place.item_id,
            summary: Vec::new(),
            encrypted_content: Some(signature::encode(signature, Signed::ItemBefore)),
        };
        self.whole_item(place.output_index, &item, events);
    }

    fn whole_item(&mut self, index: usize, item: &impl Serialize, events: &mut EventWriter<'_>) {
        item_added(index, item, events);
        self.item_done(index, item, events);
    }

    fn item_done(&mut self, index: usize, item: &impl Serialize, events: &mut EventWriter<'_>) {
        // Serializing strings, numbers and JSON values cannot fail.
        let Ok(json) = to_raw_value(item) else { return };
        events.event("response.output_item.done", |event| {
            event.put("output_index", &index).raw("item", json.get());
        });
        self.buffered_bytes += json.get().len();
        self.items[index] = Some(json);
    }

    /// Opens a part of the last message, or of a new one.
    fn open_part(&mut self, is_refusal: bool, events: &mut EventWriter<'_>) -> MessagePart {
        let last = self.messages.pop_if(|message| !message.is_sealed);
        let mut message = last.unwrap_or_else(|| {
            let Place { item_id: id, output_index, .. } = self.begin_item("msg", events);
            let message = Message::new(output_index, id);
            item_added(output_index, &message.json("in_progress"), events);
            message
        });
        let place = Place {
            item_id: message.id.clone(),
            output_index: message.output_index,
            part: Some(("content_index", message.parts.len())),
        };
        message.open_parts += 1;
        message.parts.push(None);
        self.messages.push(message);
        MessagePart::open(place, is_refusal, events)
    }

    fn close_part(&mut self, mut part: MessagePart, events: &mut EventWriter<'_>) {
        part.close(events);
        let index = part.place.output_index;
        let message = self.messages.iter_mut().find(|message| message.output_index == index);
        if let (Some(message), Some((_, part_index))) = (message, part.place.part) {
            message.parts[part_index] = to_raw_value(&part.json()).ok();
            message.open_parts -= 1;
        }
        self.end_sealed_messages(events);
    }

    /// Writes an image as OpenAI's own image tool does. Other media have no counterpart.
    fn image(&mut self, media: &Media, events: &mut EventWriter<'_>) {
        let Media { kind: MediaKind::Image, source: Source::Base64 { media_type, data }, .. } =
            media
        else {
            return;
        };
        let place = self.begin_item("ig", events);
        let item = OutputItem::ImageGenerationCall {
            id: &place.item_id,
            status: "completed",
            output_format: media_type.strip_prefix("image/").unwrap_or(media_type),
            result: data,
        };
        self.whole_item(place.output_index, &item, events);
    }
}

fn item_added(index: usize, item: &impl Serialize, events: &mut EventWriter<'_>) {
    events.event("response.output_item.added", |event| {
        event.put("output_index", &index).put("item", item);
    });
}

impl Message {
    fn new(output_index: usize, id: String) -> Message {
        Message {
            output_index,
            id,
            parts: Vec::new(),
            open_parts: 0,
            is_sealed: false,
            signature: None,
        }
    }

    fn json(&self, status: &'static str) -> OutputItem<'_> {
        let content = self.parts.iter().flatten().map(|part| &**part).collect();
        OutputItem::Message { id: &self.id, status, role: "assistant", content }
    }
}
