//! What the models differ in, by their ids. Converse has one body for all, and refuses what a model does
//! not know: <https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference-supported-models-features.html>
//!
//! An id that tells nothing of the model (that of an application inference profile, of a deployment) counts
//! as a model that takes what all take.

/// A model, as far as its id tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Model {
    /// Anthropic's, with its version: 3.7 is `(3, 7)`.
    Claude(u32, u32),
    /// Amazon's, with the number of its generation.
    Nova(u32),
    /// OpenAI's open ones.
    GptOss,
    /// Open ones whose answers Bedrock holds to a schema.
    Open,
    Other,
}

/// Vendors of open models that take a schema: the list of
/// <https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html>, by vendor, but DeepSeek's
/// R1 and Mistral's first ones.
const OPEN: [&str; 6] =
    ["qwen.qwen3", "deepseek.v", "google.gemma", "minimax.", "moonshot", "nvidia.nemotron"];

impl Model {
    /// That of this id, which may be an ARN or begin with a region.
    pub(crate) fn of(id: &str) -> Model {
        if let Some((_, name)) = id.split_once("anthropic.claude-") {
            let mut numbers = name
                .split('-')
                .filter(|word| word.len() <= 2)
                .filter_map(|word| word.parse::<u32>().ok());
            return Model::Claude(numbers.next().unwrap_or(2), numbers.next().unwrap_or(0));
        }
        if let Some((_, name)) = id.split_once("amazon.nova-") {
            return Model::Nova(if name.starts_with("2-") { 2 } else { 1 });
        }
        if id.contains("openai.gpt-oss") {
            return Model::GptOss;
        }
        if OPEN.iter().any(|vendor| id.contains(vendor)) { Model::Open } else { Model::Other }
    }

    /// Whether the answer can be held to a schema, and calls to that of their tool (`strict`).
    pub(crate) fn takes_schemas(self) -> bool {
        match self {
            Model::Claude(major, minor) => (major, minor) >= (4, 5),
            Model::GptOss | Model::Open => true,
            Model::Nova(_) | Model::Other => false,
        }
    }

    /// Whether prompts can be cached.
    /// <https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html>
    pub(crate) fn caches(self) -> bool {
        matches!(self, Model::Claude(3.., _) | Model::Nova(_))
    }

    /// Whether tool definitions can be; Nova's cannot, by the same page.
    pub(crate) fn caches_tools(self) -> bool {
        matches!(self, Model::Claude(3.., _))
    }

    /// Whether a tool's outcome can be marked as failed: `ToolResultBlock.status` of the API's reference.
    pub(crate) fn takes_status(self) -> bool {
        matches!(self, Model::Claude(3.., _) | Model::Nova(_))
    }

    /// Whether sampling is fixed: from Opus 4.7 on, Claude refuses every word on it.
    /// <https://platform.claude.com/docs/en/about-claude/models/migration-guide>
    pub(crate) fn samples_by_itself(self) -> bool {
        matches!(self, Model::Claude(major, minor) if (major, minor) >= (4, 7))
    }

    /// Whether temperature and top p exclude each other, from Opus 4.1 on (same guide).
    pub(crate) fn takes_one_of_temperature_and_top_p(self) -> bool {
        matches!(self, Model::Claude(major, minor) if (major, minor) >= (4, 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_tell_the_model() {
        for (id, model) in [
            ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", Model::Claude(4, 5)),
            ("anthropic.claude-3-7-sonnet-20250219-v1:0", Model::Claude(3, 7)),
            ("us.anthropic.claude-opus-4-20250514-v1:0", Model::Claude(4, 0)),
            ("us.anthropic.claude-sonnet-4-6", Model::Claude(4, 6)),
            ("us.anthropic.claude-opus-4-6-v1", Model::Claude(4, 6)),
            ("anthropic.claude-v2", Model::Claude(2, 0)),
            ("us.amazon.nova-2-lite-v1:0", Model::Nova(2)),
            ("amazon.nova-micro-v1:0", Model::Nova(1)),
            ("openai.gpt-oss-120b-1:0", Model::GptOss),
            ("qwen.qwen3-32b-v1:0", Model::Open),
            ("us.deepseek.r1-v1:0", Model::Other),
            ("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc", Model::Other),
        ] {
            assert_eq!(Model::of(id), model, "{id}");
        }
    }
}
