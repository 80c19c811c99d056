//! Fits a request to a vendor of the chat format.

mod tools;
mod turns;

use crate::wire::feature::Feature;
use crate::wire::fit::{Fitting, effort, openai};
use crate::wire::format::quirks::Quirks;
use crate::wire::ir::{Effort, Request, Thinking, Tier};
use crate::wire::json::fields::Rejected;
use crate::wire::models::openai::Model;

/// Changes a request to one that the vendor can take.
///
/// # Errors
///
/// When it sets something that the vendor does not support and that may not be left out.
pub(crate) fn fit(
    request: &mut Request,
    quirks: &Quirks,
    fitting: &mut Fitting,
) -> Result<(), Rejected> {
    turns::fit(request, quirks, fitting)?;
    tools::fit(request, quirks, fitting)?;
    if request.candidates.is_some_and(|count| count > 1) && !quirks.multiple_candidates {
        return Err(fitting.refuse(Feature::Candidates, ""));
    }
    fit_settings(request, quirks, fitting);
    fit_thinking(request, quirks, fitting);
    let model = Model::by_name(&request.model);
    if quirks.openai_limits || model.is_some() {
        if quirks.openai_limits && model.is_some_and(|model| model.chat_tools_need_effort_none) {
            turn_reasoning_off_for_tools(request, fitting);
        }
        openai::fit(request, fitting);
    }
    Ok(())
}

fn fit_settings(request: &mut Request, quirks: &Quirks, fitting: &mut Fitting) {
    let sampling = &mut request.sampling;
    if quirks.seed.is_none() {
        fitting.omit_set(Feature::Seed, &mut sampling.seed);
    }
    if !quirks.penalties {
        fitting.omit_set(Feature::FrequencyPenalty, &mut sampling.frequency_penalty);
        fitting.omit_set(Feature::PresencePenalty, &mut sampling.presence_penalty);
    }
    if !quirks.logprobs {
        fitting.omit_set(Feature::Logprobs, &mut request.logprobs);
    }
    if !quirks.end_user {
        fitting.omit_set(Feature::EndUser, &mut request.user);
    }
    if !quirks.prompt_cache_key {
        fitting.omit_set(Feature::PromptCacheKey, &mut request.cache_key);
    }
    if !quirks.service_tier || matches!(request.tier, Some(Tier::Other(_))) {
        fitting.omit_set(Feature::ServiceTier, &mut request.tier);
    }
}

/// The format has no token budget: it becomes the nearest effort.
fn fit_thinking(request: &mut Request, quirks: &Quirks, fitting: &mut Fitting) {
    match &mut request.thinking {
        // The switch takes any effort, also `none`; the words only refine it.
        Some(thinking) if quirks.thinking_switch => {
            let wanted = effort::requested(thinking);
            thinking.effort = match wanted {
                Some(Effort::None) => wanted,
                _ => wanted.and_then(|effort| effort::nearest(effort, quirks.efforts)),
            };
        }
        _ => effort::fit(request, quirks.efforts, fitting),
    }
}

fn turn_reasoning_off_for_tools(request: &mut Request, fitting: &mut Fitting) {
    if request.tools.is_empty() {
        return;
    }
    let thinking = request.thinking.take();
    if thinking.and_then(|thinking| thinking.effort).is_some_and(|effort| effort != Effort::None) {
        fitting.omit(Feature::ReasoningEffort, "");
    }
    request.thinking = Some(Thinking { effort: Some(Effort::None), budget: None, shown: None });
}
