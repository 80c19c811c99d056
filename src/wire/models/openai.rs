//! What OpenAI's own models take, by their names.
//!
//! Sources: <https://platform.openai.com/docs/models> for the limits of output;
//! <https://platform.openai.com/docs/guides/reasoning> and
//! <https://platform.openai.com/docs/guides/latest-model> for efforts and sampling; the API's specification for
//! stop sequences and their number; error texts in public reports, named beside the fact that they show.

use crate::wire::ir::Effort;

/// The most characters of `user` and `safety_identifier` ("string too long … maximum length 64").
pub(crate) const MAX_USER_CHARS: usize = 64;

/// The most stop sequences (`StopConfiguration` of the specification).
pub(crate) const MAX_STOP_SEQUENCES: usize = 4;

/// What a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Model {
    /// The efforts that it takes, in ascending order. Empty: it refuses `reasoning_effort`.
    pub(crate) efforts: &'static [Effort],
    /// When it refuses temperature, top-p and log probabilities.
    sampling: Sampling,
    /// True if it takes stop sequences, frequency and presence penalties.
    pub(crate) takes_stop_and_penalties: bool,
    /// The most output tokens, reasoning included.
    pub(crate) max_output_tokens: u64,
    /// True if chat completions refuse function tools unless the effort is `none`: "Function tools with
    /// reasoning_effort are not supported for gpt-5.4 in /v1/chat/completions. To use function tools, use
    /// /v1/responses or set reasoning_effort to 'none'."
    pub(crate) chat_tools_need_effort_none: bool,
}

/// When a model refuses to have its sampling set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sampling {
    Free,
    /// While it reasons, which it does when the effort is set and not `none`.
    FixedIfAsked,
    /// While it reasons, which it does unless the effort is `none`.
    FixedByDefault,
    Fixed,
}

use Effort::{High, Low, Max, Medium, Minimal, None as NoEffort, XHigh};

const LOW_TO_HIGH: &[Effort] = &[Low, Medium, High];
const LOW_TO_XHIGH: &[Effort] = &[Low, Medium, High, XHigh];

/// A model without reasoning.
const PLAIN: Model = Model {
    efforts: &[],
    sampling: Sampling::Free,
    takes_stop_and_penalties: true,
    max_output_tokens: 16_384,
    chat_tools_need_effort_none: false,
};

/// A model that always reasons.
const REASONING: Model = Model {
    efforts: LOW_TO_HIGH,
    sampling: Sampling::Fixed,
    takes_stop_and_penalties: false,
    max_output_tokens: 100_000,
    chat_tools_need_effort_none: false,
};

impl Model {
    /// Returns the model of that name, with or without the prefixes of a cloud or a router (`openai/gpt-5`,
    /// `openai.gpt-5-mini`) and of fine-tuning (`ft:gpt-4o:org::id`). A version newer than this table is taken
    /// for the newest. Returns `None` for other vendors' models and for OpenAI's open weights (`gpt-oss`),
    /// whose limits are those of the server that runs them.
    pub(crate) fn by_name(name: &str) -> Option<Model> {
        let name = name.to_ascii_lowercase();
        let base = name.rsplit('/').next().unwrap_or_default();
        let base = base.rsplit_once("openai.").map_or(base, |(_, base)| base);
        if let Some(model) = o_series(base) {
            return Some(model);
        }
        let (before, rest) = base.split_once("gpt-")?;
        let starts_word =
            before.is_empty() || before.ends_with("chat") || before.ends_with(['-', '_', ':', '.']);
        starts_word.then(|| gpt(rest)).flatten()
    }

    /// Returns true if the model refuses temperature, top-p and log probabilities at the effort requested.
    pub(crate) fn has_fixed_sampling(&self, effort: Option<Effort>) -> bool {
        match self.sampling {
            Sampling::Free => false,
            Sampling::FixedIfAsked => effort.is_some_and(|effort| effort != NoEffort),
            Sampling::FixedByDefault => effort != Some(NoEffort),
            Sampling::Fixed => true,
        }
    }
}

fn o_series(name: &str) -> Option<Model> {
    let rest = ["o1", "o3", "o4"].iter().find_map(|series| name.strip_prefix(series))?;
    let model = match rest {
        "-preview" | "-mini" if name.starts_with("o1") => Model {
            efforts: &[],
            max_output_tokens: if rest == "-mini" { 65_536 } else { 32_768 },
            ..REASONING
        },
        _ => REASONING,
    };
    (rest.is_empty() || rest.starts_with(['-', ':', '@'])).then_some(model)
}

/// `name` is what follows `gpt-`.
fn gpt(name: &str) -> Option<Model> {
    let end = name.find(|sign: char| !sign.is_ascii_digit() && sign != '.').unwrap_or(name.len());
    let (version, variant) = name.split_at(end);
    let max_output_tokens = |max_output_tokens| Some(Model { max_output_tokens, ..PLAIN });
    match (version, variant) {
        // Azure's names of GPT-3.5 have no dot.
        ("3.5" | "35", _) | ("4", "o-2024-05-13") => max_output_tokens(4096),
        // "Model incompatible request argument supplied: temperature"
        ("4", _) if variant.starts_with('o') && variant.contains("-search") => {
            Some(Model { sampling: Sampling::Fixed, ..PLAIN })
        }
        ("4", _) if variant.starts_with('o') => Some(PLAIN),
        ("4", _)
            if ["-turbo", "-1106", "-0125", "-vision"].iter().any(|v| variant.starts_with(v)) =>
        {
            max_output_tokens(4096)
        }
        ("4", _) if variant.starts_with("-32k") => max_output_tokens(32_768),
        ("4", "" | "-0314" | "-0613") => max_output_tokens(8192),
        ("4.1", _) => max_output_tokens(32_768),
        ("4.5", _) => Some(PLAIN),
        _ => {
            let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
            let version = (major.parse().ok()?, minor.parse().ok()?);
            ((5, 0)..(10, 0)).contains(&version).then(|| gpt_5(version, variant))
        }
    }
}

