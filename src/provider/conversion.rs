//! Decides the format of a request to a provider: the client's format if the provider supports it, so that
//! the bytes are forwarded as they are; else the most expressive format of the provider.

use super::Kind;
use crate::wire::api::{Format, Operation};
use crate::wire::embeddings::EmbeddingsFormat;
use crate::wire::ir::Request;
use crate::wire::token_count;
use crate::wire::token_count::Counter;

/// How a client's request is converted for a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversion {
    /// Not converted: the provider supports the client's format.
    Verbatim,
    /// Translated to this format.
    Translate(Format),
    /// Converted to an embeddings request of this form.
    Embeddings(EmbeddingsFormat),
    /// Converted to a token count request of this form.
    CountTokens(Counter),
    /// Not possible: the provider has no such operation.
    Unsupported,
}

impl Kind {
    /// Returns the conversion for an operation. `model` is the requested name and the name after
    /// `deployments`. `body` is the format of the client's body if it differs from that of the operation.
    pub fn conversion(
        self,
        operation: Operation,
        body: Option<Format>,
        model: [&str; 2],
    ) -> Conversion {
        if let Some(format) = token_count::conversation_format(operation) {
            return self.token_count_conversion(operation, format, model);
        }
        let Some(asked) = Format::of(operation) else {
            let made = if operation == Operation::Embeddings {
                self.embeddings_format(model)
            } else {
                None
            };
            return match made {
                Some(format) => Conversion::Embeddings(format),
                None if self.supports(operation) => Conversion::Verbatim,
                None => Conversion::Unsupported,
            };
        };
        let [_, own] = model;
        if body.is_none()
            && asked == Format::OpenAiChat
            && self.has_both()
            && needs_responses_api(own)
        {
            return Conversion::Translate(Format::OpenAiResponses);
        }
        if body.is_none() && self.supports(operation) && self.has(asked, model) {
            return Conversion::Verbatim;
        }
        // Formats that only providers have are forwarded or refused.
        if !Format::CALLER_FORMATS.contains(&asked) {
            return Conversion::Unsupported;
        }
        match self {
            Kind::Anthropic => Conversion::Translate(Format::Anthropic),
            Kind::Vertex | Kind::Azure if is_claude(model) => {
                Conversion::Translate(Format::Anthropic)
            }
            Kind::Gemini | Kind::Vertex => Conversion::Translate(Format::Gemini),
            Kind::Bedrock => Conversion::Translate(Format::Bedrock),
            Kind::Cohere if asked != Format::OpenAiChat => Conversion::Translate(Format::Cohere),
            Kind::Replicate => Conversion::Translate(Format::Replicate),
            Kind::OpenAi
            | Kind::Azure
            | Kind::Mistral
            | Kind::DeepSeek
            | Kind::Xai
            | Kind::Zai
            | Kind::Cohere
            | Kind::Groq
            | Kind::Together
            | Kind::Vllm
            | Kind::Ollama
            | Kind::Sglang
            | Kind::OpenAiCompatible
            | Kind::Echo => Conversion::Translate(Format::OpenAiChat),
        }
    }

    /// Returns the form of its embeddings requests, if that is not OpenAI's.
    fn embeddings_format(self, model: [&str; 2]) -> Option<EmbeddingsFormat> {
        match self {
            Kind::Gemini => Some(EmbeddingsFormat::Gemini),
            Kind::Vertex => EmbeddingsFormat::on_vertex(model),
            Kind::Bedrock => EmbeddingsFormat::on_bedrock(model),
            // Its OpenAI-compatible endpoint has embeddings too, and is used if it supports the request.
            Kind::Cohere => Some(EmbeddingsFormat::Cohere),
            _ => None,
        }
    }

    /// Returns the conversion for a token count, by the endpoints that vendors document.
    fn token_count_conversion(
        self,
        operation: Operation,
        format: Format,
        model: [&str; 2],
    ) -> Conversion {
        if self.supports(operation) && self.has(format, model) {
            return Conversion::Verbatim;
        }
        match self {
            Kind::Anthropic => Conversion::CountTokens(Counter::Anthropic),
            Kind::Vertex | Kind::Azure if is_claude(model) => {
                Conversion::CountTokens(Counter::Anthropic)
            }
            Kind::Gemini => Conversion::CountTokens(Counter::Gemini),
            Kind::Vertex => Conversion::CountTokens(Counter::Vertex),
            // <https://docs.aws.amazon.com/bedrock/latest/userguide/count-tokens.html> lists only Claude.
            Kind::Bedrock if is_claude(model) => Conversion::CountTokens(Counter::Bedrock),
            Kind::OpenAi | Kind::Azure | Kind::Echo => Conversion::CountTokens(Counter::OpenAi),
            _ => Conversion::Unsupported,
        }
    }

