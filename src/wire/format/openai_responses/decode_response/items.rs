//! The items of an answer become blocks. The events that end an item repeat it, so the state of each item
//! records what has been written, and only the missing part is written then.

use serde_json::Value;
use serde_json::value::RawValue;

use super::types::{self, Item, Part};
use crate::wire::api::Format;
use crate::wire::failure::ProviderError;
use crate::wire::format::openai_responses::types::FREEFORM;
use crate::wire::ir::block_writer::BlockWriter;
use crate::wire::ir::{Event, Kind, Media, MediaKind, Piece, Signature, Source};

/// No answer has as many items.
const MAX_ITEMS: usize = 1024;

/// No answer has as many parts in all of its items.
const MAX_BLOCKS: u32 = 4096;

/// Separates the parts of a reasoning item, which become one block.
const PARAGRAPH: &str = "\n\n";

/// The kinds of texts that items contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextKind {
    Text,
    Refusal,
    /// The reasoning itself.
    Reasoning,
    /// A summary of the reasoning.
    Summary,
    /// Arguments of a function call.
    Arguments,
}

impl TextKind {
    fn item_type(self) -> &'static str {
        match self {
            TextKind::Text | TextKind::Refusal => "message",
            TextKind::Reasoning | TextKind::Summary => "reasoning",
            TextKind::Arguments => "function_call",
        }
    }

    fn of_part(part: &Part<'_>) -> Option<TextKind> {
        match &*part.kind {
            "output_text" | "text" => Some(TextKind::Text),
            "refusal" => Some(TextKind::Refusal),
            _ => None,
        }
    }
}

/// The part of an item that an event is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The output index; some vendors leave it out and mean the latest item.
    pub(super) item: Option<u32>,
    pub(super) part: u32,
}

/// Text of an item.
#[derive(Debug)]
pub(super) struct TextEvent {
    pub(super) kind: TextKind,
    pub(super) place: Place,
    pub(super) text: String,
    /// Set if the text is all of the part, at its end, instead of a delta.
    pub(super) is_whole: bool,
    pub(super) logprobs: Vec<Value>,
}

/// The items so far.
#[derive(Debug)]
pub(super) struct Items {
    pub(super) writer: BlockWriter,
    states: Vec<ItemState>,
    /// Set when the model has called a tool of the caller.
    pub(super) has_call: bool,
    /// Set when the model has written a refusal.
    pub(super) has_refusal: bool,
}

#[derive(Debug)]
struct ItemState {
    output_index: u32,
    is_done: bool,
    content: ItemContent,
}

#[derive(Debug)]
enum ItemContent {
    Message(Vec<MessagePart>),
    Reasoning(ReasoningItem),
    Call(CallItem),
    /// Written when it is done.
    Other,
}

#[derive(Debug)]
struct MessagePart {
    content_index: u32,
    block: u32,
    has_text: bool,
    has_logprobs: bool,
    citations: usize,
}

#[derive(Debug, Default)]
struct ReasoningItem {
    block: Option<u32>,
    /// The reasoning or its summary, whichever comes first. Only one of them is written.
    text_kind: Option<TextKind>,
    /// The latest part of which something was written.
    part: Option<u32>,
    parts: usize,
}

#[derive(Debug, Default)]
struct CallItem {
    block: Option<u32>,
    has_arguments: bool,
}

impl Default for Items {
    fn default() -> Items {
        Items {
            writer: BlockWriter::new(MAX_BLOCKS),
            states: Vec::new(),
            has_call: false,
            has_refusal: false,
        }
    }
}

impl Items {
    /// Handles the event that an item begins.
    pub(super) fn item_added(&mut self, index: Option<u32>, raw: &RawValue, out: &mut Vec<Event>) {
        let item: Item<'_> = types::parse(Some(raw)).unwrap_or_default();
        if let Some(at) = self.find_or_begin(index, &item.kind, out) {
            self.open_call(at, &item, out);
        }
    }

    /// Handles the event that an item is done: writes what its events have not.
    pub(super) fn item_done(&mut self, index: Option<u32>, raw: &RawValue, out: &mut Vec<Event>) {
        let item: Item<'_> = types::parse(Some(raw)).unwrap_or_default();
        let Some(at) = self.find_or_begin(index, &item.kind, out) else { return };
        if self.states[at].is_done {
            return;
        }
        match self.states[at].content {
            ItemContent::Message(_) => {
                self.finish_message(at, item.content.as_deref().unwrap_or_default(), out);
            }
            ItemContent::Reasoning(_) => self.finish_reasoning(at, &item, out),
            ItemContent::Call(_) => self.finish_call(at, &item, out),
            ItemContent::Other => self.write_whole(&item, raw, out),
        }
        self.close(at, out);
    }

