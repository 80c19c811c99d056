//! `contents` and `systemInstruction`.
//!
//! Google wants all outcomes of a turn in one content right behind their calls, and tells them apart by the
//! names of their functions.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Serialize;

use super::check_name;
use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::fit::Fitting;
use crate::wire::format::gemini::part::{Call, Error, Own, Part, ProviderError, Response};
use crate::wire::format::gemini::{part, signature};
use crate::wire::ir;
use crate::wire::ir::{Block, Media, MediaKind, Request, Role, Signature, Source, ToolResult};
use crate::wire::json::fields::Rejected;
use crate::wire::models::gemini::Family;

#[derive(Debug, Serialize)]
pub(crate) struct Content<'r> {
    role: &'static str,
    parts: Vec<Part<'r>>,
    #[serde(skip)]
    side: Side,
}

#[derive(Debug, Serialize)]
pub(crate) struct Instructions<'r> {
    parts: Vec<Part<'r>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Model,
    User,
    /// The user's, of outcomes alone.
    Outcomes,
}

type Written<'r> = (Vec<Content<'r>>, Option<Instructions<'r>>);

pub(crate) fn contents<'r>(
    request: &'r Request,
    fitting: &mut Fitting,
) -> Result<Written<'r>, Rejected> {
    let mut writer = Writer {
        family: Family::of(&request.model),
        contents: Vec::with_capacity(request.turns.len()),
        system: Vec::new(),
        names: HashMap::new(),
        calls: Vec::new(),
        answered: 0,
    };
    for block in &request.system {
        writer.instruct(block, fitting)?;
    }
    for turn in &request.turns {
        if turn.name.is_some() {
            fitting.keep(Feature::ParticipantName, "")?;
        }
        match turn.role {
            Role::System => {
                for block in &turn.blocks {
                    fitting.keep(Feature::SystemTurn, &block.at)?;
                    writer.instruct(block, fitting)?;
                }
            }
            Role::Assistant => writer.model(&turn.blocks, fitting)?,
            Role::User => writer.user(&turn.blocks, fitting)?,
        }
    }
    if let Some(last) = request.turns.last().filter(|turn| turn.role == Role::Assistant) {
        let at = last.blocks.last().map_or("", |block| &block.at);
        fitting.keep(Feature::Prefill, at)?;
    }
    if writer.contents.is_empty() {
        let why = "holds nothing that the user says, which this model's format wants";
        return Err(Rejected::new("", why));
    }
    writer.skip_seals();
    let system = (!writer.system.is_empty()).then_some(Instructions { parts: writer.system });
    Ok((writer.contents, system))
}

struct Writer<'r> {
    family: Family,
    contents: Vec<Content<'r>>,
    system: Vec<Part<'r>>,
    /// The function of each call, by the call's id.
    names: HashMap<&'r str, &'r str>,
    /// The functions of the latest calls in their order, and how many of them have had an outcome: where
    /// there are no ids.
    calls: Vec<&'r str>,
    answered: usize,
}

impl<'r> Writer<'r> {
    fn instruct(&mut self, block: &'r Block, fitting: &mut Fitting) -> Result<(), Rejected> {
        mark(block, fitting)?;
        match &block.content {
            ir::Content::Text { text, .. } if text.is_empty() => {}
            ir::Content::Text { text, .. } => self.system.push(words(text).into()),
            ir::Content::Media(media) => {
                return Err(fitting.refuse(feature_of(media), &block.at));
            }
            _ => {
                return Err(Rejected::new(
                    &*block.at,
                    "must be text: instructions are nothing else",
                ));
            }
        }
        Ok(())
    }