    /// True if a provider that supports the API has this format for this model.
    fn has(self, format: Format, model: [&str; 2]) -> bool {
        match (self, format) {
            // <https://docs.mistral.ai/api>, <https://docs.z.ai/api-reference>,
            // <https://docs.cohere.com/docs/compatibility-api>: chat, and no responses.
            (Kind::Mistral | Kind::Zai | Kind::Cohere, Format::OpenAiResponses) => false,
            // Only Claude is served in Anthropic's format. A name without a known model family may be
            // Claude's.
            (Kind::Vertex | Kind::Azure | Kind::Bedrock, Format::Anthropic) => {
                is_claude(model) || !is_other_family(model)
            }
            (Kind::Vertex | Kind::Azure, _) => !is_claude(model),
            // <https://docs.aws.amazon.com/bedrock/latest/userguide/inference-chat-completions.html>: for
            // OpenAI's models only.
            (Kind::Bedrock, Format::OpenAiChat) => {
                model.iter().any(|name| name.contains("openai."))
            }
            _ => true,
        }
    }

    /// True if it has OpenAI's responses API besides chat completions, for models that support only one of them.
    fn has_both(self) -> bool {
        matches!(self, Kind::OpenAi | Kind::Azure)
    }

    /// Returns the format for a request if the kind has two: from GPT-5.4 on, OpenAI supports tools with
    /// reasoning only in its responses API, and some models only there
    /// (<https://github.com/openai/openai-openapi/issues/541>).
    pub fn translation_format(self, format: Format, request: &Request, model: &str) -> Format {
        let has_both = self.has_both() && format == Format::OpenAiChat;
        let reasons = request.thinking.is_some() || !request.tools.is_empty();
        if has_both && (needs_responses_api(model) || (reasons && is_from_gpt_5_4(model))) {
            Format::OpenAiResponses
        } else {
            format
        }
    }
}

/// True for any spelling, with a region, a publisher or a version.
fn is_claude(model: [&str; 2]) -> bool {
    model.iter().any(|name| name.to_ascii_lowercase().contains("claude"))
}

/// True if the name contains a model family of another vendor on Azure, Bedrock or Vertex.
fn is_other_family(model: [&str; 2]) -> bool {
    const FAMILIES: [&str; 22] = [
        "gpt",
        "gemini",
        "gemma",
        "llama",
        "mistral",
        "mixtral",
        "codestral",
        "ministral",
        "nova",
        "titan",
        "command",
        "deepseek",
        "grok",
        "phi-",
        "qwen",
        "jamba",
        "palmyra",
        "kimi",
        "glm",
        "minimax",
        "nemotron",
        "model-router",
    ];
    model.iter().any(|name| {
        let name = name.to_ascii_lowercase();
        ["o1", "o3", "o4"].iter().any(|family| name.starts_with(family))
            || FAMILIES.iter().any(|family| name.contains(family))
    })
}

/// <https://platform.openai.com/docs/models>: endpoints of each.
fn needs_responses_api(model: &str) -> bool {
    let is_pro = ["o1-pro", "o3-pro", "gpt-5-pro"].iter().any(|name| model.starts_with(name));
    is_pro || model.contains("-codex") || model.contains("-deep-research")
}

