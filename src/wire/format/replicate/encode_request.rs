//! [`Request`] -> body.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::vendors;
use super::vendors::{Images, Vendor};
use crate::wire::feature::Feature;
use crate::wire::fit::Fitting;
use crate::wire::format::quirks::Quirks;
use crate::wire::ir::{
    Block, Content, Effort, Form, Media, MediaKind, Request, Role, Sampling, Source, Tool,
};
use crate::wire::json::fields::Rejected;

/// Writes a request for a provider. A model of the form `owner/name` stands in the path; any other is a
/// version.
///
/// # Errors
///
/// When it cannot be said.
pub fn encode_request(
    request: &Request,
    _quirks: &Quirks,
    fitting: &mut Fitting,
) -> Result<Vec<u8>, Rejected> {
    refuse(request, fitting)?;
    let vendor = vendors::of(&request.model);
    let mut input = Map::new();
    match (&*request.turns, vendor.messages) {
        ([only], _) if only.role == Role::User => {
            if let Some(system) = texts(&request.system, fitting)? {
                let name = vendor.system.ok_or_else(|| {
                    Rejected::new(
                        at(&request.system),
                        "is system text, which the model takes none of",
                    )
                })?;
                input.insert(name.to_owned(), json!(system));
            }
            prompt(&only.blocks, vendor, &mut input, fitting)?;
        }
        (_, true) => {
            let messages = messages(request, fitting)?;
            input.insert("messages".to_owned(), Value::Array(messages));
        }
        (turns, false) => {
            let second = turns.get(1).or(turns.first()).map_or("", |turn| at(&turn.blocks));
            return Err(Rejected::new(second, "is more than the one prompt that the model takes"));
        }
    }
    limits(request, vendor, &mut input, fitting)?;
    let mut body = Map::new();
    if !request.model.contains('/') || request.model.contains(':') {
        body.insert("version".to_owned(), json!(request.model));
    }
    body.insert("input".to_owned(), Value::Object(input));
    if request.stream {
        body.insert("stream".to_owned(), json!(true));
    }
    Ok(Value::Object(body).to_string().into_bytes())
}

fn at(blocks: &[Block]) -> &str {
    blocks.first().map_or("", |block| &block.at)
}

/// Text that stands in a row, parted as paragraphs are.
fn texts(blocks: &[Block], fitting: &mut Fitting) -> Result<Option<String>, Rejected> {
    let mut all = Vec::with_capacity(blocks.len());
    for block in blocks {
        if block.cache.is_some() {
            fitting.keep(Feature::CachePoint, &block.at)?;
        }
        match &block.content {
            Content::Text { text, .. } | Content::Refusal(text) => all.push(text.as_str()),
            Content::Reasoning { .. } => fitting.omit(Feature::Reasoning, &block.at),
            content => return Err(refusal(content, &block.at, fitting)),
        }
    }
    Ok((!all.is_empty()).then(|| all.join("\n\n")))
}

fn refusal(content: &Content, at: &str, fitting: &Fitting) -> Rejected {
    let feature = match content {
        Content::ToolCall { .. } | Content::ToolResult(_) => Feature::Tools,
        Content::Media(media) => match (&media.source, media.kind) {
            (Source::File { .. }, _) => Feature::FileId,
            (Source::Url { .. }, MediaKind::Image) => Feature::ImageUrl,
            (_, MediaKind::Image) => Feature::ImageBytes,
            (Source::Text(_), _) => Feature::DocumentText,
            (Source::Url { .. }, MediaKind::Document) => Feature::DocumentUrl,
            (_, MediaKind::Document) => Feature::DocumentBytes,
            (_, MediaKind::Audio) => Feature::Audio,
            (_, MediaKind::Video) => Feature::Video,
        },
        _ => Feature::ServerToolBlock,
    };
    fitting.refuse(feature, at)
}

/// One turn: its text, and its images beside it.
fn prompt(
    blocks: &[Block],
    vendor: &Vendor,
    input: &mut Map<String, Value>,
    fitting: &mut Fitting,
) -> Result<(), Rejected> {
    let (mut all, mut images) = (Vec::new(), Vec::new());
    for block in blocks {
        if block.cache.is_some() {
            fitting.keep(Feature::CachePoint, &block.at)?;
        }
        match &block.content {
            Content::Text { text, .. } => all.push(text.as_str()),
            Content::Media(media) if media.kind == MediaKind::Image => {
                let fits = match vendor.images {
                    Images::None => false,
                    Images::One(_) => images.is_empty(),
                    Images::Many(_) => true,
                };
                let url = url(media, &block.at, fitting)?.filter(|_| fits);
                images.push(url.ok_or_else(|| refusal(&block.content, &block.at, fitting))?);
            }
            content => return Err(refusal(content, &block.at, fitting)),
        }
    }
    input.insert("prompt".to_owned(), json!(all.join("\n\n")));
    match vendor.images {
        Images::One(name) => {
            input.extend(images.pop().map(|image| (name.to_owned(), json!(image))));
        }
        Images::Many(name) if !images.is_empty() => {
            input.insert(name.to_owned(), json!(images));
        }
        Images::Many(_) | Images::None => {}
    }
    Ok(())
}