    /// Handles the end of the answer: writes the items of which no event was sent, and closes open ones.
    pub(super) fn finish(&mut self, output: &[&RawValue], out: &mut Vec<Event>) {
        if self.states.is_empty() {
            for (index, item) in (0..).zip(output) {
                self.item_done(Some(index), item, out);
            }
        }
        for at in 0..self.states.len() {
            let ItemState { output_index, is_done: false, .. } = self.states[at] else { continue };
            match usize::try_from(output_index).ok().and_then(|index| output.get(index)) {
                Some(item) => self.item_done(Some(output_index), item, out),
                None => self.close(at, out),
            }
        }
    }

    /// Handles the event that a part of a message begins.
    pub(super) fn part_added(
        &mut self,
        place: Place,
        raw: Option<&RawValue>,
        out: &mut Vec<Event>,
    ) {
        let part: Part<'_> = types::parse(raw).unwrap_or_default();
        if let Some(kind) = TextKind::of_part(&part)
            && let Some(at) = self.find_or_begin(place.item, "message", out)
        {
            self.find_or_open_part(at, place.part, kind, out);
        }
    }

    /// Handles the event that a part of a message is done.
    pub(super) fn part_done(&mut self, place: Place, raw: Option<&RawValue>, out: &mut Vec<Event>) {
        let part: Part<'_> = types::parse(raw).unwrap_or_default();
        if let Some((message_part, writer)) = self.find_part(place) {
            message_part.finish(&part, writer, out);
        }
    }

    /// Handles a citation in a text.
    pub(super) fn citation(&mut self, place: Place, citation: Value, out: &mut Vec<Event>) {
        if let Some((part, writer)) = self.find_part(place) {
            part.citations += 1;
            writer.extend(part.block, Piece::Citation(citation), out);
        }
    }

    /// Handles a delta of a text, or all of the text at its end.
    pub(super) fn text(&mut self, event: TextEvent, out: &mut Vec<Event>) {
        let item_type = event.kind.item_type();
        let Some(at) = self.find_or_begin(event.place.item, item_type, out) else { return };
        if self.states[at].is_done {
            return;
        }
        let Items { states, writer, .. } = self;
        match &mut states[at].content {
            ItemContent::Message(_) if item_type == "message" => {
                let part = self.find_or_open_part(at, event.place.part, event.kind, out);
                if let Some((part, writer)) = part {
                    part.push(event.text, event.is_whole, event.logprobs, writer, out);
                }
            }
            ItemContent::Reasoning(reasoning) if item_type == "reasoning" => {
                reasoning.push(event, writer, out);
            }
            ItemContent::Call(CallItem { block: Some(block), has_arguments })
                if item_type == "function_call"
                    && !(event.text.is_empty() || (event.is_whole && *has_arguments)) =>
            {
                *has_arguments = true;
                writer.extend(*block, Piece::Text(event.text), out);
            }
            _ => {}
        }
    }

    /// Returns the position of an item in the list, and begins one that is new. Too many items fail the answer.
    fn find_or_begin(
        &mut self,
        output_index: Option<u32>,
        item_type: &str,
        out: &mut Vec<Event>,
    ) -> Option<usize> {
        let found = match output_index {
            Some(index) => self.states.iter().rposition(|item| item.output_index == index),
            None => self.states.iter().rposition(|item| !item.is_done),
        };
        if found.is_some() {
            return found;
        }
        if self.states.len() >= MAX_ITEMS {
            let message = "The provider's answer has too many items.";
            self.writer.fail(ProviderError::malformed(message), out);
            return None;
        }
        let content = match item_type {
            "message" => ItemContent::Message(Vec::new()),
            "reasoning" => ItemContent::Reasoning(ReasoningItem::default()),
            "function_call" => ItemContent::Call(CallItem::default()),
            _ => ItemContent::Other,
        };
        let next = self.states.iter().map(|item| item.output_index.saturating_add(1)).max();
        let output_index = output_index.or(next).unwrap_or(0);
        self.states.push(ItemState { output_index, is_done: false, content });
        Some(self.states.len() - 1)
    }

