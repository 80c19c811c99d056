//! The items of an answer on their way to blocks: what each has told so far, so that the events that repeat
//! it at its end tell only what is missing.

use serde_json::Value;
use serde_json::value::RawValue;

use super::error;
use super::error::{Item, Part};
use crate::wire::api::Format;
use crate::wire::format::openai_responses::FREEFORM;
use crate::wire::ir::{Event, Kind, Media, MediaKind, Piece, Signature, Source};

/// More items than any answer has.
const MOST: usize = 1024;

/// More parts of all of them.
const MOST_BLOCKS: u32 = 4096;

/// Between the parts of a reasoning item, which become one thought.
const PARAGRAPH: &str = "\n\n";

/// There are more.
#[derive(Debug)]
pub(crate) struct Full;

/// What a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Voice {
    Text,
    Refusal,
    /// Reasoning itself.
    Thinking,
    /// A summary of it.
    Summary,
    /// A call's.
    Arguments,
}

/// What an event is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Absent with a vendor that leaves it out: the latest item.
    pub(crate) item: Option<u32>,
    pub(crate) part: u32,
}

/// All items so far.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    items: Vec<Open>,
    next: u32,
    called: bool,
    refused: bool,
}

#[derive(Debug)]
struct Open {
    index: u32,
    done: bool,
    what: What,
}

#[derive(Debug)]
enum What {
    Message(Vec<Text>),
    Thought(Thought),
    Call(Call),
    /// ProviderError when it is done.
    Other,
}

/// A part of a message.
#[derive(Debug)]
struct Text {
    part: u32,
    block: u32,
    told: bool,
    logprobs: bool,
    citations: usize,
    closed: bool,
}

#[derive(Debug, Default)]
struct Thought {
    block: Option<u32>,
    /// Whether it is told by summary or itself: what came first. ProviderError is one of them.
    voice: Option<Voice>,
    /// The latest part that has told something.
    part: Option<u32>,
    parts: usize,
}

/// Something of a reasoning item.
struct Thinks {
    voice: Voice,
    part: u32,
    text: String,
    whole: bool,
}

#[derive(Debug, Default)]
struct Call {
    block: Option<u32>,
    told: bool,
}

impl Blocks {
    /// Whether a tool is to be called.
    pub(crate) fn called(&self) -> bool {
        self.called
    }

    /// Whether the model has said that it will not answer.
    pub(crate) fn refused(&self) -> bool {
        self.refused
    }

    /// An item begins.
    pub(crate) fn added(
        &mut self,
        index: Option<u32>,
        raw: &RawValue,
        out: &mut Vec<Event>,
    ) -> Result<(), Full> {
        let item: Item<'_> = error::read(Some(raw)).unwrap_or_default();
        let at = self.item(index, &item.kind)?;
        self.call(at, &item, out);
        Ok(())
    }

    /// An item is whole: tells what its events have not.
    pub(crate) fn done(
        &mut self,
        index: Option<u32>,
        raw: &RawValue,
        out: &mut Vec<Event>,
    ) -> Result<(), Full> {
        let item: Item<'_> = error::read(Some(raw)).unwrap_or_default();
        let at = self.item(index, &item.kind)?;
        if self.items[at].done {
            return Ok(());
        }
        match self.items[at].what {
            What::Message(_) => {
                self.message_done(at, item.content.as_deref().unwrap_or_default(), out)?;
            }
            What::Thought(_) => self.thought_done(at, &item, out),
            What::Call(_) => self.call_done(at, &item, out),
            What::Other => self.whole(&item, raw, out),
        }
        self.items[at].done = true;
        Ok(())
    }

    /// The answer is whole: tells the items of which no event has told, and closes those left open.
    pub(crate) fn rest(&mut self, output: &[&RawValue], out: &mut Vec<Event>) -> Result<(), Full> {
        if self.items.is_empty() {
            for (index, item) in (0..).zip(output) {
                self.done(Some(index), item, out)?;
            }
        }
        for at in 0..self.items.len() {
            let Open { index, done, .. } = self.items[at];
            if done {
                continue;
            }
            match usize::try_from(index).ok().and_then(|index| output.get(index)) {
                Some(item) => self.done(Some(index), item, out)?,
                None => self.close(at, out),
            }
        }
        Ok(())
    }

