//! What the Messages API and single Claude models refuse.
//! <https://platform.claude.com/docs/en/api/messages/create>

use serde_json::{Map, Value, json};

use super::types::is_own_citation;
use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::fit::call_ids::IdRule;
use crate::wire::fit::claude_schema::is_strict;
use crate::wire::fit::roles::{self, SystemTurns, TurnRules};
use crate::wire::fit::{
    Fitting, call_ids, claude, forced_tool, media, signatures, tool_arguments, tool_names,
};
use crate::wire::format::quirks::Quirks;
use crate::wire::ir::{
    Block, Cache, Choice, Content, Form, Media, MediaKind, Request, Source, Tier, Tool, ToolResult,
};
use crate::wire::json::fields::Rejected;
use crate::wire::models::claude::Model;

/// The most characters of `metadata.user_id`.
const MAX_USER_ID_LEN: usize = 512;
/// The most characters of a document's title.
const MAX_TITLE_LEN: usize = 500;
/// The most prompt cache points of a request.
/// <https://platform.claude.com/docs/en/build-with-claude/prompt-caching>
const MAX_CACHE_POINTS: usize = 4;
/// The most strict tools of a request.
/// <https://platform.claude.com/docs/en/build-with-claude/structured-outputs>
const MAX_STRICT_TOOLS: usize = 20;
/// Names of tools are `^[a-zA-Z0-9_-]{1,128}$`.
const MAX_NAME_LEN: usize = 128;
const NAME_BYTES: &[u8] = b"_-";

/// Ids of calls are `^[a-zA-Z0-9_-]+$`.
pub(super) const ID_RULE: IdRule = IdRule {
    max_len: usize::MAX,
    accepts: |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
};

/// Instructions within the conversation become the user's text, because the API's own role for them is not for
/// all models, nor for the clouds. The first turn must be the user's, and `.` is the least that the API accepts.
const TURN_RULES: TurnRules =
    TurnRules { system: SystemTurns::AsUser, is_blank: roles::is_white_space, opening: Some(".") };

/// Changes the request to one that the API and the model take.
///
/// # Errors
///
/// When the request sets something that they do not support and that may not be left out.
pub(crate) fn fit(
    request: &mut Request,
    _quirks: &Quirks,
    fitting: &mut Fitting,
) -> Result<(), Rejected> {
    let model = Model::named(&request.model);
    fit_form(request, &model, fitting)?;
    fit_tools(request, &model, fitting)?;
    fit_choice(request, &model, fitting)?;
    fit_turns(request, &model, fitting)?;
    limit_cache_points(request, fitting);
    claude::clamp_max_tokens(request, &model);
    // The API demands a limit.
    request.max_tokens.get_or_insert(model.max_output_tokens);
    claude::fit_thinking(request, &model, fitting);
    claude::fit_sampling(request, &model, fitting);
    if request.stop.iter().any(|stop| stop.trim().is_empty()) {
        return Err(Rejected::new(
            fitting.place(Feature::StopSequences, ""),
            "contains a stop sequence of white space alone, which the Anthropic format does not support",
        ));
    }
    if request.user.take_if(|user| user.chars().count() > MAX_USER_ID_LEN).is_some() {
        fitting.omit(Feature::EndUser, "");
    }
    if request.tier.take_if(|tier| !matches!(tier, Tier::Auto | Tier::Standard)).is_some() {
        fitting.omit(Feature::ServiceTier, "");
    }
    Ok(())
}

/// Keeps a schema that the model follows natively, and makes any other form a tool that must be called. A model
/// that cannot be made to call one keeps the schema, and reports itself what it does not accept in it.
fn fit_form(request: &mut Request, model: &Model, fitting: &mut Fitting) -> Result<(), Rejected> {
    let feature = match &request.form {
        None => return Ok(()),
        Some(Form::Json) => Feature::JsonObject,
        Some(Form::Schema { schema, .. }) => {
            if model.structured_outputs && (is_strict(schema) || !model.forced_tools) {
                return Ok(());
            }
            Feature::JsonSchema
        }
    };
    if !model.forced_tools && !forced_tool::must_call(request) {
        return Err(fitting.refuse(feature, ""));
    }
    forced_tool::add(request, is_tool_name, fitting)
}

