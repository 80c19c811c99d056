//! Rewrites a request into one that Google's models take.
//!
//! Google identifies the result of a call by the name of its function, accepts instructions in one place only,
//! and takes reasoning effort as a budget or as a level, by the family of the model.

use std::collections::HashMap;
use std::mem::take;

use super::part::media_part;
use super::signature::SKIP;
use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::fit::media::{self, normalize_type};
use crate::wire::fit::roles::{SystemTurns, TurnRules, arrange, use_instructions_as_conversation};
use crate::wire::fit::{Fitting, effort, tool_arguments, tool_names};
use crate::wire::ir::{
    Block, Content, Effort, Media, Request, Role, Signature, Source, Tool, ToolResult, Turn,
};
use crate::wire::json::fields::Rejected;
use crate::wire::models::gemini::{Family, Reasoning};

/// The most bytes of a function's name, and the signs in it beside letters and digits.
/// <https://ai.google.dev/api/caching#FunctionDeclaration>
const FUNCTION_NAMES: (usize, &[u8]) = (128, b"_:.-");
/// The user's text before a conversation that begins with a call. Google refuses one: "function call turn
/// comes immediately after a user turn or after a function response turn".
const OPENING: &str = ".";

/// Fits a request to the model that it names.
///
/// # Errors
///
/// When it contains something that the format or the model does not support and that may not be left out.
pub(crate) fn fit(request: &mut Request, fitting: &mut Fitting) -> Result<(), Rejected> {
    let family = Family::of(&request.model);
    fit_tools(request, fitting)?;
    fit_settings(request, family, fitting);
    fit_thinking(request, family, fitting);
    tool_arguments::make_objects(request);
    for block in &mut request.system {
        fit_cache_point(block, fitting)?;
    }
    for turn in &mut request.turns {
        for block in &mut turn.blocks {
            fit_block(block, turn.role, fitting)?;
        }
        turn.blocks.retain(|block| !is_empty_reasoning(block));
    }
    let opening = begins_with_call(request).then_some(OPENING);
    let rules = TurnRules { system: SystemTurns::ToInstructions, is_blank: str::is_empty, opening };
    arrange(request, &rules, fitting)?;
    check_instructions(request, fitting)?;
    use_instructions_as_conversation(request);
    if request.turns.is_empty() {
        return Err(Rejected::new("", "must contain a text, media or a tool call"));
    }
    fit_results(request, family)?;
    if family.requires_signatures() {
        sign_calls(&mut request.turns);
    }
    Ok(())
}

fn fit_tools(request: &mut Request, fitting: &mut Fitting) -> Result<(), Rejected> {
    let (max_len, signs) = FUNCTION_NAMES;
    tool_names::check(request, max_len, signs)?;
    let mut has_functions = false;
    for tool in &mut request.tools {
        match tool {
            Tool::Function { strict, cache, .. } => {
                has_functions = true;
                if *strict == Some(true) {
                    fitting.keep(Feature::StrictTools, "")?;
                }
                if cache.is_some() {
                    fitting.keep(Feature::CachePoint, "")?;
                }
            }
            Tool::Foreign { format: Format::Gemini, .. } => {}
            Tool::Foreign { at, .. } => return Err(fitting.refuse(Feature::ServerTool, at)),
        }
    }
    if !has_functions {
        // It concerns functions only. Without functions Google refuses it.
        request.choice = None;
    } else if request.parallel == Some(false) {
        fitting.keep(Feature::SingleToolCall, "")?;
    }
    Ok(())
}

fn fit_settings(request: &mut Request, family: Family, fitting: &mut Fitting) {
    let sampling = &mut request.sampling;
    for (feature, penalty) in [
        (Feature::FrequencyPenalty, &mut sampling.frequency_penalty),
        (Feature::PresencePenalty, &mut sampling.presence_penalty),
    ] {
        if family.takes_penalties() {
            continue;
        }
        // A penalty of 0 is none.
        if penalty.take().is_some_and(|penalty| penalty.as_f64() != Some(0.0)) {
            fitting.omit(feature, "");
        }
    }
    let most = family.max_output_tokens().unwrap_or(u64::MAX);
    if request.max_tokens.is_some_and(|tokens| tokens > most) {
        request.max_tokens = Some(most);
        fitting.omit(Feature::MaxTokens, "");
    }
    request.candidates = request.candidates.filter(|count| *count != 1);
    if let Some(logprobs) = &mut request.logprobs {
        logprobs.top = logprobs.top.filter(|top| *top > 0);
    }
}

