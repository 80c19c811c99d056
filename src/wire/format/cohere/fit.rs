//! What the chat API and single Command models refuse.
//! <https://docs.cohere.com/reference/chat>

use std::ops::RangeInclusive;

use serde_json::{Number, json};

use crate::wire::feature::Feature;
use crate::wire::fit::call_ids::IdRule;
use crate::wire::fit::roles::{self, SystemTurns, TurnRules};
use crate::wire::fit::{Fitting, call_ids, media, tool_arguments};
use crate::wire::ir::{
    Block, Choice, Content, Effort, Media, MediaKind, Request, Role, Sampling, Source,
    ThinkingMode, Tool, ToolResult,
};
use crate::wire::json::fields::Rejected;

/// The API's reference sets no rule for ids of calls.
const ID_RULE: IdRule = IdRule { max_len: usize::MAX, accepts: |_| true };

const TURN_RULES: TurnRules =
    TurnRules { system: SystemTurns::Keep, is_blank: str::is_empty, opening: None };

/// Names of the models that neither reason nor accept `thinking`.
/// <https://docs.cohere.com/docs/reasoning>
const WITHOUT_THINKING: [&str; 5] =
    ["command-r", "command-a-03", "command-a-vision", "command-a-translate", "c4ai-"];

/// A number of [`Sampling`] and the range that the API's reference gives.
type Range = (Feature, fn(&mut Sampling) -> &mut Option<Number>, RangeInclusive<f64>);

const RANGES: [Range; 4] = [
    (Feature::TopP, |sampling| &mut sampling.top_p, 0.01..=0.99),
    (Feature::TopK, |sampling| &mut sampling.top_k, 0.0..=500.0),
    (Feature::FrequencyPenalty, |sampling| &mut sampling.frequency_penalty, 0.0..=1.0),
    (Feature::PresencePenalty, |sampling| &mut sampling.presence_penalty, 0.0..=1.0),
];

/// Changes the request to one that the API and the model take.
///
/// # Errors
///
/// When the request sets something that they do not support and that may not be left out.
pub(crate) fn fit(request: &mut Request, fitting: &mut Fitting) -> Result<(), Rejected> {
    fit_tools(request, fitting)?;
    for (feature, number, range) in RANGES {
        let is_outside = |number: &mut Number| !number.as_f64().is_some_and(|n| range.contains(&n));
        if number(&mut request.sampling).take_if(is_outside).is_some() {
            fitting.omit(feature, "");
        }
    }
    // The API reports the probabilities of the sampled tokens only.
    if request.logprobs.as_mut().and_then(|logprobs| logprobs.top.take()).is_some_and(|top| top > 0)
    {
        fitting.omit(Feature::Logprobs, "");
    }
    fit_thinking(request, fitting);
    fit_turns(request, fitting)
}

fn fit_tools(request: &mut Request, fitting: &mut Fitting) -> Result<(), Rejected> {
    // The API has no choice among tools, so only the chosen ones are offered.
    let chosen = match &request.choice {
        Some(Choice::Tool(name)) => Some(std::slice::from_ref(name)),
        Some(Choice::AnyOf(names)) => Some(&**names),
        Some(Choice::Auto | Choice::Any | Choice::None) | None => None,
    };
    if let Some(chosen) = chosen {
        request
            .tools
            .retain(|tool| !matches!(tool, Tool::Function { name, .. } if !chosen.contains(name)));
        request.choice = Some(Choice::Any);
    }
    if request.tools.is_empty() {
        (request.choice, request.parallel) = (None, None);
    }
    let (mut all_strict, mut first_strict) = (true, None);
    for tool in &mut request.tools {
        let (parameters, strict, cache, at) = match tool {
            Tool::Function { parameters, strict, cache, at, .. } => (parameters, strict, cache, at),
            Tool::Foreign { at, .. } => return Err(fitting.refuse(Feature::ServerTool, at)),
        };
        if cache.take().is_some() {
            fitting.keep(Feature::CachePoint, at)?;
        }
        // A strict tool must have a parameter that is required.
        let required = parameters.as_ref().and_then(|schema| schema.get("required")?.as_array());
        all_strict &= *strict == Some(true) && required.is_some_and(|names| !names.is_empty());
        if *strict == Some(true) {
            first_strict.get_or_insert_with(|| at.clone());
        }
        parameters.get_or_insert_with(|| json!({ "type": "object", "properties": {} }));
    }
    if let Some(at) = first_strict.filter(|_| !all_strict) {
        fitting.omit(Feature::StrictTools, &at);
        for tool in &mut request.tools {
            if let Tool::Function { strict, .. } = tool {
                *strict = None;
            }
        }
    }
    if request.parallel.take() == Some(false) {
        fitting.keep(Feature::SingleToolCall, "")?;
    }
    Ok(())
}