fn is_from_gpt_5_4(model: &str) -> bool {
    let Some(version) = model.strip_prefix("gpt-") else { return false };
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let major = digits(version);
    let minor = version[major..].strip_prefix('.').map_or("", |rest| &rest[..digits(rest)]);
    let version = (version[..major].parse::<u32>(), minor.parse::<u32>().unwrap_or(0));
    version.0.is_ok_and(|major| (major, version.1) >= (5, 4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ir::{Effort, Thinking};

    #[test]
    fn a_supported_format_is_not_converted() {
        for (kind, operation, model) in [
            (Kind::OpenAi, Operation::Chat, "gpt-4o"),
            (Kind::OpenAi, Operation::Responses, "gpt-4o"),
            (Kind::Anthropic, Operation::Messages, "claude-haiku-4-5"),
            (Kind::Vertex, Operation::Messages, "claude-sonnet-4@20250514"),
            (Kind::Vertex, Operation::GenerateContent, "gemini-2.5-flash"),
            (Kind::Bedrock, Operation::Messages, "us.anthropic.claude-haiku-4-5-20251001-v1:0"),
            (Kind::Bedrock, Operation::Chat, "openai.gpt-oss-20b-1:0"),
            (Kind::Cohere, Operation::CohereChat, "command-a-03-2025"),
            (Kind::Gemini, Operation::EmbedContent, "gemini-embedding-001"),
        ] {
            assert_eq!(
                kind.conversion(operation, None, [model, model]),
                Conversion::Verbatim,
                "{kind} {}",
                operation.name()
            );
        }
    }

    #[test]
    fn another_format_is_translated_to_one_of_the_provider() {
        for (kind, operation, model, format) in [
            (Kind::OpenAi, Operation::Messages, "gpt-4o", Format::OpenAiChat),
            (Kind::Mistral, Operation::Responses, "mistral-small", Format::OpenAiChat),
            (Kind::Anthropic, Operation::Chat, "claude-haiku-4-5", Format::Anthropic),
            (Kind::Vertex, Operation::Chat, "claude-sonnet-4@20250514", Format::Anthropic),
            (Kind::Vertex, Operation::Messages, "gemini-2.5-flash", Format::Gemini),
            (Kind::Bedrock, Operation::Messages, "amazon.nova-lite-v1:0", Format::Bedrock),
            (Kind::Bedrock, Operation::Chat, "amazon.nova-lite-v1:0", Format::Bedrock),
            (Kind::Cohere, Operation::Messages, "command-a-03-2025", Format::Cohere),
            (Kind::Replicate, Operation::Chat, "meta/meta-llama-3-8b-instruct", Format::Replicate),
            (Kind::OpenAi, Operation::Chat, "gpt-5-pro", Format::OpenAiResponses),
            (Kind::Azure, Operation::Chat, "gpt-5.1-codex", Format::OpenAiResponses),
        ] {
            let conversion = kind.conversion(operation, None, [model, model]);
            assert_eq!(conversion, Conversion::Translate(format), "{kind} {}", operation.name());
        }
    }

    #[test]
    fn a_model_family_is_recognized_by_either_name() {
        let by_name =
            Kind::Vertex.conversion(Operation::Messages, None, ["sonnet", "claude-sonnet-4"]);
        assert_eq!(by_name, Conversion::Verbatim);
        let profile = "arn:aws:bedrock:us-east-1:1:application-inference-profile/x";
        let asked =
            Kind::Bedrock.conversion(Operation::Messages, None, ["claude-sonnet-4", profile]);
        assert_eq!(asked, Conversion::Verbatim);
        assert_eq!(
            Kind::Azure.conversion(Operation::Messages, None, ["fast", "prod-1"]),
            Conversion::Verbatim
        );
        let through = Kind::Azure.conversion(Operation::Messages, None, ["gpt-4o", "prod-1"]);
        assert_eq!(through, Conversion::Translate(Format::OpenAiChat));
    }

    #[test]
    fn other_operations_are_forwarded_or_refused() {
        assert_eq!(
            Kind::Anthropic.conversion(Operation::Speech, None, ["tts-1"; 2]),
            Conversion::Unsupported
        );
        assert_eq!(
            Kind::Anthropic.conversion(Operation::Completions, None, ["m"; 2]),
            Conversion::Unsupported
        );
        assert_eq!(
            Kind::OpenAi.conversion(Operation::CohereChat, None, ["m"; 2]),
            Conversion::Unsupported
        );
    }

    #[test]
    fn embeddings_use_the_form_of_the_model() {
        for (kind, model, conversion) in [
            (Kind::OpenAi, "text-embedding-3-small", Conversion::Verbatim),
            (Kind::Mistral, "mistral-embed", Conversion::Verbatim),
            (Kind::Azure, "text-embedding-3-small", Conversion::Verbatim),
            (
                Kind::Gemini,
                "gemini-embedding-001",
                Conversion::Embeddings(EmbeddingsFormat::Gemini),
            ),
            (
                Kind::Vertex,
                "text-embedding-005",
                Conversion::Embeddings(EmbeddingsFormat::VertexPredict),
            ),
            (Kind::Vertex, "intfloat/multilingual-e5-large-instruct-maas", Conversion::Verbatim),
            (Kind::Cohere, "embed-v4.0", Conversion::Embeddings(EmbeddingsFormat::Cohere)),
            (
                Kind::Bedrock,
                "amazon.titan-embed-text-v2:0",
                Conversion::Embeddings(EmbeddingsFormat::Titan),
            ),
            (Kind::Bedrock, "amazon.nova-lite-v1:0", Conversion::Unsupported),
            (Kind::Anthropic, "claude-haiku-4-5", Conversion::Unsupported),
            (Kind::Replicate, "a/b", Conversion::Unsupported),
        ] {
            assert_eq!(
                kind.conversion(Operation::Embeddings, None, [model; 2]),
                conversion,
                "{kind} {model}"
            );
        }
    }

    #[test]
    fn tokens_are_counted_by_documented_endpoints() {
        let claude = "anthropic.claude-haiku-4-5-20251001-v1:0";
        for (kind, operation, model, conversion) in [
            (Kind::Anthropic, Operation::CountTokens, claude, Conversion::Verbatim),
            (Kind::Vertex, Operation::CountTokens, "claude-sonnet-4", Conversion::Verbatim),
            (Kind::Gemini, Operation::GeminiCountTokens, "gemini-2.5-flash", Conversion::Verbatim),
            (Kind::OpenAi, Operation::ResponsesInputTokens, "gpt-4o", Conversion::Verbatim),
            (Kind::Bedrock, Operation::BedrockCountTokens, claude, Conversion::Verbatim),
            (
                Kind::OpenAi,
                Operation::CountTokens,
                "gpt-4o",
                Conversion::CountTokens(Counter::OpenAi),
            ),
            (
                Kind::Azure,
                Operation::GeminiCountTokens,
                "gpt-4o",
                Conversion::CountTokens(Counter::OpenAi),
            ),
            (
                Kind::Gemini,
                Operation::CountTokens,
                "gemini-2.5-flash",
                Conversion::CountTokens(Counter::Gemini),
            ),
            (
                Kind::Vertex,
                Operation::CountTokens,
                "gemini-2.5-flash",
                Conversion::CountTokens(Counter::Vertex),
            ),
            (
                Kind::Vertex,
                Operation::GeminiCountTokens,
                "claude-sonnet-4",
                Conversion::CountTokens(Counter::Anthropic),
            ),
            (
                Kind::Bedrock,
                Operation::CountTokens,
                claude,
                Conversion::CountTokens(Counter::Bedrock),
            ),
            (
                Kind::Bedrock,
                Operation::CountTokens,
                "amazon.nova-lite-v1:0",
                Conversion::Unsupported,
            ),
            (Kind::Mistral, Operation::CountTokens, "mistral-small", Conversion::Unsupported),
            (
                Kind::Mistral,
                Operation::ResponsesInputTokens,
                "mistral-small",
                Conversion::Unsupported,
            ),
            (Kind::Groq, Operation::GeminiCountTokens, "llama", Conversion::Unsupported),
        ] {
            let found = kind.conversion(operation, None, [model; 2]);
            assert_eq!(found, conversion, "{kind} {} {model}", operation.name());
        }
    }

    #[test]
    fn a_body_in_another_format_is_converted_for_a_supported_operation() {
        let conversion =
            Kind::OpenAi.conversion(Operation::Chat, Some(Format::OpenAiResponses), ["gpt-4o"; 2]);
        assert_eq!(conversion, Conversion::Translate(Format::OpenAiChat));
    }

    #[test]
    fn openai_gets_reasoning_with_tools_through_the_responses_api() {
        let effort = Some(Effort::Low);
        let thinking = Some(Thinking { effort, budget: None, shown: None });
        let thinks = Request { thinking, ..Request::default() };
        let plain = Request::default();
        let format =
            |model, request| Kind::OpenAi.translation_format(Format::OpenAiChat, request, model);
        assert_eq!(format("gpt-5.4-mini", &thinks), Format::OpenAiResponses);
        assert_eq!(format("gpt-6-astra", &thinks), Format::OpenAiResponses);
        assert_eq!(format("gpt-5.4", &plain), Format::OpenAiChat);
        for older in ["gpt-5", "gpt-5.2", "gpt-4o", "gpt-4.1", "o4-mini", "gpt-oss-120b"] {
            assert_eq!(format(older, &thinks), Format::OpenAiChat, "{older}");
        }
        assert_eq!(format("gpt-5.1-codex", &plain), Format::OpenAiResponses);
    }
}
