//! What the Claude models take, by the names of their families. The format is one, but each generation refuses
//! something that the one before it took. Every road to a Claude model (Anthropic, Vertex, Bedrock) uses this
//! table.
//!
//! Sources: <https://platform.claude.com/docs/en/about-claude/models/overview> and the migration guides and
//! "what's new" pages of each model; <https://platform.claude.com/docs/en/build-with-claude/thinking>,
//! `/effort` and `/structured-outputs` beside it; the API's specification for `temperature`, `top_p` and
//! `top_k`; a recorded refusal of `xhigh` by Claude Opus 4.6.

use crate::wire::ir::Effort;

/// What a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Model {
    /// True for a model of Anthropic's; false for another model behind the same format, of which the rest is a
    /// guess.
    pub(crate) is_claude: bool,
    /// The most tokens of an answer. The API demands a limit and refuses a higher one.
    pub(crate) max_output_tokens: u64,
    pub(crate) thinking: ThinkingSupport,
    /// The effort words it knows, in ascending order.
    pub(crate) efforts: &'static [Effort],
    /// True if it answers by schema (`output_config.format`) and follows the schemas of strict tools.
    pub(crate) structured_outputs: bool,
    pub(crate) sampling: SamplingSupport,
    /// True if it can be made to call a tool.
    pub(crate) forced_tools: bool,
    /// True if it continues a last turn of the assistant.
    pub(crate) prefill: bool,
}

/// How a model is told to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ThinkingSupport {
    /// It cannot think.
    Never,
    /// With a budget of tokens.
    Budget,
    /// With a budget, or adaptively.
    BudgetOrAdaptive,
    /// Adaptively, when it is told to.
    Adaptive,
    /// Adaptively, unless it is told not to.
    AdaptiveByDefault,
    /// Adaptively by default; `between_tools` is the least that it can be told.
    AtLeastBetweenTools,
    /// Adaptively, whatever it is told.
    Always,
}

/// Which sampling parameters a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SamplingSupport {
    All,
    /// `temperature` or `top_p`, not both.
    TemperatureOrTopP,
    None,
}

const TO_HIGH: &[Effort] = &[Effort::Low, Effort::Medium, Effort::High];
const TO_MAX_WITHOUT_XHIGH: &[Effort] = &[Effort::Low, Effort::Medium, Effort::High, Effort::Max];
const ALL_EFFORTS: &[Effort] =
    &[Effort::Low, Effort::Medium, Effort::High, Effort::XHigh, Effort::Max];

/// A model behind the format that is not Anthropic's. 8192 is the least limit in use among them; all know
/// budgets, tools and sampling, which are as old as the format.
const OTHER: Model = Model {
    is_claude: false,
    max_output_tokens: 8192,
    thinking: ThinkingSupport::Budget,
    efforts: &[],
    structured_outputs: false,
    sampling: SamplingSupport::All,
    forced_tools: true,
    prefill: true,
};

impl Model {
    /// Returns the model of that name or id, however a cloud decorates it: `claude-opus-4-6`,
    /// `us.anthropic.claude-sonnet-4-5-20250929-v1:0`, `claude-sonnet-4@20250514`. A name that is newer than
    /// this table counts as the newest.
    pub(crate) fn named(name: &str) -> Model {
        let name = name.to_ascii_lowercase();
        let Some((_, name)) = name.split_once("claude") else { return OTHER };
        let family = ["opus", "sonnet", "haiku", "fable", "mythos"]
            .into_iter()
            .find(|family| name.contains(family))
            .unwrap_or_default();
        let (major, minor) = version_in(name).unwrap_or((u32::MAX, 0));
        let claude = Model { is_claude: true, ..OTHER };
        let one_sampling = SamplingSupport::TemperatureOrTopP;
        match (major, minor) {
            (0..=2, _) | (3, 0..=4) => {
                Model { max_output_tokens: 4096, thinking: ThinkingSupport::Never, ..claude }
            }
            (3, 5..=6) => Model { thinking: ThinkingSupport::Never, ..claude },
            (3, _) => Model { max_output_tokens: 64_000, ..claude },
            (4, 0..=4) => Model {
                max_output_tokens: if family == "opus" { 32_000 } else { 64_000 },
                structured_outputs: minor > 0,
                sampling: if minor > 0 { one_sampling } else { SamplingSupport::All },
                ..claude
            },
            (4, 5) => Model {
                max_output_tokens: 64_000,
                structured_outputs: true,
                sampling: one_sampling,
                efforts: if family == "opus" { TO_HIGH } else { &[] },
                ..claude
            },
            (4, 6) => Model {
                max_output_tokens: 128_000,
                structured_outputs: true,
                sampling: one_sampling,
                efforts: TO_MAX_WITHOUT_XHIGH,
                thinking: ThinkingSupport::BudgetOrAdaptive,
                prefill: false,
                ..claude
            },
            _ => newer(family, major, minor),
        }
    }
}

