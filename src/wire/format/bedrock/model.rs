//! What Converse supports for each model, by its id. Converse has one body for all models, and refuses what a
//! model does not support:
//! <https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference-supported-models-features.html>
//!
//! An id that does not name the model (of an application inference profile, of a deployment) counts as a model
//! that supports what all support.

use crate::wire::models::{claude, nova};

/// A model, as far as its id names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Model {
    /// Anthropic's, with its version: 3.7 is `(3, 7)`.
    Claude(claude::Model, (u32, u32)),
    /// Amazon's.
    Nova(nova::Model),
    /// OpenAI's open weights.
    GptOss,
    /// Other open weights whose answers Bedrock can hold to a schema.
    OpenWithSchemas,
    Other,
}

/// The beginnings of such ids: the list of
/// <https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html>, by vendor, without DeepSeek's R1
/// and Mistral's first models.
const OPEN_WITH_SCHEMAS: [&str; 6] =
    ["qwen.qwen3", "deepseek.v", "google.gemma", "minimax.", "moonshot", "nvidia.nemotron"];

impl Model {
    /// Returns the model of an id, which may be an ARN or begin with a region.
    pub(super) fn by_id(id: &str) -> Model {
        if id.contains("anthropic.claude-") {
            // A name without a version is taken for the newest, as `claude` does.
            let version = claude::version(id).unwrap_or((u32::MAX, 0));
            return Model::Claude(claude::Model::named(id), version);
        }
        if let Some(nova) = nova::Model::by_id(id) {
            return Model::Nova(nova);
        }
        if id.contains("openai.gpt-oss") {
            return Model::GptOss;
        }
        if OPEN_WITH_SCHEMAS.iter().any(|vendor| id.contains(vendor)) {
            return Model::OpenWithSchemas;
        }
        Model::Other
    }

    /// Returns true if answers can be held to a schema, and calls to that of their tool (`strict`).
    pub(super) fn has_structured_outputs(&self) -> bool {
        match self {
            Model::Claude(_, version) => *version >= (4, 5),
            Model::GptOss | Model::OpenWithSchemas => true,
            Model::Nova(_) | Model::Other => false,
        }
    }

    /// Returns true if prompts can be cached.
    /// <https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html>
    pub(super) fn caches_prompts(&self) -> bool {
        self.caches_tools() || matches!(self, Model::Nova(_))
    }

    /// Returns true if tool definitions can be cached; Nova's cannot, by the same page.
    pub(super) fn caches_tools(&self) -> bool {
        matches!(self, Model::Claude(_, (3.., _)))
    }

    /// Returns true if a tool result can have a status: `ToolResultBlock.status` of the API's reference.
    pub(super) fn takes_result_status(&self) -> bool {
        self.caches_prompts()
    }

    /// Returns true if a tool choice can name a tool: `SpecificToolChoice` of the API's reference.
    pub(super) fn takes_named_choice(&self) -> bool {
        matches!(self, Model::Claude(..) | Model::Nova(_))
    }

    /// Returns true if the model can be made to call a tool.
    pub(super) fn takes_forced_tools(&self) -> bool {
        !matches!(self, Model::Claude(claude, _) if !claude.forced_tools)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_name_the_model() {
        let family = |id: &str| match Model::by_id(id) {
            Model::Claude(_, (major, minor)) => format!("claude {major}.{minor}"),
            Model::Nova(nova) if nova.efforts(false).is_empty() => "nova".to_owned(),
            Model::Nova(_) => "nova 2".to_owned(),
            other => format!("{other:?}"),
        };
        for (id, expected) in [
            ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude 4.5"),
            ("anthropic.claude-3-7-sonnet-20250219-v1:0", "claude 3.7"),
            ("us.anthropic.claude-opus-4-20250514-v1:0", "claude 4.0"),
            ("us.anthropic.claude-opus-4-6-v1", "claude 4.6"),
            ("anthropic.claude-v2", "claude 2.0"),
            ("us.amazon.nova-2-lite-v1:0", "nova 2"),
            ("amazon.nova-micro-v1:0", "nova"),
            ("openai.gpt-oss-120b-1:0", "GptOss"),
            ("qwen.qwen3-32b-v1:0", "OpenWithSchemas"),
            ("us.deepseek.r1-v1:0", "Other"),
            ("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc", "Other"),
        ] {
            assert_eq!(family(id), expected, "{id}");
        }
    }
}