/// Leaves either an effort or a budget, by what the model takes.
fn fit_thinking(request: &mut Request, family: Family, fitting: &mut Fitting) {
    let Some(thinking) = &mut request.thinking else { return };
    let feature = match thinking.effort {
        Some(_) => Feature::ReasoningEffort,
        None => Feature::ReasoningBudget,
    };
    let is_off = thinking.effort == Some(Effort::None);
    let reasoning = family.reasoning();
    if reasoning == Reasoning::Fixed {
        if !is_off {
            fitting.omit(feature, "");
        }
        request.thinking = None;
        return;
    }
    if is_off && !family.can_disable_reasoning() {
        fitting.omit(feature, "");
    }
    // Formats of callers that request reasoning show it, unless the caller turns that off.
    thinking.shown = Some(!is_off && thinking.shown != Some(false));
    match reasoning {
        Reasoning::Budget => {
            let budget = thinking.budget.or(thinking.effort.map(effort::budget_of));
            thinking.budget = budget.map(|budget| family.clamp_budget(budget));
            thinking.effort = None;
        }
        Reasoning::Level(levels) => {
            thinking.effort = effort::requested(thinking)
                .and_then(|wanted| effort::nearest(wanted, levels).or(levels.first().copied()));
            thinking.budget = None;
        }
        Reasoning::Fixed => {}
    }
}

fn fit_block(block: &mut Block, role: Role, fitting: &mut Fitting) -> Result<(), Rejected> {
    fit_cache_point(block, fitting)?;
    let is_assistant = role == Role::Assistant;
    if block
        .signature
        .take_if(|signature| !is_assistant || signature.format != Format::Gemini)
        .is_some()
        && is_assistant
    {
        fitting.keep(Feature::ForeignSignatures, "")?;
    }
    let at = &*block.at;
    match &mut block.content {
        Content::Text { .. }
        | Content::Refusal(_)
        | Content::Foreign { format: Format::Gemini, .. } => {}
        Content::Reasoning { .. } if is_assistant => {}
        Content::Reasoning { text } => {
            fitting.omit(Feature::Reasoning, at);
            text.clear();
        }
        Content::Media(media) => fit_media(media, at, fitting)?,
        Content::ToolCall { name, .. } if is_assistant => {
            let (max_len, signs) = FUNCTION_NAMES;
            tool_names::check_name(name, at, max_len, signs)?;
        }
        Content::ToolCall { .. } => {
            return Err(Rejected::new(at, "must be in a turn of the assistant"));
        }
        Content::ToolResult(_) if is_assistant => {
            return Err(Rejected::new(at, "must be in a turn of the user"));
        }
        Content::ToolResult(result) => fit_result_content(result, fitting)?,
        Content::Foreign { .. } => return Err(fitting.refuse(Feature::ServerToolBlock, at)),
    }
    Ok(())
}

fn fit_result_content(result: &mut ToolResult, fitting: &mut Fitting) -> Result<(), Rejected> {
    for block in &mut result.content {
        fit_cache_point(block, fitting)?;
        match &mut block.content {
            Content::Text { .. } => {}
            Content::Media(media) => fit_media(media, &block.at, fitting)?,
            _ => return Err(fitting.refuse(Feature::ServerToolBlock, &block.at)),
        }
    }
    Ok(())
}

/// Google caches prompts without cache points.
fn fit_cache_point(block: &mut Block, fitting: &mut Fitting) -> Result<(), Rejected> {
    if block.cache.take().is_some() {
        fitting.keep(Feature::CachePoint, "")?;
    }
    Ok(())
}