    /// A part of a message begins.
    pub(crate) fn part_added(
        &mut self,
        place: Place,
        raw: Option<&RawValue>,
        out: &mut Vec<Event>,
    ) -> Result<(), Full> {
        let part: Part<'_> = error::read(raw).unwrap_or_default();
        let Some(voice) = voice(&part) else { return Ok(()) };
        let at = self.item(place.item, "message")?;
        self.part(at, place.part, voice, out).map(drop)
    }

    /// A part of a message is whole.
    pub(crate) fn part_done(&mut self, place: Place, raw: Option<&RawValue>, out: &mut Vec<Event>) {
        let part: Part<'_> = error::read(raw).unwrap_or_default();
        if let Some(text) = self.known(place) {
            text.finish(&part, out);
        }
    }

    /// A text cites something.
    pub(crate) fn cites(&mut self, place: Place, what: Option<Value>, out: &mut Vec<Event>) {
        if let (Some(text), Some(what)) = (self.known(place), what) {
            text.citations += 1;
            out.push(Event::Delta { block: text.block, piece: Piece::Citation(what) });
        }
    }

    /// More text, or all of it again at its end.
    pub(crate) fn text(
        &mut self,
        voice: Voice,
        place: Place,
        text: String,
        whole: bool,
        logprobs: Vec<Value>,
        out: &mut Vec<Event>,
    ) -> Result<(), Full> {
        let kind = match voice {
            Voice::Text | Voice::Refusal => "message",
            Voice::Thinking | Voice::Summary => "reasoning",
            Voice::Arguments => "function_call",
        };
        let at = self.item(place.item, kind)?;
        let Open { done: false, what, .. } = &mut self.items[at] else { return Ok(()) };
        match what {
            What::Message(_) if kind == "message" => {
                if let Some(own) = self.part(at, place.part, voice, out)? {
                    own.say(text, whole, logprobs, out);
                }
            }
            What::Thought(thought) if kind == "reasoning" => {
                let part = place.part;
                thought.say(Thinks { voice, part, text, whole }, &mut self.next, out);
            }
            What::Call(Call { block: Some(block), told })
                if kind == "function_call" && !(text.is_empty() || (whole && *told)) =>
            {
                *told = true;
                out.push(Event::Delta { block: *block, piece: Piece::Text(text) });
            }
            _ => {}
        }
        Ok(())
    }

    /// The place of an item in the list; one that was not known begins.
    fn item(&mut self, index: Option<u32>, kind: &str) -> Result<usize, Full> {
        let known = match index {
            Some(index) => self.items.iter().rposition(|item| item.index == index),
            None => self.items.iter().rposition(|item| !item.done),
        };
        if let Some(at) = known {
            return Ok(at);
        }
        if self.items.len() >= MOST {
            return Err(Full);
        }
        let what = match kind {
            "message" => What::Message(Vec::new()),
            "reasoning" => What::Thought(Thought::default()),
            "function_call" => What::Call(Call::default()),
            _ => What::Other,
        };
        let next = self.items.iter().map(|item| item.index.saturating_add(1)).max().unwrap_or(0);
        self.items.push(Open { index: index.unwrap_or(next), done: false, what });
        Ok(self.items.len() - 1)
    }

    /// A part of a message by its number; one that was not known begins.
    fn part(
        &mut self,
        at: usize,
        part: u32,
        voice: Voice,
        out: &mut Vec<Event>,
    ) -> Result<Option<&mut Text>, Full> {
        let Open { done: false, what: What::Message(parts), .. } = &mut self.items[at] else {
            return Ok(None);
        };
        let known = parts.iter().rposition(|own| own.part == part);
        let place = match known {
            Some(place) => place,
            None if self.next >= MOST_BLOCKS => return Err(Full),
            None => {
                let refusal = voice == Voice::Refusal;
                self.refused |= refusal;
                let kind = if refusal { Kind::Refusal } else { Kind::Text };
                let block = open(&mut self.next, kind, out);
                let (told, logprobs, citations, closed) = (false, false, 0, false);
                parts.push(Text { part, block, told, logprobs, citations, closed });
                parts.len() - 1
            }
        };
        Ok(parts.get_mut(place).filter(|own| !own.closed))
    }

