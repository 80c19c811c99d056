//! Limits and features of the families of Gemini models. Aliases without a number are of the newest family.

use crate::wire::ir::Effort;

/// A family of Google's models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Family {
    generation: Generation,
    size: Size,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Generation {
    /// Models of other names, such as Gemma.
    Other,
    /// Gemini before 2.5.
    Older,
    /// 2.5.
    Gemini25,
    /// 3 and later.
    Gemini3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    Pro,
    Flash,
    FlashLite,
}

/// How a request controls the reasoning of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reasoning {
    /// Not at all.
    Fixed,
    /// By a budget of tokens.
    Budget,
    /// By one of these levels, least first.
    Level(&'static [Effort]),
}

impl Family {
    /// Returns the family of a model by its name in the path.
    pub(crate) fn of(model: &str) -> Family {
        let name = model.rsplit('/').next().unwrap_or_default();
        let size = if name.contains("flash-lite") {
            Size::FlashLite
        } else if name.contains("flash") {
            Size::Flash
        } else {
            Size::Pro
        };
        Family { generation: generation(name), size }
    }

    /// Returns true if calls without a signature are refused.
    /// <https://ai.google.dev/gemini-api/docs/thought-signatures>
    pub(crate) fn requires_signatures(self) -> bool {
        self.generation == Generation::Gemini3
    }

    /// Returns true if media may be within a tool result.
    /// <https://ai.google.dev/gemini-api/docs/function-calling#multimodal>
    pub(crate) fn takes_media_in_results(self) -> bool {
        self.generation == Generation::Gemini3
    }

    /// Returns true if penalties may be other than 0. All models since 2.5 answer "Penalty is not enabled for
    /// this model". <https://github.com/google-gemini/cookbook/issues/1290>
    pub(crate) fn takes_penalties(self) -> bool {
        matches!(self.generation, Generation::Other | Generation::Older)
    }

    /// Returns the most output tokens that a request may set; `None`: it is not known. Vertex refuses more.
    /// <https://ai.google.dev/gemini-api/docs/models>. Of 65,536 Vertex takes one less:
    /// <https://cloud.google.com/vertex-ai/generative-ai/docs/models/gemini/2-5-flash>
    pub(crate) fn max_output_tokens(self) -> Option<u64> {
        match self.generation {
            Generation::Other => None,
            Generation::Older => Some(8192),
            Generation::Gemini25 | Generation::Gemini3 => Some(65_535),
        }
    }

    /// Returns how a request controls reasoning.
    pub(crate) fn reasoning(self) -> Reasoning {
        const LEVELS: &[Effort] = &[Effort::Minimal, Effort::Low, Effort::Medium, Effort::High];
        match self.generation {
            Generation::Other | Generation::Older => Reasoning::Fixed,
            Generation::Gemini25 => Reasoning::Budget,
            Generation::Gemini3 if self.size == Size::Pro => Reasoning::Level(&LEVELS[1..]),
            Generation::Gemini3 => Reasoning::Level(LEVELS),
        }
    }

    /// Returns true if reasoning can be turned off. With the level `MINIMAL` of Gemini 3 Flash the model does
    /// not reason on most prompts. <https://ai.google.dev/gemini-api/docs/thinking>
    pub(crate) fn can_disable_reasoning(self) -> bool {
        self.reasoning() == Reasoning::Fixed || self.size != Size::Pro
    }

    /// Returns the nearest budget that the model takes.
    /// <https://ai.google.dev/gemini-api/docs/thinking#set-budget>
    pub(crate) fn clamp_budget(self, budget: u64) -> u64 {
        match self.size {
            Size::Pro => budget.clamp(128, 32_768),
            Size::Flash => budget.min(24_576),
            Size::FlashLite if budget == 0 => 0,
            Size::FlashLite => budget.clamp(512, 24_576),
        }
    }
}

fn generation(name: &str) -> Generation {
    let Some(rest) = name.strip_prefix("gemini-") else { return Generation::Other };
    let mut parts = rest.split(['.', '-']);
    let major = parts.next().unwrap_or_default();
    match major.parse::<u32>() {
        Ok(2) if parts.next() == Some("5") => Generation::Gemini25,
        Ok(0..=2) => Generation::Older,
        // The first names: `gemini-pro`, `gemini-pro-vision`, `gemini-ultra`, `gemini-exp-1206`.
        Err(_) if matches!(rest, "pro" | "pro-vision") => Generation::Older,
        Err(_) if matches!(major, "ultra" | "exp") => Generation::Older,
        _ => Generation::Gemini3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_model_gives_its_generation() {
        for (model, generation) in [
            ("gemini-2.0-flash", Generation::Older),
            ("gemini-1.5-pro-002", Generation::Older),
            ("gemini-pro", Generation::Older),
            ("gemini-exp-1206", Generation::Older),
            ("gemma-3-27b-it", Generation::Other),
            ("models/gemini-2.5-flash-lite", Generation::Gemini25),
            ("gemini-3.1-pro-preview", Generation::Gemini3),
            ("publishers/google/models/gemini-3-flash-preview", Generation::Gemini3),
            ("gemini-flash-latest", Generation::Gemini3),
            ("gemini-pro-latest", Generation::Gemini3),
            ("gemini-10-pro", Generation::Gemini3),
        ] {
            assert_eq!(Family::of(model).generation, generation, "{model}");
        }
    }

    #[test]
    fn budgets_are_clamped_to_what_the_model_takes() {
        for (model, budget, expected) in [
            ("gemini-2.5-flash", 0, 0),
            ("gemini-2.5-flash", 32_768, 24_576),
            ("gemini-2.5-flash", 2000, 2000),
            ("gemini-2.5-pro", 0, 128),
            ("gemini-2.5-flash-lite", 0, 0),
            ("gemini-2.5-flash-lite", 1, 512),
        ] {
            assert_eq!(Family::of(model).clamp_budget(budget), expected, "{model}");
        }
    }
}
