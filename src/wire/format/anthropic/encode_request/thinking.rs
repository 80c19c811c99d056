//! How much is thought, in the way that the model is told, and how long the answer may be.
//! <https://platform.claude.com/docs/en/build-with-claude/thinking>

use crate::wire::feature::Feature;
use crate::wire::fit::Fitting;
use crate::wire::ir::{Effort, Request, Thinking};
use crate::wire::json::write::Object;
use crate::wire::models::claude::{Model, Thinks};

use super::form::Answer;

/// The least budget that the API takes.
const LEAST: u64 = 1024;

/// What is said of thinking.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) max_tokens: u64,
    way: Way,
    effort: Option<&'static str>,
    display: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Unsaid,
    Off,
    BetweenTools,
    Adaptive,
    Budget(u64),
}

impl Plan {
    /// `forced`: a tool must be called. `may`: the conversation is one that a model with a budget goes on
    /// with. With a budget the API takes neither `forced` nor the other; the thinking is then left out.
    ///
    /// The limit counts thinking as well and is the caller's: a budget gives way to it, to its half where
    /// the caller named no budget that fits. Without a limit the model's own is said.
    pub(crate) fn of(
        request: &Request,
        model: &Model,
        forced: bool,
        may: bool,
        fitting: &mut Fitting,
    ) -> Plan {
        let max_tokens = request
            .max_tokens
            .map_or(model.most, |wanted| if model.known { wanted.min(model.most) } else { wanted });
        let mut plan = Plan { max_tokens, way: Way::Unsaid, effort: None, display: None };
        let Some(wanted) = &request.thinking else { return plan };
        if wanted.effort == Some(Effort::None) || wanted.budget == Some(0) {
            plan.off(model, wanted, fitting);
            return plan;
        }
        let budget = || budget_with_room(wanted, max_tokens).filter(|_| may && !forced);
        plan.way = match model.thinks {
            Thinks::Never => Way::Unsaid,
            Thinks::Budget => budget().map_or(Way::Unsaid, Way::Budget),
            Thinks::Either if wanted.budget.is_some() => {
                budget().map_or(Way::Adaptive, Way::Budget)
            }
            _ => Way::Adaptive,
        };
        plan.effort = match (plan.way, wanted.effort) {
            (Way::Unsaid, _) => None,
            (_, Some(effort)) => model.effort(effort),
            // A model that knows no budgets is told as many words as the budget is worth.
            (Way::Adaptive, None) => wanted.budget.and_then(|budget| model.effort(worth(budget))),
            (_, None) => None,
        };
        if plan.way == Way::Unsaid {
            leave(wanted, fitting);
        }
        // Newer models show no thoughts unless they are told to, older ones do.
        plan.display = match wanted.shown {
            _ if !plan.thinks() || !model.known => None,
            Some(true) if !matches!(model.thinks, Thinks::Budget | Thinks::Either) => {
                Some("summarized")
            }
            Some(false) => Some("omitted"),
            _ => None,
        };
        plan
    }

    /// Whether the model is told to think.
    pub(crate) fn thinks(&self) -> bool {
        matches!(self.way, Way::Adaptive | Way::Budget(_))
    }

    pub(crate) fn write(&self, answer: &Answer<'_>, body: &mut Object<'_>) {
        let mut thinking = |kind: &str, budget: Option<u64>| {
            let mut thinking = body.object("thinking");
            thinking.put("type", kind).put_some("budget_tokens", budget.as_ref());
            thinking.put_some("display", self.display);
            thinking.end();
        };
        match self.way {
            Way::Unsaid => {}
            Way::Off => thinking("disabled", None),
            Way::BetweenTools => thinking("between_tools", None),
            Way::Adaptive => thinking("adaptive", None),
            Way::Budget(budget) => thinking("enabled", Some(budget)),
        }
        let schema = match answer {
            Answer::Native(schema) => Some(*schema),
            Answer::Free | Answer::Tool { .. } => None,
        };
        if self.effort.is_none() && schema.is_none() {
            return;
        }
        let mut config = body.object("output_config");
        config.put_some("effort", self.effort);
        if let Some(schema) = schema {
            let mut format = config.object("format");
            format.raw("type", r#""json_schema""#).put("schema", schema);
            format.end();
        }
        config.end();
    }

    fn off(&mut self, model: &Model, wanted: &Thinking, fitting: &mut Fitting) {
        match model.thinks {
            // Silent unless told otherwise; the latter some refuse to be told.
            Thinks::Never | Thinks::Adaptive => {}
            Thinks::Budget | Thinks::Either | Thinks::Unasked => self.way = Way::Off,
            Thinks::BetweenTools => self.way = Way::BetweenTools,
            Thinks::Always => {
                leave(wanted, fitting);
                self.effort = model.effort(Effort::Low);
            }
        }
    }
}

fn leave(wanted: &Thinking, fitting: &mut Fitting) {
    let feature =
        if wanted.effort.is_some() { Feature::ReasoningEffort } else { Feature::ReasoningBudget };
    fitting.omit(feature, "");
}

/// The budget, so that there is room for the answer; `None`: there is no room for thinking.
fn budget_with_room(wanted: &Thinking, max_tokens: u64) -> Option<u64> {
    let budget = match wanted.budget {
        Some(budget) if budget < max_tokens => budget,
        Some(_) => max_tokens / 2,
        None => tokens(wanted.effort).min(max_tokens / 2),
    };
    let budget = budget.max(LEAST);
    (budget < max_tokens).then_some(budget)
}

/// What an effort is worth in tokens. Those of low, medium and high are Google's, of whom the same is asked:
/// <https://ai.google.dev/gemini-api/docs/openai#thinking>. None named is medium, as at OpenAI.
fn tokens(effort: Option<Effort>) -> u64 {
    match effort {
        Some(Effort::None | Effort::Minimal | Effort::Low) => 1024,
        None | Some(Effort::Medium) => 8192,
        Some(Effort::High) => 24_576,
        Some(Effort::XHigh | Effort::Max) => 32_768,
    }
}

/// What a budget is worth in words: the least whose tokens are no fewer.
fn worth(budget: u64) -> Effort {
    let words = [Effort::Low, Effort::Medium, Effort::High];
    words.into_iter().find(|word| budget <= tokens(Some(*word))).unwrap_or(Effort::XHigh)
}
