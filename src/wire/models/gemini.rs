//! What the families of models take. Aliases without a number are of the newest family.

use crate::wire::ir::{Effort, Thinking};

/// A family of Google's models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Family {
    generation: Generation,
    size: Size,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Generation {
    /// Before 2.5, and what is not Gemini: they do not think, or not by order.
    Older,
    /// 2.5: thinks within a budget.
    Budget,
    /// 3 and later: thinks at a level, and wants its signatures back.
    Level,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    Pro,
    Flash,
    FlashLite,
}

/// `thinkingConfig`, without whether thoughts are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Level(&'static str),
    Budget(u64),
}

impl Family {
    /// Of a model by its name in the path.
    pub(crate) fn of(model: &str) -> Family {
        let name = model.rsplit('/').next().unwrap_or_default();
        let size = if name.contains("flash-lite") {
            Size::FlashLite
        } else if name.contains("flash") {
            Size::Flash
        } else {
            Size::Pro
        };
        let generation = match name.strip_prefix("gemini-") {
            Some(rest) if rest.starts_with("2.5") => Generation::Budget,
            Some(rest) if rest.starts_with(['0', '1', '2']) && !is_two_digits(rest) => {
                Generation::Older
            }
            // The first names: `gemini-pro`, `gemini-pro-vision`, `gemini-ultra`, `gemini-exp-1206`.
            None | Some("pro" | "pro-vision") => Generation::Older,
            Some(rest) if rest.starts_with("ultra") || rest.starts_with("exp-") => {
                Generation::Older
            }
            Some(_) => Generation::Level,
        };
        Family { generation, size }
    }

    /// Whether calls without a signature are refused.
    /// <https://ai.google.dev/gemini-api/docs/thought-signatures>
    pub(crate) fn wants_seals(self) -> bool {
        self.generation == Generation::Level
    }

    /// Whether media may stand within an outcome.
    /// <https://ai.google.dev/gemini-api/docs/function-calling#multimodal>
    pub(crate) fn takes_media_in_outcomes(self) -> bool {
        self.generation == Generation::Level
    }

    /// Whether penalties may be other than 0: "Penalty is not enabled for this model", answer all since 2.5.
    /// <https://github.com/google-gemini/cookbook/issues/1290>
    pub(crate) fn takes_penalties(self) -> bool {
        self.generation == Generation::Older
    }

    /// Whether it can be told how much to think.
    pub(crate) fn thinks(self) -> bool {
        self.generation != Generation::Older
    }

    /// Whether thinking can be turned off. <https://ai.google.dev/gemini-api/docs/thinking>
    pub(crate) fn can_stop_thinking(self) -> bool {
        match self.generation {
            Generation::Older => true,
            // Of the later ones `MINIMAL` is not thinking for most prompts.
            Generation::Budget | Generation::Level => self.size != Size::Pro,
        }
    }

    /// How to order what a caller wants. Effort and budget stand for each other as in Google's own layer
    /// for OpenAI's clients. <https://ai.google.dev/gemini-api/docs/openai#thinking>
    pub(crate) fn order(self, thinking: &Thinking) -> Option<Order> {
        match self.generation {
            Generation::Older => None,
            Generation::Budget => {
                let budget = thinking.budget.or(thinking.effort.map(budget_of))?;
                Some(Order::Budget(self.within(budget)))
            }
            Generation::Level => {
                let effort = thinking.effort.or(thinking.budget.map(effort_of))?;
                Some(Order::Level(self.level(effort)))
            }
        }
    }

    /// A budget that the model takes. <https://ai.google.dev/gemini-api/docs/thinking#set-budget>
    fn within(self, budget: u64) -> u64 {
        match self.size {
            Size::Pro => budget.clamp(128, 32_768),
            Size::Flash => budget.min(24_576),
            Size::FlashLite if budget == 0 => 0,
            Size::FlashLite => budget.clamp(512, 24_576),
        }
    }

    fn level(self, effort: Effort) -> &'static str {
        match (effort, self.size) {
            (Effort::None | Effort::Minimal, Size::Flash | Size::FlashLite) => "MINIMAL",
            (Effort::None | Effort::Minimal | Effort::Low, _) => "LOW",
            (Effort::Medium, _) => "MEDIUM",
            (Effort::High | Effort::XHigh | Effort::Max, _) => "HIGH",
        }
    }
}

/// A version from 10.
fn is_two_digits(version: &str) -> bool {
    version.as_bytes().get(1).is_some_and(u8::is_ascii_digit)
}

fn budget_of(effort: Effort) -> u64 {
    match effort {
        Effort::None => 0,
        Effort::Minimal | Effort::Low => 1024,
        Effort::Medium => 8192,
        Effort::High => 24_576,
        Effort::XHigh | Effort::Max => 32_768,
    }
}

fn effort_of(budget: u64) -> Effort {
    match budget {
        0 => Effort::None,
        1..=1024 => Effort::Low,
        1025..=8192 => Effort::Medium,
        _ => Effort::High,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(model: &str, effort: Option<Effort>, budget: Option<u64>) -> Option<Order> {
        Family::of(model).order(&Thinking { effort, budget, shown: None })
    }

    #[test]
    fn models_are_told_apart_by_their_names() {
        for (model, generation) in [
            ("gemini-2.0-flash", Generation::Older),
            ("gemini-1.5-pro-002", Generation::Older),
            ("gemini-pro", Generation::Older),
            ("gemma-3-27b-it", Generation::Older),
            ("models/gemini-2.5-flash-lite", Generation::Budget),
            ("gemini-3.1-pro-preview", Generation::Level),
            ("publishers/google/models/gemini-3-flash-preview", Generation::Level),
            ("gemini-flash-latest", Generation::Level),
            ("gemini-10-pro", Generation::Level),
        ] {
            assert_eq!(Family::of(model).generation, generation, "{model}");
        }
    }

    #[test]
    fn effort_and_budget_stand_for_each_other() {
        let (flash, pro) = ("gemini-2.5-flash", "gemini-2.5-pro");
        assert_eq!(order(flash, Some(Effort::None), None), Some(Order::Budget(0)));
        assert_eq!(order(pro, Some(Effort::None), None), Some(Order::Budget(128)));
        assert_eq!(order(flash, Some(Effort::Max), None), Some(Order::Budget(24_576)));
        assert_eq!(order(flash, Some(Effort::Low), Some(2000)), Some(Order::Budget(2000)));
        assert_eq!(order("gemini-3-flash", None, Some(2000)), Some(Order::Level("MEDIUM")));
        assert_eq!(order("gemini-3-pro", Some(Effort::Minimal), None), Some(Order::Level("LOW")));
        assert_eq!(order("gemini-3-flash", None, None), None);
        assert_eq!(order("gemini-2.0-flash", Some(Effort::High), None), None);
    }
}
