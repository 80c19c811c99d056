//! The one scale between effort words and token budgets of reasoning.
//!
//! The only published table is Google's, for OpenAI clients of Gemini:
//! <https://ai.google.dev/gemini-api/docs/openai#thinking>. `xhigh` and `max` are not in it; 32,768 is the most
//! that any Gemini model takes.

use super::Fitting;
use crate::wire::feature::Feature;
use crate::wire::ir::{Effort, Request, Thinking};

/// Returns the token budget that corresponds to an effort.
pub(crate) fn budget_of(effort: Effort) -> u64 {
    match effort {
        Effort::None => 0,
        Effort::Minimal | Effort::Low => 1024,
        Effort::Medium => 8192,
        Effort::High => 24_576,
        Effort::XHigh | Effort::Max => 32_768,
    }
}

/// Returns the least effort whose budget covers `budget` tokens, at most [`Effort::High`]: models that know
/// the words above it are few, so only a caller that names them gets them.
pub(crate) fn effort_of(budget: u64) -> Effort {
    match budget {
        0 => Effort::None,
        1..=1024 => Effort::Low,
        1025..=8192 => Effort::Medium,
        _ => Effort::High,
    }
}

/// Returns the effort that a caller requests, by word or by budget.
pub(crate) fn requested(thinking: &Thinking) -> Option<Effort> {
    thinking.effort.or(thinking.budget.map(effort_of))
}

/// Returns the greatest of the `supported` efforts that is not above `wanted`, or else the least one.
/// `supported` is in ascending order. `None` (no reasoning at all) is never replaced by little reasoning,
/// nor the reverse.
pub(crate) fn nearest(wanted: Effort, supported: &[Effort]) -> Option<Effort> {
    if wanted == Effort::None {
        return supported.contains(&wanted).then_some(wanted);
    }
    let mut others = supported.iter().copied().filter(|effort| *effort != Effort::None);
    let least = others.clone().next();
    others.rfind(|effort| *effort <= wanted).or(least)
}

/// Replaces what the caller requests, by word or by budget, with the nearest of the `supported` efforts, which
/// are in ascending order. Without one it is dropped and named.
pub(crate) fn fit(request: &mut Request, supported: &[Effort], fitting: &mut Fitting) {
    let Some(thinking) = &mut request.thinking else { return };
    let Some(wanted) = requested(thinking) else { return };
    let by_word = thinking.effort.is_some();
    thinking.effort = nearest(wanted, supported);
    thinking.budget = None;
    if thinking.effort.is_none() {
        let by_budget = Feature::ReasoningBudget;
        fitting.omit(if by_word { Feature::ReasoningEffort } else { by_budget }, "");
    }
}

impl Effort {
    /// The word that all APIs use for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Effort::None => "none",
            Effort::Minimal => "minimal",
            Effort::Low => "low",
            Effort::Medium => "medium",
            Effort::High => "high",
            Effort::XHigh => "xhigh",
            Effort::Max => "max",
        }
    }

    /// The effort with that word.
    pub(crate) fn from_word(word: &str) -> Option<Effort> {
        Some(match word {
            "none" => Effort::None,
            "minimal" => Effort::Minimal,
            "low" => Effort::Low,
            "medium" => Effort::Medium,
            "high" => Effort::High,
            "xhigh" => Effort::XHigh,
            "max" => Effort::Max,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_and_efforts_convert_both_ways() {
        for effort in [Effort::None, Effort::Low, Effort::Medium, Effort::High] {
            assert_eq!(effort_of(budget_of(effort)), effort);
        }
        assert_eq!(effort_of(2000), Effort::Medium);
        assert_eq!(effort_of(1_000_000), Effort::High);
    }

    #[test]
    fn the_nearest_supported_effort_is_chosen_and_none_stays_none() {
        let supported = [Effort::None, Effort::Low, Effort::High];
        assert_eq!(nearest(Effort::None, &supported), Some(Effort::None));
        assert_eq!(nearest(Effort::Minimal, &supported), Some(Effort::Low));
        assert_eq!(nearest(Effort::Medium, &supported), Some(Effort::Low));
        assert_eq!(nearest(Effort::Max, &supported), Some(Effort::High));
        assert_eq!(nearest(Effort::None, &supported[1..]), None);
        assert_eq!(nearest(Effort::Low, &[]), None);
    }
}