    /// Returns a part of a message that is not done, and opens one that is new.
    fn find_or_open_part(
        &mut self,
        at: usize,
        content_index: u32,
        kind: TextKind,
        out: &mut Vec<Event>,
    ) -> Option<(&mut MessagePart, &mut BlockWriter)> {
        let Items { states, writer, has_refusal, .. } = self;
        let ItemState { is_done: false, content: ItemContent::Message(parts), .. } =
            &mut states[at]
        else {
            return None;
        };
        let found = parts.iter().rposition(|part| part.content_index == content_index);
        let position = if let Some(position) = found {
            position
        } else {
            let is_refusal = kind == TextKind::Refusal;
            *has_refusal |= is_refusal;
            let kind = if is_refusal { Kind::Refusal } else { Kind::Text };
            let block = writer.open(0, kind, out)?;
            let (has_text, has_logprobs, citations) = (false, false, 0);
            parts.push(MessagePart { content_index, block, has_text, has_logprobs, citations });
            parts.len() - 1
        };
        Some((parts.get_mut(position)?, writer))
    }

    fn find_part(&mut self, place: Place) -> Option<(&mut MessagePart, &mut BlockWriter)> {
        let Items { states, writer, .. } = self;
        let item = match place.item {
            Some(index) => states.iter_mut().rfind(|item| item.output_index == index)?,
            None => states.last_mut()?,
        };
        let ItemContent::Message(parts) = &mut item.content else { return None };
        let part = parts.iter_mut().rfind(|part| part.content_index == place.part)?;
        Some((part, writer))
    }

    /// Matches the parts by their position in the list, because some vendors count otherwise in their events
    /// (Bedrock's first part of a message has the number 1).
    fn finish_message(&mut self, at: usize, content: &[Part<'_>], out: &mut Vec<Event>) {
        for (position, part) in content.iter().enumerate() {
            let ItemContent::Message(parts) = &self.states[at].content else { break };
            let next = parts.iter().map(|part| part.content_index.saturating_add(1)).max();
            let index = parts.get(position).map(|part| part.content_index);
            let index = index.or(next).unwrap_or(0);
            if let Some(kind) = TextKind::of_part(part)
                && let Some((message_part, writer)) = self.find_or_open_part(at, index, kind, out)
            {
                message_part.finish(part, writer, out);
            }
        }
    }

    fn finish_reasoning(&mut self, at: usize, item: &Item<'_>, out: &mut Vec<Event>) {
        let Items { states, writer, .. } = self;
        let ItemState { output_index, content: ItemContent::Reasoning(reasoning), .. } =
            &mut states[at]
        else {
            return;
        };
        let lists = [(TextKind::Reasoning, &item.content), (TextKind::Summary, &item.summary)];
        for (kind, parts) in lists {
            for part in parts.iter().flatten().skip(reasoning.written_parts(kind)) {
                let number = reasoning.part.map_or(0, |part| part.saturating_add(1));
                let event = TextEvent {
                    kind,
                    place: Place { item: Some(*output_index), part: number },
                    text: types::text(part.text).unwrap_or_default(),
                    is_whole: true,
                    logprobs: Vec::new(),
                };
                reasoning.push(event, writer, out);
            }
        }
        if let Some(data) = types::text(item.encrypted_content)
            && let Some(block) = reasoning.open(writer, out)
        {
            let id = types::text(item.id);
            let signature = Signature { format: Format::OpenAiResponses, data, id };
            writer.extend(block, Piece::Signature(signature), out);
        }
    }

    /// Opens a call as soon as its name is known.
    fn open_call(&mut self, at: usize, item: &Item<'_>, out: &mut Vec<Event>) {
        if let ItemState { is_done: false, content: ItemContent::Call(call), .. } =
            &mut self.states[at]
            && call.block.is_none()
            && let Some(name) = types::text(item.name)
        {
            let id = types::text(item.call_id).or_else(|| types::text(item.id));
            call.block = self.writer.open(0, Kind::ToolCall { id, name }, out);
            self.has_call = true;
        }
    }

    fn finish_call(&mut self, at: usize, item: &Item<'_>, out: &mut Vec<Event>) {
        self.open_call(at, item, out);
        if let ItemContent::Call(CallItem { block: Some(block), has_arguments: false }) =
            self.states[at].content
            && let Some(text) = types::arguments(item.arguments)
        {
            self.writer.extend(block, Piece::Text(text), out);
        }
    }

    /// Writes an item of which only the end is read.
    fn write_whole(&mut self, item: &Item<'_>, raw: &RawValue, out: &mut Vec<Event>) {
        if item.kind == "custom_tool_call" {
            self.has_call = true;
            let id = types::text(item.call_id).or_else(|| types::text(item.id));
            let name = types::text(item.name).unwrap_or_default();
            if let Some(block) = self.writer.open(0, Kind::ToolCall { id, name }, out) {
                let input: String = types::parse(item.input).unwrap_or_default();
                let arguments = serde_json::json!({ FREEFORM: input }).to_string();
                self.writer.extend(block, Piece::Text(arguments), out);
                self.writer.close(block, out);
            }
        } else if let Some(media) = generated_image(item) {
            self.writer.whole(0, Kind::Media(media), out);
        } else if let Some(json) = types::parse(Some(raw)) {
            self.writer.whole(0, Kind::Foreign { format: Format::OpenAiResponses, json }, out);
        }
    }

    fn close(&mut self, at: usize, out: &mut Vec<Event>) {
        let Items { states, writer, .. } = self;
        let item = &mut states[at];
        item.is_done = true;
        match &item.content {
            ItemContent::Message(parts) => {
                for part in parts {
                    writer.close(part.block, out);
                }
            }
            ItemContent::Reasoning(ReasoningItem { block: Some(block), .. })
            | ItemContent::Call(CallItem { block: Some(block), .. }) => writer.close(*block, out),
            ItemContent::Reasoning(_) | ItemContent::Call(_) | ItemContent::Other => {}
        }
    }
}

impl MessagePart {
    fn push(
        &mut self,
        text: String,
        is_whole: bool,
        logprobs: Vec<Value>,
        writer: &mut BlockWriter,
        out: &mut Vec<Event>,
    ) {
        if !(text.is_empty() || (is_whole && self.has_text)) {
            self.has_text = true;
            writer.extend(self.block, Piece::Text(text), out);
        }
        if !(logprobs.is_empty() || (is_whole && self.has_logprobs)) {
            self.has_logprobs = true;
            writer.extend(self.block, Piece::Logprobs(logprobs), out);
        }
    }

