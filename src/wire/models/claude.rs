//! What the models take, by the names of their families: the format is one, but each generation refuses
//! something that the one before it took.
//!
//! Sources: <https://platform.claude.com/docs/en/about-claude/models/overview> and the migration guides and
//! "what's new" pages of each model; <https://platform.claude.com/docs/en/build-with-claude/thinking>,
//! `/effort` and `/structured-outputs` beside it; the API's specification for `temperature`, `top_p` and
//! `top_k`; a recorded refusal of `xhigh` by Claude Opus 4.6.

use crate::wire::ir::Effort;

/// What a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Model {
    /// Whether these are known facts, or guesses at somebody else's model behind the same format.
    pub(crate) known: bool,
    /// The most tokens of an answer. The API demands a limit and refuses a higher one.
    pub(crate) most: u64,
    pub(crate) thinks: Thinks,
    pub(crate) efforts: Efforts,
    /// Whether it answers by schema (`output_config.format`) and keeps to those of strict tools.
    pub(crate) schemas: bool,
    pub(crate) samples: Samples,
    /// Whether it can be made to call a tool.
    pub(crate) forced: bool,
    /// Whether it goes on with a last turn of its own.
    pub(crate) prefill: bool,
}

/// How a model is told to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Thinks {
    /// It cannot.
    Never,
    /// With a budget of tokens.
    Budget,
    /// With a budget, or as it sees fit.
    Either,
    /// As it sees fit, when it is told to.
    Adaptive,
    /// As it sees fit, unless it is told not to.
    Unasked,
    /// Likewise, and the way to tell it not to is `between_tools`.
    BetweenTools,
    /// Whatever it is told.
    Always,
}

/// Which words of effort a model knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Efforts {
    None,
    ToHigh,
    /// All but `xhigh`.
    ToMax,
    All,
}

/// Which sampling parameters a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Samples {
    Any,
    /// `temperature` or `top_p`, not both.
    Either,
    None,
}

/// A model behind the format that is none of Anthropic's. 8192 is the least limit in use among them; all
/// know budgets, tools and sampling, which are as old as the format.
const OTHER: Model = Model {
    known: false,
    most: 8192,
    thinks: Thinks::Budget,
    efforts: Efforts::None,
    schemas: false,
    samples: Samples::Any,
    forced: true,
    prefill: true,
};

impl Model {
    /// The one of that name, however a cloud decorates it: `claude-opus-4-6`,
    /// `us.anthropic.claude-sonnet-4-5-20250929-v1:0`, `claude-sonnet-4@20250514`. A name that is newer than
    /// this table is taken for the newest.
    pub(crate) fn named(name: &str) -> Model {
        let name = name.to_ascii_lowercase();
        let Some((_, name)) = name.split_once("claude") else { return OTHER };
        let family = ["opus", "sonnet", "haiku", "fable", "mythos"]
            .into_iter()
            .find(|family| name.contains(family))
            .unwrap_or_default();
        let version = version(name).unwrap_or((u32::MAX, 0));
        let known = Model { known: true, ..OTHER };
        match version {
            (0..=2, _) | (3, 0..=4) => Model { most: 4096, thinks: Thinks::Never, ..known },
            (3, 5..=6) => Model { most: 8192, thinks: Thinks::Never, ..known },
            (3, _) => Model { most: 64_000, ..known },
            (4, 0) => Model { most: most_of_4(family), ..known },
            (4, 1..=4) => {
                Model { most: most_of_4(family), schemas: true, samples: Samples::Either, ..known }
            }
            (4, 5) => Model {
                most: 64_000,
                schemas: true,
                samples: Samples::Either,
                efforts: if family == "opus" { Efforts::ToHigh } else { Efforts::None },
                ..known
            },
            (4, 6) => Model {
                most: 128_000,
                schemas: true,
                samples: Samples::Either,
                efforts: Efforts::ToMax,
                thinks: Thinks::Either,
                prefill: false,
                ..known
            },
            (major, minor) => newer(family, major, minor),
        }
    }

    /// The word for an effort, as near as the model knows one; `None`: it knows none at all.
    pub(crate) fn effort(&self, effort: Effort) -> Option<&'static str> {
        let known = self.efforts;
        Some(match effort {
            _ if known == Efforts::None => return None,
            Effort::None | Effort::Minimal | Effort::Low => "low",
            Effort::Medium => "medium",
            Effort::XHigh if known == Efforts::All => "xhigh",
            Effort::XHigh | Effort::Max if known >= Efforts::ToMax => "max",
            Effort::High | Effort::XHigh | Effort::Max => "high",
        })
    }
}