fn is_tool_name(name: &str) -> bool {
    tool_names::is_accepted(name, MAX_NAME_LEN, NAME_BYTES)
}

fn fit_tools(request: &mut Request, model: &Model, fitting: &mut Fitting) -> Result<(), Rejected> {
    if let Some(Choice::AnyOf(names)) = &request.choice {
        request
            .tools
            .retain(|tool| !matches!(tool, Tool::Function { name, .. } if !names.contains(name)));
    }
    tool_names::check(request, MAX_NAME_LEN, NAME_BYTES)?;
    let mut strict_left = MAX_STRICT_TOOLS;
    for tool in &mut request.tools {
        let (parameters, strict, at) = match tool {
            Tool::Function { parameters, strict, at, .. } => (parameters, strict, at),
            Tool::Foreign { format: Format::Anthropic, .. } => continue,
            Tool::Foreign { at, .. } => return Err(fitting.refuse(Feature::ServerTool, at)),
        };
        if *strict == Some(true) {
            let is_followed =
                model.structured_outputs && parameters.as_ref().is_some_and(is_strict);
            if is_followed && strict_left > 0 {
                strict_left -= 1;
            } else {
                *strict = None;
                fitting.omit(Feature::StrictTools, at);
            }
        }
        complete_schema(parameters.get_or_insert_with(|| json!({})), at)?;
    }
    Ok(())
}

/// The API demands a schema of every tool, with `"type": "object"`.
fn complete_schema(schema: &mut Value, at: &str) -> Result<(), Rejected> {
    let is_object = |kind: &Value| kind == "object";
    match schema {
        Value::Object(members) if members.get("type").is_none_or(is_object) => {
            if members.is_empty() {
                members.insert("properties".to_owned(), Value::Object(Map::new()));
            }
            members.entry("type").or_insert_with(|| json!("object"));
            Ok(())
        }
        _ => Err(Rejected::new(at, "must have a schema of an object")),
    }
}

fn fit_choice(request: &mut Request, model: &Model, fitting: &Fitting) -> Result<(), Rejected> {
    if request.tools.is_empty() {
        (request.choice, request.parallel) = (None, None);
        return Ok(());
    }
    let forced = match &request.choice {
        None | Some(Choice::Auto | Choice::None) => None,
        Some(Choice::Any) => Some(Feature::ToolChoiceAny),
        Some(Choice::Tool(_)) => Some(Feature::ToolChoiceNamed),
        Some(Choice::AnyOf(_)) => Some(Feature::ToolChoiceAnyOf),
    };
    if let Some(feature) = forced.filter(|_| !model.forced_tools) {
        return Err(fitting.refuse(feature, ""));
    }
    match &request.choice {
        // Only the tools of the list are left.
        Some(Choice::AnyOf(_)) => request.choice = Some(Choice::Any),
        None if request.parallel == Some(false) => request.choice = Some(Choice::Auto),
        // The API has no `disable_parallel_tool_use` beside `none`.
        Some(Choice::None) => request.parallel = None,
        _ => {}
    }
    Ok(())
}

fn fit_turns(request: &mut Request, model: &Model, fitting: &mut Fitting) -> Result<(), Rejected> {
    signatures::remove_unsigned_reasoning(request, fitting);
    roles::arrange(request, &TURN_RULES, fitting)?;
    roles::use_instructions_as_conversation(request);
    if request.turns.is_empty() {
        return Err(Rejected::new("", "must contain a message that is not blank"));
    }
    if let Some(block) = roles::prefill(request) {
        if !model.prefill {
            return Err(fitting.refuse(Feature::Prefill, &block.at));
        }
        // All models refuse white space at its end.
        let last = request.turns.last_mut().and_then(|turn| turn.blocks.last_mut());
        if let Some(Block { content: Content::Text { text, .. }, .. }) = last {
            text.truncate(text.trim_end().len());
        }
    }
    call_ids::rewrite(request, ID_RULE);
    tool_arguments::make_objects(request);
    if let Some(block) =
        request.system.iter().find(|block| !matches!(block.content, Content::Text { .. }))
    {
        return Err(Rejected::new(&*block.at, "must be text, because it is an instruction"));
    }
    let turns = request.turns.iter_mut().flat_map(|turn| &mut turn.blocks);
    for block in request.system.iter_mut().chain(turns) {
        fit_block(block, fitting)?;
    }
    Ok(())
}