    fn model(&mut self, blocks: &'r [Block], fitting: &mut Fitting) -> Result<(), Rejected> {
        if self.contents.last().is_none_or(|last| last.side != Side::Model) {
            self.calls.clear();
            self.answered = 0;
        }
        let mut parts = Vec::with_capacity(blocks.len());
        for block in blocks {
            mark(block, fitting)?;
            let signature = own(block.signature.as_ref(), fitting)?;
            let mut own = match &block.content {
                ir::Content::Text { text, .. } | ir::Content::Refusal(text) => words(text),
                ir::Content::Reasoning { text } => {
                    if text.is_empty() && signature.is_none() {
                        continue;
                    }
                    fitting.keep(Feature::Reasoning, &block.at)?;
                    Own { thought: !text.is_empty(), ..words(text) }
                }
                ir::Content::ToolCall { id, name, arguments } => {
                    check_name(name, &block.at)?;
                    let Some(args) = part::object(arguments) else {
                        let why = "must call with arguments that are a JSON object";
                        return Err(Rejected::new(&*block.at, why));
                    };
                    let id = id.as_deref();
                    self.calls.push(name);
                    if let Some(id) = id {
                        self.names.insert(id, name);
                    }
                    Own { function_call: Some(Call { id, name, args }), ..Own::default() }
                }
                ir::Content::Media(media) => medium(media, &block.at, fitting)?,
                ir::Content::Foreign { format: Format::Gemini, json } => {
                    parts.push(Part::Foreign(json));
                    continue;
                }
                ir::Content::Foreign { .. } => {
                    return Err(fitting.refuse(Feature::ServerToolBlock, &block.at));
                }
                ir::Content::ToolResult(_) => {
                    return Err(Rejected::new(
                        &*block.at,
                        "must be the user's and not the model's",
                    ));
                }
            };
            if own.text.as_deref() == Some("") && signature.is_none() {
                continue;
            }
            own.thought_signature = signature;
            parts.push(own.into());
        }
        self.push(Side::Model, parts);
        Ok(())
    }

    fn user(&mut self, blocks: &'r [Block], fitting: &mut Fitting) -> Result<(), Rejected> {
        let (mut outcomes, mut parts) = (Vec::new(), Vec::new());
        for block in blocks {
            mark(block, fitting)?;
            match &block.content {
                ir::Content::Text { text, .. } | ir::Content::Refusal(text) => {
                    if !text.is_empty() {
                        parts.push(words(text).into());
                    }
                }
                ir::Content::Media(media) => parts.push(medium(media, &block.at, fitting)?.into()),
                ir::Content::ToolResult(outcome) => {
                    outcomes.push(self.outcome(outcome, &block.at, &mut parts, fitting)?);
                }
                ir::Content::Reasoning { .. } => {
                    fitting.omit(Feature::Reasoning, &block.at);
                }
                ir::Content::Foreign { format: Format::Gemini, json } => {
                    parts.push(Part::Foreign(json));
                }
                ir::Content::Foreign { .. } => {
                    return Err(fitting.refuse(Feature::ServerToolBlock, &block.at));
                }
                ir::Content::ToolCall { .. } => {
                    return Err(Rejected::new(
                        &*block.at,
                        "must be the model's and not the user's",
                    ));
                }
            }
        }
        self.push(Side::Outcomes, outcomes);
        self.push(Side::User, parts);
        Ok(())
    }

    /// Puts parts into the content that they belong to.
    fn push(&mut self, side: Side, parts: Vec<Part<'r>>) {
        if parts.is_empty() {
            return;
        }
        // Outcomes join the others of their turn, also where what came with one of those stands between.
        let joined = self
            .contents
            .iter_mut()
            .rev()
            .take(if side == Side::Outcomes { 2 } else { 1 })
            .take_while(|content| (content.side == Side::Model) == (side == Side::Model))
            .find(|content| content.side == side);
        if let Some(content) = joined {
            content.parts.extend(parts);
            return;
        }
        let role = if side == Side::Model { "model" } else { "user" };
        self.contents.push(Content { role, parts, side });
    }