/// From Claude Opus 4.7 on: thinking is adaptive only, sampling is refused.
fn newer(family: &str, major: u32, minor: u32) -> Model {
    // 5.1 of the two great ones, and 5.5 of all but Haiku.
    let forced = match family {
        "fable" | "mythos" => (major, minor) == (5, 0),
        "haiku" => true,
        _ => (major, minor) < (5, 1),
    };
    let of_5_5 = (major, minor) >= (5, 5);
    let thinks = match (family, of_5_5) {
        _ if major == 4 => Thinks::Adaptive,
        ("fable" | "mythos", _) | ("opus", true) => Thinks::Always,
        ("sonnet", true) => Thinks::BetweenTools,
        _ => Thinks::Unasked,
    };
    Model {
        known: true,
        most: 128_000,
        thinks,
        efforts: Efforts::All,
        schemas: true,
        samples: Samples::None,
        forced,
        prefill: false,
    }
}

fn most_of_4(family: &str) -> u64 {
    if family == "opus" { 32_000 } else { 64_000 }
}

/// The first number of one or two digits, and the one behind it. Longer ones are dates.
fn version(name: &str) -> Option<(u32, u32)> {
    let mut parts = name.split(|sign: char| !sign.is_ascii_alphanumeric());
    let number = |part: &str| part.parse::<u32>().ok().filter(|_| part.len() <= 2);
    let major = parts.find_map(number)?;
    Some((major, parts.next().and_then(number).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_names_as_clouds_write_them() {
        for (name, expected) in [
            ("-3-haiku-20240307", (3, 0)),
            ("-3-5-sonnet-20241022", (3, 5)),
            ("-opus-4-20250514", (4, 0)),
            ("-sonnet-4@20250514", (4, 0)),
            ("-sonnet-4-5-20250929-v1:0", (4, 5)),
            ("-opus-4-6-v1", (4, 6)),
            ("-4.6-opus", (4, 6)),
            ("-opus-5", (5, 0)),
        ] {
            assert_eq!(version(name), Some(expected), "{name}");
        }
    }

    #[test]
    fn each_generation_has_its_own_ways() {
        let of = |name: &str| Model::named(name);
        assert_eq!(of("claude-3-5-haiku-20241022").most, 8192);
        assert_eq!(of("claude-opus-4-1").most, 32_000);
        assert_eq!(of("us.anthropic.claude-sonnet-4-5-20250929-v1:0").thinks, Thinks::Budget);
        assert_eq!(of("claude-sonnet-4-6").thinks, Thinks::Either);
        assert_eq!(of("claude-opus-4-8").thinks, Thinks::Adaptive);
        assert_eq!(of("claude-opus-5").thinks, Thinks::Unasked);
        assert_eq!(of("claude-opus-5-5").thinks, Thinks::Always);
        assert_eq!(of("claude-sonnet-5-5").thinks, Thinks::BetweenTools);
        assert_eq!(of("claude-haiku-5-5").thinks, Thinks::Unasked);
        assert!(of("claude-fable-5").forced && !of("claude-fable-5-1").forced);
        assert!(of("claude-opus-5").forced && !of("claude-opus-5-5").forced);
        assert_eq!(of("glm-4.6"), OTHER);
        assert_eq!(of("claude-next"), of("claude-sonnet-9").with_family_of_next());
    }

    impl Model {
        /// A name without family or version thinks unasked, which all of the newest do.
        fn with_family_of_next(self) -> Model {
            Model { thinks: Thinks::Unasked, ..self }
        }
    }

    /// Recorded: "This model does not support effort level 'xhigh'. Supported levels: high, low, max,
    /// medium." of Claude Opus 4.6.
    #[test]
    fn effort_is_said_in_a_word_that_the_model_knows() {
        let word = |name: &str, effort| Model::named(name).effort(effort);
        assert_eq!(word("claude-opus-4-6", Effort::XHigh), Some("max"));
        assert_eq!(word("claude-opus-4-7", Effort::XHigh), Some("xhigh"));
        assert_eq!(word("claude-opus-4-5", Effort::Max), Some("high"));
        assert_eq!(word("claude-sonnet-4-6", Effort::Minimal), Some("low"));
        assert_eq!(word("claude-sonnet-4-5", Effort::High), None);
    }
}