    /// An open part of a message.
    fn known(&mut self, place: Place) -> Option<&mut Text> {
        let at = match place.item {
            Some(index) => self.items.iter().rposition(|item| item.index == index)?,
            None => self.items.len().checked_sub(1)?,
        };
        let What::Message(parts) = &mut self.items[at].what else { return None };
        parts.iter_mut().rfind(|own| own.part == place.part && !own.closed)
    }

    /// The parts are told by their place in the list: the numbers in the events are not those of the list
    /// with every vendor (Bedrock's first part of a message has the number 1).
    fn message_done(
        &mut self,
        at: usize,
        content: &[Part<'_>],
        out: &mut Vec<Event>,
    ) -> Result<(), Full> {
        for (place, part) in content.iter().enumerate() {
            let What::Message(parts) = &self.items[at].what else { break };
            let next = parts.iter().map(|own| own.part.saturating_add(1)).max().unwrap_or(0);
            let number = parts.get(place).map_or(next, |own| own.part);
            let Some(voice) = voice(part) else { continue };
            if let Some(text) = self.part(at, number, voice, out)? {
                text.finish(part, out);
            }
        }
        self.close(at, out);
        Ok(())
    }

    fn thought_done(&mut self, at: usize, item: &Item<'_>, out: &mut Vec<Event>) {
        let Self { items, next, .. } = self;
        let What::Thought(thought) = &mut items[at].what else { return };
        let lists = [(Voice::Thinking, &item.content), (Voice::Summary, &item.summary)];
        for (voice, parts) in lists {
            let untold = parts.iter().flatten().skip(thought.parts_of(voice));
            for part in untold {
                let number = thought.part.map_or(0, |part| part.saturating_add(1));
                let text = error::text(part.text).unwrap_or_default();
                thought.say(Thinks { voice, part: number, text, whole: true }, next, out);
            }
        }
        if let Some(data) = error::text(item.encrypted_content) {
            let block = *thought.block.get_or_insert_with(|| open(next, Kind::Reasoning, out));
            let signature =
                Signature { format: Format::OpenAiResponses, data, id: error::text(item.id) };
            out.push(Event::Delta { block, piece: Piece::Signature(signature) });
        }
        self.close(at, out);
    }

    /// Opens a call, once its name is known.
    fn call(&mut self, at: usize, item: &Item<'_>, out: &mut Vec<Event>) {
        let Open { done: false, what: What::Call(call @ Call { block: None, .. }), .. } =
            &mut self.items[at]
        else {
            return;
        };
        if let Some(name) = error::text(item.name) {
            let id = error::text(item.call_id).or_else(|| error::text(item.id));
            call.block = Some(open(&mut self.next, Kind::ToolCall { id, name }, out));
            self.called = true;
        }
    }

    fn call_done(&mut self, at: usize, item: &Item<'_>, out: &mut Vec<Event>) {
        self.call(at, item, out);
        if let What::Call(Call { block: Some(block), told: false }) = self.items[at].what
            && let Some(text) = error::arguments(item.arguments)
        {
            out.push(Event::Delta { block, piece: Piece::Text(text) });
        }
        self.close(at, out);
    }

    /// An item that is told when it is done.
    fn whole(&mut self, item: &Item<'_>, raw: &RawValue, out: &mut Vec<Event>) {
        let (kind, text) = match &*item.kind {
            "custom_tool_call" => {
                self.called = true;
                let input: String = error::read(item.input).unwrap_or_default();
                let id = error::text(item.call_id).or_else(|| error::text(item.id));
                let name = error::text(item.name).unwrap_or_default();
                (
                    Kind::ToolCall { id, name },
                    Some(serde_json::json!({ FREEFORM: input }).to_string()),
                )
            }
            _ => match (picture(item), error::read(Some(raw))) {
                (Some(media), _) => (Kind::Media(media), None),
                (None, Some(json)) => {
                    (Kind::Foreign { format: Format::OpenAiResponses, json }, None)
                }
                (None, None) => return,
            },
        };
        let block = open(&mut self.next, kind, out);
        out.extend(text.map(|text| Event::Delta { block, piece: Piece::Text(text) }));
        out.push(Event::Close { block });
    }

    fn close(&mut self, at: usize, out: &mut Vec<Event>) {
        let item = &mut self.items[at];
        item.done = true;
        match &mut item.what {
            What::Message(parts) => parts.iter_mut().for_each(|part| part.close(out)),
            What::Thought(Thought { block, .. }) | What::Call(Call { block, .. }) => {
                out.extend(block.take().map(|block| Event::Close { block }));
            }
            What::Other => {}
        }
    }
}

impl Text {
    fn say(&mut self, text: String, whole: bool, logprobs: Vec<Value>, out: &mut Vec<Event>) {
        let block = self.block;
        if !(text.is_empty() || (whole && self.told)) {
            self.told = true;
            out.push(Event::Delta { block, piece: Piece::Text(text) });
        }
        if !(logprobs.is_empty() || (whole && self.logprobs)) {
            self.logprobs = true;
            out.push(Event::Delta { block, piece: Piece::Logprobs(logprobs) });
        }
    }