/// From Claude Opus 4.7 on: thinking is adaptive only, sampling is refused.
fn newer(family: &str, major: u32, minor: u32) -> Model {
    // 5.1 of the two great ones, and 5.5 of all but Haiku, cannot be made to call a tool.
    let forced_tools = match family {
        "fable" | "mythos" => (major, minor) == (5, 0),
        "haiku" => true,
        _ => (major, minor) < (5, 1),
    };
    let since_5_5 = (major, minor) >= (5, 5);
    let thinking = match (family, since_5_5) {
        _ if major == 4 => ThinkingSupport::Adaptive,
        ("fable" | "mythos", _) | ("opus", true) => ThinkingSupport::Always,
        ("sonnet", true) => ThinkingSupport::AtLeastBetweenTools,
        _ => ThinkingSupport::AdaptiveByDefault,
    };
    Model {
        is_claude: true,
        max_output_tokens: 128_000,
        thinking,
        efforts: ALL_EFFORTS,
        structured_outputs: true,
        sampling: SamplingSupport::None,
        forced_tools,
        prefill: false,
    }
}

/// Returns the version in the name or id of a Claude model, however a cloud decorates it: `(4, 5)` for
/// `us.anthropic.claude-sonnet-4-5-20250929-v1:0`. `None`: it is no Claude model, or has no version.
pub(crate) fn version(model: &str) -> Option<(u32, u32)> {
    version_in(model.to_ascii_lowercase().split_once("claude")?.1)
}

/// Returns the first number of one or two digits, and the number after it. Longer numbers are dates.
fn version_in(name: &str) -> Option<(u32, u32)> {
    let mut parts = name.split(|sign: char| !sign.is_ascii_alphanumeric());
    let number = |part: &str| part.parse::<u32>().ok().filter(|_| part.len() <= 2);
    // The first models are `claude-v2` and `claude-instant-v1`.
    let major = parts.find_map(|part| number(part.strip_prefix('v').unwrap_or(part)))?;
    Some((major, parts.next().and_then(number).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_versions_as_clouds_write_them() {
        for (name, expected) in [
            ("anthropic.claude-v2", (2, 0)),
            ("claude-3-haiku-20240307", (3, 0)),
            ("claude-3-5-sonnet-20241022", (3, 5)),
            ("claude-opus-4-20250514", (4, 0)),
            ("claude-sonnet-4@20250514", (4, 0)),
            ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", (4, 5)),
            ("us.anthropic.claude-opus-4-6-v1", (4, 6)),
            ("anthropic/claude-4.6-opus", (4, 6)),
            ("Claude-Opus-5", (5, 0)),
        ] {
            assert_eq!(version(name), Some(expected), "{name}");
        }
    }

    #[test]
    fn each_generation_has_its_own_limits() {
        let model = |name: &str| Model::named(name);
        assert_eq!(model("claude-3-5-haiku-20241022").max_output_tokens, 8192);
        assert_eq!(model("claude-opus-4-1").max_output_tokens, 32_000);
        for (name, expected) in [
            ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", ThinkingSupport::Budget),
            ("claude-sonnet-4-6", ThinkingSupport::BudgetOrAdaptive),
            ("claude-opus-4-8", ThinkingSupport::Adaptive),
            ("claude-opus-5", ThinkingSupport::AdaptiveByDefault),
            ("claude-opus-5-5", ThinkingSupport::Always),
            ("claude-sonnet-5-5", ThinkingSupport::AtLeastBetweenTools),
            ("claude-haiku-5-5", ThinkingSupport::AdaptiveByDefault),
            // Without a family or a version: what all of the newest do.
            ("claude-next", ThinkingSupport::AdaptiveByDefault),
        ] {
            assert_eq!(model(name).thinking, expected, "{name}");
        }
        assert!(model("claude-fable-5").forced_tools && !model("claude-fable-5-1").forced_tools);
        assert!(model("claude-opus-5").forced_tools && !model("claude-opus-5-5").forced_tools);
        assert_eq!(model("glm-4.6"), OTHER);
    }
}