/// The API takes files by address, and small ones as `data:`.
/// <https://replicate.com/docs/topics/predictions/input-files>
fn url<'r>(
    media: &'r Media,
    at: &str,
    fitting: &mut Fitting,
) -> Result<Option<Cow<'r, str>>, Rejected> {
    if media.detail.is_some() {
        fitting.keep(Feature::ImageDetail, at)?;
    }
    Ok(match &media.source {
        Source::Base64 { media_type, data } => fitting
            .keep(Feature::ImageBytes, at)?
            .then(|| Cow::Owned(format!("data:{media_type};base64,{data}"))),
        Source::Url { url, .. } => {
            fitting.keep(Feature::ImageUrl, at)?.then_some(Cow::Borrowed(url.as_str()))
        }
        Source::File { .. } | Source::Text(_) => None,
    })
}

/// A conversation, as OpenAI's models take it.
fn messages(request: &Request, fitting: &mut Fitting) -> Result<Vec<Value>, Rejected> {
    let mut messages = Vec::new();
    if let Some(system) = texts(&request.system, fitting)? {
        messages.push(json!({ "role": "system", "content": system }));
    }
    for turn in &request.turns {
        let role = match turn.role {
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::System => {
                fitting.keep(Feature::SystemTurn, at(&turn.blocks))?;
                "system"
            }
        };
        if let Some(text) = texts(&turn.blocks, fitting)? {
            messages.push(json!({ "role": role, "content": text }));
        }
    }
    if let Some(turn) = request.turns.last().filter(|turn| turn.role == Role::Assistant) {
        fitting.keep(Feature::Prefill, at(&turn.blocks))?;
    }
    Ok(messages)
}

fn limits(
    request: &Request,
    vendor: &Vendor,
    input: &mut Map<String, Value>,
    fitting: &mut Fitting,
) -> Result<(), Rejected> {
    let mut say = |name: &str, value: Value| input.insert(name.to_owned(), value);
    if let Some(most) = request.max_tokens {
        say(vendor.max_tokens, json!(most));
    }
    if !request.stop.is_empty() {
        if !vendor.stop || request.stop.iter().any(|stop| stop.contains(',')) {
            return Err(fitting.refuse(Feature::StopSequences, ""));
        }
        say("stop_sequences", json!(request.stop.join(",")));
    }
    let Sampling { temperature, top_p, top_k, frequency_penalty, presence_penalty, seed } =
        &request.sampling;
    for (number, takes, name, feature) in [
        (temperature, vendor.temperature, "temperature", Feature::Temperature),
        (top_p, vendor.top_p, "top_p", Feature::TopP),
        (top_k, vendor.top_k, "top_k", Feature::TopK),
        (frequency_penalty, vendor.penalties, "frequency_penalty", Feature::FrequencyPenalty),
        (presence_penalty, vendor.penalties, "presence_penalty", Feature::PresencePenalty),
        (seed, false, "seed", Feature::Seed),
    ] {
        match number {
            Some(number) if takes => {
                say(name, json!(number));
            }
            Some(_) => fitting.omit(feature, ""),
            None => {}
        }
    }
    if let Some(thinking) = &request.thinking {
        match thinking.effort {
            Some(effort) if vendor.effort => {
                say("reasoning_effort", json!(word(effort)));
            }
            Some(_) => fitting.omit(Feature::ReasoningEffort, ""),
            None => {}
        }
        match thinking.budget {
            Some(budget) if vendor.budget => {
                say("thinking_budget", json!(budget));
            }
            Some(_) => fitting.omit(Feature::ReasoningBudget, ""),
            None => {}
        }
    }
    Ok(())
}

fn word(effort: Effort) -> &'static str {
    match effort {
        Effort::None => "none",
        Effort::Minimal => "minimal",
        Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High | Effort::XHigh | Effort::Max => "high",
    }
}

/// What no model's input has a member for.
fn refuse(request: &Request, fitting: &mut Fitting) -> Result<(), Rejected> {
    if let Some(Tool::Function { at, .. } | Tool::Foreign { at, .. }) = request.tools.first() {
        fitting.keep(Feature::Tools, at)?;
    }
    match request.form {
        None => {}
        Some(Form::Json) => drop(fitting.keep(Feature::JsonObject, "")?),
        Some(Form::Schema { .. }) => drop(fitting.keep(Feature::JsonSchema, "")?),
    }
    for (there, feature) in [
        (request.turns.iter().any(|turn| turn.name.is_some()), Feature::ParticipantName),
        (request.candidates.is_some_and(|count| count > 1), Feature::Candidates),
        (request.logprobs.is_some(), Feature::Logprobs),
        (request.user.is_some(), Feature::EndUser),
        (request.metadata.is_some(), Feature::Metadata),
        (request.tier.is_some(), Feature::ServiceTier),
        (request.cache_key.is_some(), Feature::PromptCacheKey),
    ] {
        if there {
            fitting.keep(feature, "")?;
        }
    }
    Ok(())
}
