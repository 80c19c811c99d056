//! What Converse and single models refuse.
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>

use serde_json::{Number, Value, json};

use super::media::{document_name, format};
use super::model::Model;
use super::types::is_own_citation;
use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::fit::call_ids::IdRule;
use crate::wire::fit::claude_schema::is_strict;
use crate::wire::fit::roles::{self, SystemTurns, TurnRules};
use crate::wire::fit::{
    Fitting, call_ids, claude, effort, forced_tool, media, signatures, tool_arguments, tool_names,
};
use crate::wire::format::quirks::Quirks;
use crate::wire::ir::{
    Block, Cache, Choice, Content, Effort, Form, Media, MediaKind, Request, Source, Tier, Tool,
    ToolResult,
};
use crate::wire::json::fields::Rejected;
use crate::wire::models::nova;

/// `ToolName`: 1 to 64 letters, digits and these.
const MAX_NAME_LEN: usize = 64;
const NAME_BYTES: &[u8] = b"_-";

/// `ToolUseId`: 1 to 64 of letters, digits and `_.:-`.
const ID_RULE: IdRule = IdRule {
    max_len: 64,
    accepts: |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'-'),
};

/// "A conversation must start with a user message", and `.` is the least that models accept.
const TURN_RULES: TurnRules =
    TurnRules { system: SystemTurns::Keep, is_blank: roles::is_white_space, opening: Some(".") };

/// The most entries of `requestMetadata`, and the most bytes of each name and value.
const MAX_METADATA: usize = 16;
const MAX_METADATA_LEN: usize = 256;

/// The efforts of OpenAI's open weights, which always reason.
const GPT_OSS_EFFORTS: &[Effort] = &[Effort::Low, Effort::Medium, Effort::High];

/// Changes the request to one that Converse and the model take.
///
/// # Errors
///
/// When the request sets something that they do not support and that may not be left out.
pub(crate) fn fit(
    request: &mut Request,
    _quirks: &Quirks,
    fitting: &mut Fitting,
) -> Result<(), Rejected> {
    let model = Model::by_id(&request.model);
    if request.parallel.take() == Some(false) && !request.tools.is_empty() {
        fitting.keep(Feature::SingleToolCall, "")?;
    }
    fit_form(request, &model, fitting)?;
    fit_choice(request, &model, fitting)?;
    fit_tools(request, &model, fitting)?;
    fit_turns(request, &model, fitting)?;
    match &model {
        Model::Claude(claude, version) => {
            claude::clamp_max_tokens(request, claude);
            claude::fit_thinking(request, claude, fitting);
            // Earlier models take an effort with a beta header only.
            if let Some(thinking) = request.thinking.as_mut().filter(|_| *version < (4, 6)) {
                thinking.effort = None;
            }
            claude::fit_sampling(request, claude, fitting);
        }
        Model::Nova(nova) => fit_to_nova(request, *nova, fitting),
        Model::GptOss => {
            effort::fit(request, GPT_OSS_EFFORTS, fitting);
            fit_sampling(request, false, false, fitting);
        }
        Model::OpenWithSchemas | Model::Other => {
            fit_effort(request, &[], fitting);
            fit_sampling(request, false, false, fitting);
        }
    }
    if request.metadata.as_ref().is_some_and(|metadata| !is_metadata_accepted(metadata)) {
        fitting.omit_set(Feature::Metadata, &mut request.metadata);
    }
    request.tier.take_if(|tier| *tier == Tier::Auto);
    if matches!(&request.tier, Some(Tier::Other(word)) if word != "reserved") {
        fitting.omit_set(Feature::ServiceTier, &mut request.tier);
    }
    Ok(())
}

/// Keeps a schema that the model follows natively, and makes any other form a tool that must be called.
fn fit_form(request: &mut Request, model: &Model, fitting: &mut Fitting) -> Result<(), Rejected> {
    let can_force = model.takes_forced_tools();
    let feature = match &mut request.form {
        None => return Ok(()),
        Some(Form::Json) => Feature::JsonObject,
        Some(Form::Schema { name, schema, strict, .. }) => {
            let is_strict = *strict == Some(true) || is_strict(schema);
            if model.has_structured_outputs() && (is_strict || !can_force) {
                let given = name.take().filter(|name| is_tool_name(name));
                *name = given.or_else(|| Some("answer".to_owned()));
                return Ok(());
            }
            Feature::JsonSchema
        }
    };
    if !can_force && !forced_tool::must_call(request) {
        return Err(fitting.refuse(feature, ""));
    }
    forced_tool::add(request, is_tool_name, fitting)
}

fn is_tool_name(name: &str) -> bool {
    tool_names::is_accepted(name, MAX_NAME_LEN, NAME_BYTES)
}