/// Models that reason do so unless it is disabled. The API has a budget, but no effort.
fn fit_thinking(request: &mut Request, fitting: &mut Fitting) {
    let Some(wanted) = request.thinking.take() else { return };
    let can_think = can_think(&request.model);
    let mode = if wanted.effort == Some(Effort::None) || wanted.budget == Some(0) {
        ThinkingMode::Disabled
    } else {
        if wanted.effort.is_some() && (!can_think || wanted.budget.is_none()) {
            fitting.omit(Feature::ReasoningEffort, "");
        }
        match wanted.budget {
            Some(budget) => {
                if !can_think {
                    fitting.omit(Feature::ReasoningBudget, "");
                }
                ThinkingMode::Budget(budget)
            }
            None if wanted.effort.is_some() => ThinkingMode::Adaptive,
            None => return,
        }
    };
    request.thinking_mode = can_think.then_some(mode);
}

/// Names with fewer than two hyphens are those of the first generation (`command-light`).
fn can_think(model: &str) -> bool {
    let is_without = WITHOUT_THINKING.iter().any(|name| model.starts_with(name));
    !is_without && model.matches('-').count() > 1
}

fn fit_turns(request: &mut Request, fitting: &mut Fitting) -> Result<(), Rejected> {
    for block in &mut request.system {
        fit_block(block, Role::System, fitting)?;
    }
    for turn in &mut request.turns {
        for block in &mut turn.blocks {
            fit_block(block, turn.role, fitting)?;
        }
        turn.blocks.retain(|block| match &block.content {
            Content::Reasoning { .. } if block.signature.is_some() => {
                // The API signs nothing, so the signature is another format's.
                fitting.omit(Feature::ForeignSignatures, &block.at);
                false
            }
            Content::Reasoning { text } => !text.is_empty(),
            _ => true,
        });
    }
    roles::arrange(request, &TURN_RULES, fitting)?;
    if let Some(block) = roles::prefill(request) {
        fitting.keep(Feature::Prefill, &block.at)?;
    }
    call_ids::rewrite(request, ID_RULE);
    tool_arguments::make_objects(request);
    Ok(())
}

fn fit_block(block: &mut Block, role: Role, fitting: &mut Fitting) -> Result<(), Rejected> {
    let at = &block.at;
    if block.cache.take().is_some() {
        fitting.keep(Feature::CachePoint, at)?;
    }
    let is_assistant = role == Role::Assistant;
    match &mut block.content {
        Content::Text { .. } | Content::Refusal(_) => Ok(()),
        Content::Media(media) => fit_media(media, at, fitting),
        Content::ToolCall { .. } | Content::Reasoning { .. } if is_assistant => Ok(()),
        Content::ToolResult(result) if !is_assistant => fit_result(result, at, fitting),
        Content::ToolCall { .. }
        | Content::Reasoning { .. }
        | Content::ToolResult(_)
        | Content::Foreign { .. } => Err(fitting.refuse(Feature::ServerToolBlock, at)),
    }
}

fn fit_result(result: &mut ToolResult, at: &str, fitting: &mut Fitting) -> Result<(), Rejected> {
    if std::mem::take(&mut result.is_error) {
        fitting.keep(Feature::ToolResultError, at)?;
    }
    for part in &mut result.content {
        if part.cache.take().is_some() {
            fitting.keep(Feature::CachePoint, &part.at)?;
        }
        match &part.content {
            Content::Text { .. } => {}
            Content::Media(_) => return Err(fitting.refuse(Feature::ToolResultMedia, &part.at)),
            _ => return Err(fitting.refuse(Feature::ServerToolBlock, &part.at)),
        }
    }
    Ok(())
}