    fn outcome(
        &mut self,
        outcome: &'r ToolResult,
        at: &'r str,
        beside: &mut Vec<Part<'r>>,
        fitting: &mut Fitting,
    ) -> Result<Part<'r>, Rejected> {
        let known = self.names.get(&*outcome.id).copied();
        let in_order = outcome.id.is_empty().then(|| self.calls.get(self.answered).copied());
        self.answered += 1;
        let Some(name) = outcome.name.as_deref().or(known).or(in_order.flatten()) else {
            return Err(Rejected::new(at, "answers a call that does not stand before it"));
        };
        let mut texts = Vec::new();
        let mut parts = Vec::new();
        for block in &outcome.content {
            mark(block, fitting)?;
            match &block.content {
                ir::Content::Text { text, .. } => texts.push(text.as_str()),
                ir::Content::Media(media) => {
                    fitting.keep(Feature::ToolResultMedia, &block.at)?;
                    let inline = !matches!(media.source, Source::Url { .. } | Source::File { .. });
                    let own = medium(media, &block.at, fitting)?.into();
                    // By address only Vertex takes them within.
                    if inline && self.family.takes_media_in_outcomes() {
                        parts.push(own);
                    } else {
                        beside.push(own);
                    }
                }
                _ => return Err(fitting.refuse(Feature::ServerToolBlock, &block.at)),
            }
        }
        if outcome.is_error {
            fitting.keep(Feature::ToolResultError, at)?;
        }
        let id = Some(&*outcome.id).filter(|id| !id.is_empty());
        let response = told(&texts, outcome.is_error);
        let response = Response { id, name, response, parts };
        Ok(Own { function_response: Some(response), ..Own::default() }.into())
    }

    /// Gemini 3 refuses a step of the current turn whose first call has no signature; of calls that another
    /// model made there is none.
    fn skip_seals(&mut self) {
        if !self.family.wants_seals() {
            return;
        }
        let current = self.contents.iter().rev().take_while(|content| content.side != Side::User);
        let current = current.count();
        let before = self.contents.len() - current;
        for content in self.contents[before..].iter_mut().filter(|c| c.side == Side::Model) {
            let first = content.parts.iter_mut().find_map(|part| match part {
                Part::Own(own) if own.function_call.is_some() => Some(own),
                _ => None,
            });
            if let Some(call) = first {
                call.thought_signature.get_or_insert(Cow::Borrowed(signature::SKIP));
            }
        }
    }
}

/// Caching is Google's own affair: a mark is left out.
fn mark(block: &Block, fitting: &mut Fitting) -> Result<(), Rejected> {
    if block.cache.is_some() {
        fitting.keep(Feature::CachePoint, "")?;
    }
    Ok(())
}

/// The signature of a block, if it is Google's.
fn own<'r>(
    signature: Option<&'r Signature>,
    fitting: &mut Fitting,
) -> Result<Option<Cow<'r, str>>, Rejected> {
    match signature {
        Some(Signature { format: Format::Gemini, data, .. }) => Ok(Some(Cow::Borrowed(data))),
        Some(_) => {
            fitting.keep(Feature::ForeignSignatures, "")?;
            Ok(None)
        }
        None => Ok(None),
    }
}

fn words(text: &str) -> Own<'_> {
    Own { text: Some(Cow::Borrowed(text)), ..Own::default() }
}

fn medium<'r>(media: &'r Media, at: &str, fitting: &mut Fitting) -> Result<Own<'r>, Rejected> {
    let feature = feature_of(media);
    let Some(own) = part::media(media) else { return Err(fitting.refuse(feature, at)) };
    // Google's own files are said, others' are not.
    if feature != Feature::FileId {
        fitting.keep(feature, at)?;
    }
    if media.detail.as_deref().is_some_and(|detail| detail != "auto") {
        fitting.keep(Feature::ImageDetail, "")?;
    }
    Ok(own)
}

fn feature_of(media: &Media) -> Feature {
    match (&media.source, media.kind) {
        (Source::File { .. }, _) => Feature::FileId,
        (Source::Text(_), _) => Feature::DocumentText,
        (_, MediaKind::Audio) => Feature::Audio,
        (_, MediaKind::Video) => Feature::Video,
        (Source::Url { .. }, MediaKind::Image) => Feature::ImageUrl,
        (Source::Url { .. }, MediaKind::Document) => Feature::DocumentUrl,
        (Source::Base64 { .. }, MediaKind::Image) => Feature::ImageBytes,
        (Source::Base64 { .. }, MediaKind::Document) => Feature::DocumentBytes,
    }
}

/// A response must be an object: "Use "output" key to specify function output and "error" key to specify
/// error details"; objects pass as they are.
/// <https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/Content#functionresponse>
fn told<'r>(texts: &[&'r str], is_error: bool) -> ProviderError<'r> {
    let text = match texts {
        [] => Cow::Borrowed(""),
        [one] => Cow::Borrowed(*one),
        several => Cow::Owned(several.join("\n")),
    };
    let object = match &text {
        Cow::Borrowed(text) if !text.trim_ascii().is_empty() => part::object(text),
        _ => None,
    };
    match (object, is_error) {
        (Some(object), false) => ProviderError::Object(object),
        (None, false) => ProviderError::Output { output: text },
        (Some(object), true) => ProviderError::Error { error: Error::Object(object) },
        (None, true) => ProviderError::Error { error: Error::Text(text) },
    }
}