/// Expresses the choice by the tools that are offered where the format or the model has no word for it.
fn fit_choice(request: &mut Request, model: &Model, fitting: &mut Fitting) -> Result<(), Rejected> {
    let (feature, offered) = match &request.choice {
        None | Some(Choice::Auto) => return Ok(()),
        Some(Choice::None) => {
            offer_no_tools(request, fitting);
            return Ok(());
        }
        Some(Choice::Any) => (Feature::ToolChoiceAny, None),
        Some(Choice::Tool(name)) => {
            let only = (!model.takes_named_choice()).then(|| vec![name.clone()]);
            (Feature::ToolChoiceNamed, only)
        }
        Some(Choice::AnyOf(names)) => (Feature::ToolChoiceAnyOf, Some(names.clone())),
    };
    if !model.takes_forced_tools() {
        return Err(fitting.refuse(feature, ""));
    }
    if let Some(names) = offered {
        request
            .tools
            .retain(|tool| !matches!(tool, Tool::Function { name, .. } if !names.contains(name)));
        request.choice = Some(Choice::Any);
    }
    Ok(())
}

/// The format has no word for "call no tool". Tools are left out, except those that the conversation called,
/// which the API demands; then the model may call them, and the choice is named as left out.
fn offer_no_tools(request: &mut Request, fitting: &mut Fitting) {
    request.choice = None;
    let called = called_tools(request);
    if !called.is_empty() {
        fitting.omit(Feature::ToolChoiceNone, "");
    }
    request
        .tools
        .retain(|tool| matches!(tool, Tool::Function { name, .. } if called.contains(name)));
}