fn fit_media(media: &Media, at: &str, fitting: &mut Fitting) -> Result<(), Rejected> {
    let feature = media::feature(media);
    match (media.kind, &media.source) {
        (MediaKind::Image, Source::Base64 { .. } | Source::Url { .. })
        | (MediaKind::Document, Source::Text(_)) => fitting.keep(feature, at).map(drop),
        _ => Err(fitting.refuse(feature, at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::api::Format;
    use crate::wire::ir::{Logprobs, Thinking, Turn};

    fn fitted(mut request: Request) -> (Request, Vec<String>) {
        let mut fitting = Fitting::new(Format::Cohere, Format::OpenAiChat);
        fit(&mut request, &mut fitting).unwrap();
        (request, fitting.finish().0)
    }

    fn thinking(model: &str, effort: Option<Effort>, budget: Option<u64>) -> Request {
        let thinking = Some(Thinking { effort, budget, shown: None });
        Request { model: model.to_owned(), thinking, ..Request::default() }
    }

    #[test]
    fn numbers_outside_their_range_are_dropped() {
        let sampling = Sampling {
            top_p: Number::from_f64(1.0),
            top_k: Some(500.into()),
            presence_penalty: Some((-1).into()),
            ..Sampling::default()
        };
        let logprobs = Some(Logprobs { top: Some(3) });
        let (request, dropped) = fitted(Request { sampling, logprobs, ..Request::default() });
        assert_eq!(dropped, ["/top_p", "/presence_penalty", "/logprobs"]);
        assert_eq!(request.sampling.top_k, Some(500.into()));
        assert_eq!(request.logprobs, Some(Logprobs { top: None }));
    }

    #[test]
    fn thinking_is_a_budget_or_a_switch() {
        let model = "command-a-reasoning-08-2025";
        for (effort, budget, mode, dropped) in [
            (None, Some(2000), Some(ThinkingMode::Budget(2000)), &[][..]),
            (Some(Effort::None), None, Some(ThinkingMode::Disabled), &[]),
            (Some(Effort::Low), None, Some(ThinkingMode::Adaptive), &["/reasoning_effort"]),
            (None, None, None, &[]),
        ] {
            let (request, named) = fitted(thinking(model, effort, budget));
            assert_eq!(request.thinking_mode, mode);
            assert_eq!(named, dropped);
        }
        let (request, dropped) = fitted(thinking("command-a-03-2025", None, Some(2000)));
        assert_eq!(request.thinking_mode, None);
        assert_eq!(dropped, ["/thinking/budget_tokens"]);
    }

    #[test]
    fn a_list_of_tools_to_choose_from_is_all_that_is_offered() {
        let tool = |name: &str, strict| Tool::Function {
            name: name.to_owned(),
            description: None,
            parameters: None,
            strict,
            cache: None,
            at: format!("/tools/{name}"),
        };
        let (request, dropped) = fitted(Request {
            tools: vec![tool("f", Some(true)), tool("g", None)],
            choice: Some(Choice::AnyOf(vec!["f".to_owned()])),
            ..Request::default()
        });
        assert_eq!(request.choice, Some(Choice::Any));
        // It has no required parameter.
        assert_eq!((request.tools.len(), dropped), (1, vec!["/tools/f".to_owned()]));
    }

    #[test]
    fn reasoning_with_a_signature_is_dropped() {
        let reasoning = |signed: bool| {
            let mut block = Block::new(Content::Reasoning { text: "t".to_owned() }, "/r");
            block.signature = signed.then(|| crate::wire::ir::Signature {
                format: Format::Anthropic,
                data: String::new(),
                id: None,
            });
            block
        };
        let turn = |role, blocks| Turn { role, name: None, blocks };
        let (request, dropped) = fitted(Request {
            turns: vec![
                turn(Role::Assistant, vec![reasoning(true), reasoning(false)]),
                turn(Role::User, vec![Block::new(Content::text("a"), "")]),
            ],
            ..Request::default()
        });
        assert_eq!((request.turns[0].blocks.len(), dropped), (1, vec!["/r".to_owned()]));
    }
}