    fn finish(&mut self, part: &Part<'_>, out: &mut Vec<Event>) {
        let text = error::text(part.text).or_else(|| error::text(part.refusal));
        self.say(text.unwrap_or_default(), true, error::list(part.logprobs), out);
        for what in error::list(part.annotations).into_iter().skip(self.citations) {
            self.citations += 1;
            out.push(Event::Delta { block: self.block, piece: Piece::Citation(what) });
        }
        self.close(out);
    }

    fn close(&mut self, out: &mut Vec<Event>) {
        if !self.closed {
            self.closed = true;
            out.push(Event::Close { block: self.block });
        }
    }
}

impl Thought {
    /// Parts that were told, were they told in this voice: all, where another one speaks.
    fn parts_of(&self, voice: Voice) -> usize {
        match self.voice {
            Some(own) if own != voice => usize::MAX,
            _ => self.parts,
        }
    }

    /// Of a delta, or of all of a part at its end, which says nothing new of a part that was told.
    fn say(&mut self, said: Thinks, next: &mut u32, out: &mut Vec<Event>) {
        let Thinks { voice, part, mut text, whole } = said;
        let behind = self.part.is_some_and(|own| own > part);
        let again = behind || (whole && self.part == Some(part));
        if text.is_empty() || again || self.voice.is_some_and(|own| own != voice) {
            return;
        }
        self.voice = Some(voice);
        if self.part != Some(part) {
            self.part = Some(part);
            self.parts += 1;
            if self.block.is_some() {
                text.insert_str(0, PARAGRAPH);
            }
        }
        let block = *self.block.get_or_insert_with(|| open(next, Kind::Reasoning, out));
        out.push(Event::Delta { block, piece: Piece::Text(text) });
    }
}

fn open(next: &mut u32, kind: Kind, out: &mut Vec<Event>) -> u32 {
    let block = *next;
    *next = next.saturating_add(1);
    out.push(Event::Open { block, candidate: 0, kind });
    block
}

fn voice(part: &Part<'_>) -> Option<Voice> {
    match &*part.kind {
        "output_text" | "text" => Some(Voice::Text),
        "refusal" => Some(Voice::Refusal),
        _ => None,
    }
}

/// What OpenAI's own tool has drawn.
fn picture(item: &Item<'_>) -> Option<Media> {
    if item.kind != "image_generation_call" {
        return None;
    }
    let data = error::text(item.result)?;
    let format = error::text(item.output_format).unwrap_or_else(|| "png".to_owned());
    Some(Media {
        kind: MediaKind::Image,
        source: Source::Base64 { media_type: format!("image/{format}"), data },
        name: None,
        detail: None,
    })
}