/// Returns the names of the tools that the conversation called.
fn called_tools(request: &Request) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for block in request.turns.iter().flat_map(|turn| &turn.blocks) {
        let (Content::ToolCall { name, .. }
        | Content::ToolResult(ToolResult { name: Some(name), .. })) = &block.content
        else {
            continue;
        };
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

fn fit_tools(request: &mut Request, model: &Model, fitting: &mut Fitting) -> Result<(), Rejected> {
    tool_names::check(request, MAX_NAME_LEN, NAME_BYTES)?;
    if request.tools.is_empty() {
        request.choice = None;
        // The API demands tools in a request whose conversation has calls. Clients leave them out when they
        // compact a conversation or ask for its title.
        request.tools = called_tools(request).into_iter().map(called_tool).collect();
    }
    for tool in &mut request.tools {
        let (parameters, strict, cache, at) = match tool {
            Tool::Function { parameters, strict, cache, at, .. } => (parameters, strict, cache, at),
            Tool::Foreign { format: Format::Bedrock, .. } => continue,
            Tool::Foreign { at, .. } => return Err(fitting.refuse(Feature::ServerTool, at)),
        };
        if *strict == Some(true) && !model.has_structured_outputs() {
            *strict = None;
            fitting.omit(Feature::StrictTools, at);
        }
        // Models refuse a schema without a type.
        let no_parameters = || json!({ "type": "object", "properties": {} });
        if let Value::Object(schema) = parameters.get_or_insert_with(no_parameters) {
            schema.entry("type").or_insert_with(|| json!("object"));
        }
        fit_cache(cache, at, model.caches_tools(), model, fitting);
    }
    Ok(())
}

fn called_tool(name: String) -> Tool {
    let description = "Called earlier in this conversation. It is not available any more.";
    Tool::Function {
        name,
        description: Some(description.to_owned()),
        parameters: None,
        strict: None,
        cache: None,
        at: String::new(),
    }
}

/// Only Claude has a choice of how long a prompt is cached.
fn fit_cache(
    cache: &mut Option<Cache>,
    at: &str,
    is_supported: bool,
    model: &Model,
    fitting: &mut Fitting,
) {
    if cache.take_if(|_| !is_supported).is_some() {
        fitting.omit(Feature::CachePoint, at);
    }
    if let Some(cache) = cache {
        let is_claude = matches!(model, Model::Claude(..));
        cache.ttl.take_if(|ttl| !is_claude || !matches!(ttl.as_str(), "5m" | "1h"));
    }
}

fn fit_turns(request: &mut Request, model: &Model, fitting: &mut Fitting) -> Result<(), Rejected> {
    signatures::remove_unsigned_reasoning(request, fitting);
    roles::arrange(request, &TURN_RULES, fitting)?;
    roles::use_instructions_as_conversation(request);
    if request.turns.is_empty() {
        return Err(Rejected::new("", "must contain a message that is not blank"));
    }
    if let Some(block) = roles::prefill(request) {
        fitting.keep(Feature::Prefill, &block.at)?;
        if matches!(model, Model::Claude(claude, _) if !claude.prefill) {
            return Err(fitting.refuse(Feature::Prefill, &block.at));
        }
    }
    call_ids::rewrite(request, ID_RULE);
    tool_arguments::make_objects(request);
    for block in &mut request.system {
        let is_accepted = matches!(
            block.content,
            Content::Text { .. } | Content::Foreign { format: Format::Bedrock, .. }
        );
        if !is_accepted {
            return Err(Rejected::new(&*block.at, "must be text, because it is an instruction"));
        }
    }
    let turns = request.turns.iter_mut().flat_map(|turn| &mut turn.blocks);
    let mut documents = Vec::new();
    for block in request.system.iter_mut().chain(turns) {
        fit_block(block, model, &mut documents, fitting)?;
    }
    Ok(())
}

/// `documents`: the names of the documents so far.
fn fit_block(
    block: &mut Block,
    model: &Model,
    documents: &mut Vec<String>,
    fitting: &mut Fitting,
) -> Result<(), Rejected> {
    let at = &block.at;
    match &mut block.content {
        Content::Text { citations, .. } => citations.retain(is_own_citation),
        Content::Media(media) => fit_media(media, at, documents, fitting)?,
        Content::ToolResult(result) => {
            // The format has cache points after whole results only.
            let of_parts = result.content.iter_mut().rev().filter_map(|part| part.cache.take());
            block.cache = block.cache.take().or(of_parts.reduce(|last, _| last));
            if result.is_error && !model.takes_result_status() {
                result.is_error = false;
                fitting.omit(Feature::ToolResultError, at);
            }
            for part in &mut result.content {
                match part.content {
                    Content::Text { .. } | Content::Foreign { .. } => {}
                    Content::Media(_) => {
                        fitting.keep(Feature::ToolResultMedia, &part.at)?;
                    }
                    _ => return Err(fitting.refuse(Feature::ServerToolBlock, &part.at)),
                }
                fit_block(part, model, documents, fitting)?;
                if let Content::Text { citations, .. } = &mut part.content {
                    citations.clear();
                }
            }
        }
        Content::ToolCall { name, .. } if !is_tool_name(name) => {
            let why = "must have a tool name of 1 to 64 letters, digits, `_`, `-`";
            return Err(Rejected::new(at, why));
        }
        Content::ToolCall { .. }
        | Content::Refusal(_)
        | Content::Reasoning { .. }
        | Content::Foreign { format: Format::Bedrock, .. } => {}
        Content::Foreign { .. } => return Err(fitting.refuse(Feature::ServerToolBlock, at)),
    }
    fit_cache(&mut block.cache, &block.at, model.caches_prompts(), model, fitting);
    Ok(())
}

fn fit_media(
    media: &mut Media,
    at: &str,
    documents: &mut Vec<String>,
    fitting: &mut Fitting,
) -> Result<(), Rejected> {
    if media.detail.take().is_some_and(|detail| detail != "auto") {
        fitting.keep(Feature::ImageDetail, at)?;
    }
    let feature = media::feature(media);
    match &media.source {
        Source::Url { url, .. } if url.starts_with("s3://") => {}
        Source::Url { .. } => return Err(fitting.refuse(feature, at)),
        Source::Base64 { .. } | Source::File { .. } | Source::Text(_) => {
            fitting.keep(feature, at)?;
        }
    }
    if format(media).is_none() {
        let why = "has a media type that the Bedrock Converse format does not support";
        return Err(Rejected::new(at, why));
    }
    if media.kind == MediaKind::Document {
        media.name = Some(document_name(media.name.as_deref(), documents));
    }
    Ok(())
}

fn fit_to_nova(request: &mut Request, nova: nova::Model, fitting: &mut Fitting) {
    if request.max_tokens.is_some_and(|tokens| tokens > nova.max_output_tokens) {
        fitting.omit(Feature::MaxTokens, "");
        request.max_tokens = Some(nova.max_output_tokens);
    }
    fit_effort(request, nova.efforts(request.max_tokens.is_some()), fitting);
    let effort = request.thinking.as_ref().and_then(|thinking| thinking.effort);
    // High effort excludes all sampling parameters.
    fit_sampling(request, effort == Some(Effort::High), true, fitting);
}

/// A model that does not reason needs no word not to.
fn fit_effort(request: &mut Request, efforts: &[Effort], fitting: &mut Fitting) {
    let wanted = request.thinking.as_ref().and_then(effort::requested);
    if efforts.is_empty() && wanted == Some(Effort::None) {
        request.thinking = None;
    }
    effort::fit(request, efforts, fitting);
}

fn fit_sampling(request: &mut Request, is_fixed: bool, takes_top_k: bool, fitting: &mut Fitting) {
    let sampling = &mut request.sampling;
    // The API's range ends at 1.
    let in_range = |number: &Number| number.as_f64().is_some_and(|number| number <= 1.0);
    if is_fixed || !sampling.temperature.as_ref().is_some_and(in_range) {
        fitting.omit_set(Feature::Temperature, &mut sampling.temperature);
    }
    if is_fixed {
        fitting.omit_set(Feature::TopP, &mut sampling.top_p);
    }
    if is_fixed || !takes_top_k {
        fitting.omit_set(Feature::TopK, &mut sampling.top_k);
    }
}

/// `RequestMetadata`: strings of an alphabet.
fn is_metadata_accepted(metadata: &serde_json::Map<String, Value>) -> bool {
    let is_accepted = |text: &str| {
        let is_char =
            |c: char| c.is_ascii_alphanumeric() || c.is_whitespace() || ":_@$#=/+,-.".contains(c);
        text.len() <= MAX_METADATA_LEN && text.chars().all(is_char)
    };
    metadata.len() <= MAX_METADATA
        && metadata.iter().all(|(name, value)| {
            !name.is_empty() && is_accepted(name) && value.as_str().is_some_and(is_accepted)
        })
}