    fn finish(&mut self, part: &Part<'_>, writer: &mut BlockWriter, out: &mut Vec<Event>) {
        let text = types::text(part.text).or_else(|| types::text(part.refusal));
        self.push(text.unwrap_or_default(), true, types::list(part.logprobs), writer, out);
        for citation in types::list(part.annotations).into_iter().skip(self.citations) {
            self.citations += 1;
            writer.extend(self.block, Piece::Citation(citation), out);
        }
        writer.close(self.block, out);
    }
}

impl ReasoningItem {
    fn open(&mut self, writer: &mut BlockWriter, out: &mut Vec<Event>) -> Option<u32> {
        self.block = self.block.or_else(|| writer.open(0, Kind::Reasoning, out));
        self.block
    }

    /// Returns how many parts of this kind need not be written: all, if the other kind was written.
    fn written_parts(&self, kind: TextKind) -> usize {
        match self.text_kind {
            Some(written) if written != kind => usize::MAX,
            _ => self.parts,
        }
    }

    /// Writes a delta, or all of a part of which nothing was written.
    fn push(&mut self, event: TextEvent, writer: &mut BlockWriter, out: &mut Vec<Event>) {
        let TextEvent { kind, place: Place { part, .. }, mut text, is_whole, .. } = event;
        let is_earlier = self.part.is_some_and(|latest| latest > part);
        let is_written = is_earlier || (is_whole && self.part == Some(part));
        if text.is_empty() || is_written || self.text_kind.is_some_and(|other| other != kind) {
            return;
        }
        self.text_kind = Some(kind);
        if self.part != Some(part) {
            self.part = Some(part);
            self.parts += 1;
            if self.block.is_some() {
                text.insert_str(0, PARAGRAPH);
            }
        }
        if let Some(block) = self.open(writer, out) {
            writer.extend(block, Piece::Text(text), out);
        }
    }
}

/// Returns the image that OpenAI's own image tool has made.
fn generated_image(item: &Item<'_>) -> Option<Media> {
    if item.kind != "image_generation_call" {
        return None;
    }
    let data = types::text(item.result)?;
    let format = types::text(item.output_format).unwrap_or_else(|| "png".to_owned());
    Some(Media {
        kind: MediaKind::Image,
        source: Source::Base64 { media_type: format!("image/{format}"), data },
        name: None,
        detail: None,
    })
}