fn fit_block(block: &mut Block, fitting: &mut Fitting) -> Result<(), Rejected> {
    let at = &block.at;
    match &mut block.content {
        Content::Text { citations, .. } => citations.retain(is_own_citation),
        Content::Refusal(_) | Content::ToolCall { .. } => {}
        Content::Media(media) => fit_media(media, at, fitting)?,
        Content::ToolResult(result) => fit_result(result, fitting)?,
        // These have no place for a cache point, or their own.
        Content::Reasoning { .. } | Content::Foreign { format: Format::Anthropic, .. } => {
            block.cache = None;
        }
        Content::Foreign { .. } => return Err(fitting.refuse(Feature::ServerToolBlock, at)),
    }
    Ok(())
}

fn fit_result(result: &mut ToolResult, fitting: &mut Fitting) -> Result<(), Rejected> {
    for block in &mut result.content {
        match &block.content {
            Content::ToolCall { .. } | Content::ToolResult(_) | Content::Reasoning { .. } => {
                return Err(fitting.refuse(Feature::ServerToolBlock, &block.at));
            }
            _ => fit_block(block, fitting)?,
        }
    }
    Ok(())
}

fn fit_media(media: &mut Media, at: &str, fitting: &mut Fitting) -> Result<(), Rejected> {
    if media.detail.take().is_some_and(|detail| detail != "auto") {
        fitting.keep(Feature::ImageDetail, at)?;
    }
    let feature = media::feature(media);
    fitting.keep(feature, at)?;
    let is_document = media.kind == MediaKind::Document;
    media.name = media.name.take().filter(|name| is_document && !name.is_empty());
    if let Some(name) = &mut media.name
        && let Some((end, _)) = name.char_indices().nth(MAX_TITLE_LEN)
    {
        name.truncate(end);
    }
    match &media.source {
        Source::Base64 { media_type, data } if is_document && media_type.starts_with("text/") => {
            let Some(text) = decode_text(data) else {
                return Err(Rejected::new(at, "must be UTF-8 text in base64"));
            };
            media.source = Source::Text(text);
            Ok(())
        }
        // The API reads PDF and plain text only.
        Source::Base64 { media_type, .. } if is_document && media_type != "application/pdf" => {
            Err(fitting.refuse(feature, at))
        }
        Source::Url { url, .. } if !url.starts_with("https://") && !url.starts_with("http://") => {
            Err(fitting.refuse(feature, at))
        }
        Source::File { format, .. } if *format != Format::Anthropic => {
            Err(fitting.refuse(feature, at))
        }
        _ => Ok(()),
    }
}

fn decode_text(base64: &str) -> Option<String> {
    use base64::Engine as _;
    let bytes = base64::prelude::BASE64_STANDARD.decode(base64).ok()?;
    String::from_utf8(bytes).ok()
}

/// Removes the first cache points of too many: a later one covers all that they cover. The API knows two times
/// to live.
fn limit_cache_points(request: &mut Request, fitting: &mut Fitting) {
    let mut points: Vec<(&mut Option<Cache>, &str)> = Vec::new();
    for tool in &mut request.tools {
        if let Tool::Function { cache, at, .. } = tool {
            points.push((cache, at));
        }
    }
    let turns = request.turns.iter_mut().flat_map(|turn| &mut turn.blocks);
    for block in request.system.iter_mut().chain(turns) {
        if let Content::ToolResult(result) = &mut block.content {
            points.extend(result.content.iter_mut().map(|own| (&mut own.cache, own.at.as_str())));
        }
        points.push((&mut block.cache, &block.at));
    }
    points.retain(|(cache, _)| cache.is_some());
    let excess = points.len().saturating_sub(MAX_CACHE_POINTS);
    for (index, (cache, at)) in points.into_iter().enumerate() {
        if index < excess {
            *cache = None;
            fitting.omit(Feature::CachePoint, at);
        } else if let Some(Cache { ttl }) = cache {
            ttl.take_if(|ttl| !matches!(&**ttl, "5m" | "1h"));
        }
    }
}

#[cfg(test)]
#[path = "fit_tests.rs"]
mod tests;
