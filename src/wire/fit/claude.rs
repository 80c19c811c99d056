//! What single Claude models refuse, on every road to them.

use serde_json::Number;

use super::{Fitting, effort};
use crate::wire::feature::Feature;
use crate::wire::ir::{Choice, Content, Effort, Request, Role, Thinking, ThinkingMode};
use crate::wire::models::claude::{Model, SamplingSupport, ThinkingSupport};

/// The least budget that the API takes.
/// <https://platform.claude.com/docs/en/build-with-claude/extended-thinking>
const MIN_BUDGET: u64 = 1024;

/// Lowers the limit of the answer to the model's own, which the API enforces.
pub(crate) fn clamp_max_tokens(request: &mut Request, model: &Model) {
    if let Some(max_tokens) = request.max_tokens.as_mut().filter(|_| model.is_claude) {
        *max_tokens = (*max_tokens).min(model.max_output_tokens);
    }
}

/// Decides how the model is told to think: sets [`Request::thinking_mode`], and leaves in
/// [`Request::thinking`] the effort and the display that the model knows. Run it after the turns, the tools and
/// the limit are fitted.
///
/// With a budget the API refuses a forced tool call, a conversation that the assistant ends, and tool results
/// whose call was made without thinking; the thinking is then left out.
/// <https://platform.claude.com/docs/en/build-with-claude/thinking>
pub(crate) fn fit_thinking(request: &mut Request, model: &Model, fitting: &mut Fitting) {
    let Some(wanted) = request.thinking.take() else { return };
    if wanted.effort == Some(Effort::None) || wanted.budget == Some(0) {
        disable_thinking(request, model, &wanted, fitting);
        return;
    }
    let has_room = can_think_with_budget(request);
    let max_tokens = request.max_tokens.unwrap_or(model.max_output_tokens);
    let budget = || budget_with_room(&wanted, max_tokens).filter(|_| has_room);
    let mode = match model.thinking {
        ThinkingSupport::Never => None,
        ThinkingSupport::Budget => budget().map(ThinkingMode::Budget),
        ThinkingSupport::BudgetOrAdaptive if wanted.budget.is_some() => {
            Some(budget().map_or(ThinkingMode::Adaptive, ThinkingMode::Budget))
        }
        _ => Some(ThinkingMode::Adaptive),
    };
    let effort = match mode {
        None => {
            omit_thinking(&wanted, fitting);
            return;
        }
        Some(ThinkingMode::Adaptive) => effort::requested(&wanted),
        Some(_) => wanted.effort,
    };
    // Newer models show no thinking unless they are told to, older ones do.
    let is_shown_by_default =
        matches!(model.thinking, ThinkingSupport::Budget | ThinkingSupport::BudgetOrAdaptive);
    request.thinking_mode = mode;
    request.thinking = Some(Thinking {
        effort: effort.and_then(|effort| effort::nearest(effort, model.efforts)),
        budget: None,
        shown: wanted.shown.filter(|shown| model.is_claude && *shown != is_shown_by_default),
    });
}

/// Removes sampling parameters that the model refuses; run it after [`fit_thinking`]. 1 is the default of
/// temperature and top-p, so it is removed without a note where it cannot be set. Thinking excludes
/// `temperature` and `top_k`, and `top_p` below 0.95.
pub(crate) fn fit_sampling(request: &mut Request, model: &Model, fitting: &mut Fitting) {
    let thinks =
        matches!(request.thinking_mode, Some(ThinkingMode::Adaptive | ThinkingMode::Budget(_)));
    let is_allowed = model.sampling != SamplingSupport::None;
    let sampling = &mut request.sampling;
    let mut fit = |value: &mut Option<Number>, feature, is_allowed: bool| {
        if value.is_some() && !is_allowed {
            *value = None;
            fitting.omit(feature, "");
        }
    };
    for value in [&mut sampling.temperature, &mut sampling.top_p] {
        value.take_if(|number| is(number, |n| (n - 1.0).abs() < f64::EPSILON));
    }
    let in_range =
        sampling.temperature.as_ref().is_some_and(|t| is(t, |t| (0.0..=1.0).contains(&t)));
    fit(&mut sampling.temperature, Feature::Temperature, is_allowed && !thinks && in_range);
    let excludes_top_p =
        sampling.temperature.is_some() && model.sampling == SamplingSupport::TemperatureOrTopP;
    let is_high = sampling.top_p.as_ref().is_some_and(|top_p| is(top_p, |p| p >= 0.95));
    fit(&mut sampling.top_p, Feature::TopP, is_allowed && !excludes_top_p && (!thinks || is_high));
    let is_whole = sampling.top_k.as_ref().is_some_and(Number::is_u64);
    fit(&mut sampling.top_k, Feature::TopK, is_allowed && !thinks && is_whole);
}

fn disable_thinking(
    request: &mut Request,
    model: &Model,
    wanted: &Thinking,
    fitting: &mut Fitting,
) {
    request.thinking_mode = match model.thinking {
        // They do not think unless they are told to, and some refuse to be told not to.
        ThinkingSupport::Never | ThinkingSupport::Adaptive => None,
        ThinkingSupport::Budget
        | ThinkingSupport::BudgetOrAdaptive
        | ThinkingSupport::AdaptiveByDefault => Some(ThinkingMode::Disabled),
        ThinkingSupport::AtLeastBetweenTools => Some(ThinkingMode::BetweenTools),
        ThinkingSupport::Always => {
            omit_thinking(wanted, fitting);
            let effort = effort::nearest(Effort::Low, model.efforts);
            request.thinking = Some(Thinking { effort, budget: None, shown: None });
            None
        }
    };
}

fn omit_thinking(wanted: &Thinking, fitting: &mut Fitting) {
    let is_word = wanted.effort.is_some();
    let feature = if is_word { Feature::ReasoningEffort } else { Feature::ReasoningBudget };
    fitting.omit(feature, "");
}

/// Returns true if a model with a budget continues the conversation. Reasoning of other providers is removed
/// by now, so reasoning at the beginning of the assistant's turn is the target's own.
fn can_think_with_budget(request: &Request) -> bool {
    if matches!(request.choice, Some(Choice::Any | Choice::Tool(_) | Choice::AnyOf(_))) {
        return false;
    }
    let [before @ .., last] = &request.turns[..] else { return true };
    if last.role == Role::Assistant {
        return false;
    }
    let has_results =
        last.blocks.iter().any(|block| matches!(block.content, Content::ToolResult(_)));
    let first = before.last().and_then(|turn| turn.blocks.first());
    !has_results || first.is_some_and(|block| matches!(block.content, Content::Reasoning { .. }))
}

/// Returns the budget, lowered so that there is room for the answer within `max_tokens`, which counts thinking
/// as well and is the caller's; `None` if there is no room for thinking. Without a budget and an effort it is
/// that of medium effort, as at OpenAI.
fn budget_with_room(wanted: &Thinking, max_tokens: u64) -> Option<u64> {
    let budget = match wanted.budget {
        Some(budget) if budget < max_tokens => budget,
        Some(_) => max_tokens / 2,
        None => effort::budget_of(wanted.effort.unwrap_or(Effort::Medium)).min(max_tokens / 2),
    };
    let budget = budget.max(MIN_BUDGET);
    (budget < max_tokens).then_some(budget)
}

fn is(number: &Number, holds: impl Fn(f64) -> bool) -> bool {
    number.as_f64().is_some_and(holds)
}