/// GPT-5 and later.
fn gpt_5(version: (u32, u32), variant: &str) -> Model {
    let has = |word: &str| variant.split('-').any(|part| part == word);
    let reasoning = Model { max_output_tokens: 128_000, ..REASONING };
    let first = version == (5, 0);
    if has("chat") {
        // The first one does not reason. Of later ones: "'reasoning_effort' does not support 'high' with this
        // model. Supported values are: 'medium'."
        return if first {
            PLAIN
        } else {
            Model { efforts: &[Medium], max_output_tokens: 16_384, ..reasoning }
        };
    }
    if has("search") {
        return Model { efforts: &[], ..reasoning };
    }
    if has("pro") {
        return if first {
            Model { efforts: &[High], max_output_tokens: 272_000, ..reasoning }
        } else {
            Model { efforts: &[Medium, High, XHigh], ..reasoning }
        };
    }
    if has("codex") {
        // "'none' is not supported with the 'gpt-5.1-codex' model."
        let efforts = if version >= (5, 2) || has("max") { LOW_TO_XHIGH } else { LOW_TO_HIGH };
        return Model { efforts, ..reasoning };
    }
    let (efforts, sampling): (&[Effort], _) = match version {
        (5, 0) => (&[Minimal, Low, Medium, High], Sampling::Fixed),
        (5, 1) => (&[NoEffort, Low, Medium, High], Sampling::FixedIfAsked),
        (5, 2..=4) => (&[NoEffort, Low, Medium, High, XHigh], Sampling::FixedIfAsked),
        (5, 5) => (&[NoEffort, Low, Medium, High, XHigh], Sampling::FixedByDefault),
        // `max` and reasoning by default came with GPT-5.6.
        _ => (&[NoEffort, Low, Medium, High, XHigh, Max], Sampling::FixedByDefault),
    };
    Model { efforts, sampling, chat_tools_need_effort_none: version >= (5, 4), ..reasoning }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str) -> Model {
        Model::by_name(name).unwrap_or_else(|| panic!("{name}"))
    }

    #[test]
    fn names_are_recognized_with_the_prefixes_of_clouds_and_routers() {
        for name in
            ["openai/gpt-5", "openai.gpt-5", "us.openai.gpt-5", "prod-gpt-5", "gpt-5-2025-08-07"]
        {
            assert_eq!(model(name), model("gpt-5"), "{name}");
        }
        assert_eq!(model("ft:gpt-4o-mini:org::id"), model("gpt-4o"));
        assert_eq!(model("chatgpt-4o-latest"), model("gpt-4o"));
        assert_eq!(model("gpt-35-turbo"), model("gpt-3.5-turbo"));
        assert_eq!(model("gpt-6-astra"), model("gpt-5.6-luna"));
        for name in [
            "gpt-oss-120b",
            "cerebras-gpt-13b",
            "gpt-2",
            "gpt-j-6b",
            "o5x",
            "olmo",
            "llama",
            "my-gpt",
            "",
        ] {
            assert_eq!(Model::by_name(name), None, "{name}");
        }
    }

    #[test]
    fn efforts_are_those_of_the_model() {
        for (name, efforts) in [
            ("gpt-4o", &[][..]),
            ("gpt-4.1-mini", &[]),
            ("gpt-5-chat-latest", &[]),
            ("o3", &[Low, Medium, High]),
            ("o4-mini", &[Low, Medium, High]),
            ("gpt-5-mini", &[Minimal, Low, Medium, High]),
            ("gpt-5-pro", &[High]),
            ("gpt-5-codex", &[Low, Medium, High]),
            ("gpt-5.1", &[NoEffort, Low, Medium, High]),
            ("gpt-5.1-codex-max", &[Low, Medium, High, XHigh]),
            ("gpt-5.2", &[NoEffort, Low, Medium, High, XHigh]),
            ("gpt-5.2-chat-latest", &[Medium]),
            ("gpt-5.6-luna", &[NoEffort, Low, Medium, High, XHigh, Max]),
        ] {
            assert_eq!(model(name).efforts, efforts, "{name}");
        }
    }

    #[test]
    fn sampling_is_fixed_while_a_model_reasons() {
        for name in ["o1", "o3-mini", "gpt-5", "gpt-5-nano", "gpt-5.1-codex", "gpt-5.2-chat-latest"]
        {
            assert!(model(name).has_fixed_sampling(None), "{name}");
        }
        for name in ["gpt-4o", "gpt-4.1", "gpt-5-chat-latest"] {
            assert!(!model(name).has_fixed_sampling(Some(High)), "{name}");
        }
        assert!(!model("gpt-5.2").has_fixed_sampling(None));
        assert!(model("gpt-5.2").has_fixed_sampling(Some(Low)));
        assert!(model("gpt-5.6-sol").has_fixed_sampling(None));
        assert!(!model("gpt-5.6-sol").has_fixed_sampling(Some(NoEffort)));
    }

    #[test]
    fn output_tokens_are_limited_by_model() {
        for (name, max) in [
            ("gpt-3.5-turbo", 4096),
            ("gpt-4", 8192),
            ("gpt-4-turbo-2024-04-09", 4096),
            ("gpt-4o", 16_384),
            ("gpt-4o-2024-05-13", 4096),
            ("gpt-4.1-nano", 32_768),
            ("o1-mini", 65_536),
            ("o4-mini", 100_000),
            ("gpt-5", 128_000),
        ] {
            assert_eq!(model(name).max_output_tokens, max, "{name}");
        }
    }
}