fn fit_media(media: &mut Media, at: &str, fitting: &mut Fitting) -> Result<(), Rejected> {
    normalize_type(media);
    if media_part(media).is_none() {
        let feature = match media.source {
            Source::File { .. } => Feature::FileId,
            _ => media::feature(media),
        };
        return Err(fitting.refuse(feature, at));
    }
    if media.detail.take().is_some_and(|detail| detail != "auto") {
        fitting.keep(Feature::ImageDetail, "")?;
    }
    Ok(())
}

fn is_empty_reasoning(block: &Block) -> bool {
    matches!(&block.content, Content::Reasoning { text } if text.is_empty())
        && block.signature.is_none()
}

fn begins_with_call(request: &Request) -> bool {
    let first = request.turns.iter().find(|turn| turn.role != Role::System);
    first.is_some_and(|turn| {
        let is_call = |block: &Block| matches!(block.content, Content::ToolCall { .. });
        turn.role == Role::Assistant && turn.blocks.iter().any(is_call)
    })
}

fn check_instructions(request: &Request, fitting: &Fitting) -> Result<(), Rejected> {
    for block in &request.system {
        match &block.content {
            Content::Text { .. } => {}
            Content::Media(media) => return Err(fitting.refuse(media::feature(media), &block.at)),
            _ => return Err(Rejected::new(&*block.at, "must be text: it is an instruction")),
        }
    }
    Ok(())
}

/// Gives every result the name of its function. Results without ids are in the order of their calls. Media go
/// directly after the results of their turn, where the model does not take them within.
fn fit_results(request: &mut Request, family: Family) -> Result<(), Rejected> {
    let mut names: HashMap<String, String> = HashMap::new();
    let mut latest_calls: Vec<String> = Vec::new();
    for turn in &mut request.turns {
        if turn.role == Role::Assistant {
            latest_calls.clear();
            for block in &turn.blocks {
                let Content::ToolCall { id, name, .. } = &block.content else { continue };
                latest_calls.push(name.clone());
                names.extend(id.clone().map(|id| (id, name.clone())));
            }
            continue;
        }
        let mut outside = Vec::new();
        for (place, block) in turn.blocks.iter_mut().enumerate() {
            let Content::ToolResult(result) = &mut block.content else { break };
            let in_order = latest_calls.get(place).filter(|_| result.id.is_empty());
            let name = result.name.as_ref().or(names.get(&result.id)).or(in_order);
            let Some(name) = name.cloned() else {
                let why = "must be the result of a tool call in an earlier turn";
                return Err(Rejected::new(&*block.at, why));
            };
            result.name = Some(name);
            let (inside, moved) = take(&mut result.content)
                .into_iter()
                .partition(|block| stays_in_result(block, family));
            result.content = inside;
            outside.extend::<Vec<Block>>(moved);
        }
        let after_results = turn.blocks.iter().take_while(|block| is_result(block)).count();
        turn.blocks.splice(after_results..after_results, outside);
    }
    Ok(())
}

fn is_result(block: &Block) -> bool {
    matches!(block.content, Content::ToolResult(_))
}

/// Only Vertex takes media by address within a result.
fn stays_in_result(block: &Block, family: Family) -> bool {
    match &block.content {
        Content::Media(media) => {
            family.takes_media_in_results()
                && matches!(media.source, Source::Base64 { .. } | Source::Text(_))
        }
        _ => true,
    }
}

/// Gives the first call of each step of the current turn a signature. Gemini 3 refuses it without one, and
/// calls that another model made have none.
fn sign_calls(turns: &mut [Turn]) {
    let current = turns
        .iter_mut()
        .rev()
        .take_while(|turn| turn.role == Role::Assistant || turn.blocks.iter().all(is_result));
    for turn in current.filter(|turn| turn.role == Role::Assistant) {
        let mut blocks = turn.blocks.iter_mut();
        if let Some(call) = blocks.find(|block| matches!(block.content, Content::ToolCall { .. })) {
            let data = SKIP.to_owned();
            call.signature.get_or_insert(Signature { format: Format::Gemini, data, id: None });
        }
    }
}

#[cfg(test)]
mod tests;
