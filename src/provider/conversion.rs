//! In which format a kind of provider is asked for what a caller wants: its own, as long as the provider
//! has it, so that the bytes stay; else the one of the provider's that says most.

use super::Kind;
use crate::wire::Operation;
use crate::wire::counting::{self, Counter};
use crate::wire::embeddings::Format;
use crate::wire::ir::Request;
use crate::wire::translate::Wire;

/// How a provider is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversion {
    /// In the caller's own format.
    Verbatim,
    /// In this one.
    Translate(Wire),
    /// For embeddings in this form.
    Embeddings(Format),
    /// For a count of tokens in this form.
    CountTokens(Counter),
    /// Not at all: it has no such thing.
    Unsupported,
}

impl Kind {
    /// How this kind is asked for an operation with a model, which has two names: the one asked for, and
    /// the one that `deployments` makes of it. `body`: the format the caller's body is in, where it is
    /// another than the operation's.
    pub fn conversion(
        self,
        operation: Operation,
        body: Option<Wire>,
        model: [&str; 2],
    ) -> Conversion {
        if let Some(wire) = counting::asked_in(operation) {
            return self.token_count_conversion(operation, wire, model);
        }
        let Some(asked) = Wire::of(operation) else {
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
            && asked == Wire::OpenAiChat
            && self.has_both()
            && is_of_responses_only(own)
        {
            return Conversion::Translate(Wire::OpenAiResponses);
        }
        if body.is_none() && self.supports(operation) && self.has(asked, model) {
            return Conversion::Verbatim;
        }
        // Formats of providers only are passed on or refused.
        if !Wire::OF_CALLERS.contains(&asked) {
            return Conversion::Unsupported;
        }
        match self {
            Kind::Anthropic => Conversion::Translate(Wire::Anthropic),
            Kind::Vertex | Kind::Azure if is_claude(model) => {
                Conversion::Translate(Wire::Anthropic)
            }
            Kind::Gemini | Kind::Vertex => Conversion::Translate(Wire::Gemini),
            Kind::Bedrock => Conversion::Translate(Wire::Bedrock),
            Kind::Cohere if asked != Wire::OpenAiChat => Conversion::Translate(Wire::Cohere),
            Kind::Replicate => Conversion::Translate(Wire::Replicate),
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
            | Kind::Echo => Conversion::Translate(Wire::OpenAiChat),
        }
    }

    /// The form in which it makes embeddings, where that is not OpenAI's.
    fn embeddings_format(self, model: [&str; 2]) -> Option<Format> {
        match self {
            Kind::Gemini => Some(Format::Gemini),
            Kind::Vertex => Format::on_vertex(model),
            Kind::Bedrock => Format::on_bedrock(model),
            // Its compatible endpoint makes them as well, and is asked wherever that can carry the request.
            Kind::Cohere => Some(Format::Cohere),
            _ => None,
        }
    }

    /// How it is asked to count tokens: by the ways that vendors document, and no other.
    fn token_count_conversion(
        self,
        operation: Operation,
        wire: Wire,
        model: [&str; 2],
    ) -> Conversion {
        if self.supports(operation) && self.has(wire, model) {
            return Conversion::Verbatim;
        }
        match self {
            Kind::Anthropic => Conversion::CountTokens(Counter::Anthropic),
            Kind::Vertex | Kind::Azure if is_claude(model) => {
                Conversion::CountTokens(Counter::Anthropic)
            }
            Kind::Gemini => Conversion::CountTokens(Counter::Gemini),
            Kind::Vertex => Conversion::CountTokens(Counter::Vertex),
            // <https://docs.aws.amazon.com/bedrock/latest/userguide/count-tokens.html> lists Claude alone.
            Kind::Bedrock if is_claude(model) => Conversion::CountTokens(Counter::Bedrock),
            Kind::OpenAi | Kind::Azure | Kind::Echo => Conversion::CountTokens(Counter::OpenAi),
            _ => Conversion::Unsupported,
        }
    }

    /// Whether a provider that apis the API has this format of it, for this model.
    fn has(self, wire: Wire, model: [&str; 2]) -> bool {
        match (self, wire) {
            // <https://docs.mistral.ai/api>, <https://docs.z.ai/api-reference>,
            // <https://docs.cohere.com/docs/compatibility-api>: chat, and no responses.
            (Kind::Mistral | Kind::Zai | Kind::Cohere, Wire::OpenAiResponses) => false,
            // Claude is served in Anthropic's format, and nothing else is. A name that says nothing of
            // its maker may be Claude's.
            (Kind::Vertex | Kind::Azure | Kind::Bedrock, Wire::Anthropic) => {
                is_claude(model) || !is_of_another(model)
            }
            (Kind::Vertex | Kind::Azure, _) => !is_claude(model),
            // <https://docs.aws.amazon.com/bedrock/latest/userguide/inference-chat-completions.html>: of
            // OpenAI's own models.
            (Kind::Bedrock, Wire::OpenAiChat) => model.iter().any(|name| name.contains("openai.")),
            _ => true,
        }
    }

    /// Whether it has OpenAI's responses as well as its chat, for models that take only one of them.
    fn has_both(self) -> bool {
        matches!(self, Kind::OpenAi | Kind::Azure)
    }

    /// The format in which a request for that model is written, where its kind has two: OpenAI takes tools
    /// and reasoning together in its responses only, from GPT-5.4 on, and some models there only
    /// (<https://github.com/openai/openai-openapi/issues/541>).
    pub fn translation_format(self, wire: Wire, request: &Request, model: &str) -> Wire {
        let has_both = self.has_both() && wire == Wire::OpenAiChat;
        let reasons = request.thinking.is_some() || !request.tools.is_empty();
        if has_both && (is_of_responses_only(model) || (reasons && is_from_gpt_5_4(model))) {
            Wire::OpenAiResponses
        } else {
            wire
        }
    }
}

/// Also with a region, a publisher or a version around it.
fn is_claude(model: [&str; 2]) -> bool {
    model.iter().any(|name| name.to_ascii_lowercase().contains("claude"))
}

/// Whether the name is that of a model that Azure, Bedrock or Vertex have of anybody else.
fn is_of_another(model: [&str; 2]) -> bool {
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
fn is_of_responses_only(model: &str) -> bool {
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
    fn a_format_that_the_provider_has_stays() {
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
    fn any_other_goes_through_one_that_it_has() {
        for (kind, operation, model, wire) in [
            (Kind::OpenAi, Operation::Messages, "gpt-4o", Wire::OpenAiChat),
            (Kind::Mistral, Operation::Responses, "mistral-small", Wire::OpenAiChat),
            (Kind::Anthropic, Operation::Chat, "claude-haiku-4-5", Wire::Anthropic),
            (Kind::Vertex, Operation::Chat, "claude-sonnet-4@20250514", Wire::Anthropic),
            (Kind::Vertex, Operation::Messages, "gemini-2.5-flash", Wire::Gemini),
            (Kind::Bedrock, Operation::Messages, "amazon.nova-lite-v1:0", Wire::Bedrock),
            (Kind::Bedrock, Operation::Chat, "amazon.nova-lite-v1:0", Wire::Bedrock),
            (Kind::Cohere, Operation::Messages, "command-a-03-2025", Wire::Cohere),
            (Kind::Replicate, Operation::Chat, "meta/meta-llama-3-8b-instruct", Wire::Replicate),
            (Kind::OpenAi, Operation::Chat, "gpt-5-pro", Wire::OpenAiResponses),
            (Kind::Azure, Operation::Chat, "gpt-5.1-codex", Wire::OpenAiResponses),
        ] {
            let conversion = kind.conversion(operation, None, [model, model]);
            assert_eq!(conversion, Conversion::Translate(wire), "{kind} {}", operation.name());
        }
    }

    #[test]
    fn a_deployment_is_known_by_either_of_its_names() {
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
        assert_eq!(through, Conversion::Translate(Wire::OpenAiChat));
    }

    #[test]
    fn what_is_no_conversation_is_passed_on_or_refused() {
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
    fn embeddings_are_asked_for_in_the_form_that_the_model_has() {
        for (kind, model, conversion) in [
            (Kind::OpenAi, "text-embedding-3-small", Conversion::Verbatim),
            (Kind::Mistral, "mistral-embed", Conversion::Verbatim),
            (Kind::Azure, "text-embedding-3-small", Conversion::Verbatim),
            (Kind::Gemini, "gemini-embedding-001", Conversion::Embeddings(Format::Gemini)),
            (Kind::Vertex, "text-embedding-005", Conversion::Embeddings(Format::VertexPredict)),
            (Kind::Vertex, "intfloat/multilingual-e5-large-instruct-maas", Conversion::Verbatim),
            (Kind::Cohere, "embed-v4.0", Conversion::Embeddings(Format::Cohere)),
            (Kind::Bedrock, "amazon.titan-embed-text-v2:0", Conversion::Embeddings(Format::Titan)),
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
    fn tokens_are_counted_where_there_is_a_count() {
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
    fn a_body_of_another_format_is_rewritten_even_where_the_operation_is_served() {
        let conversion =
            Kind::OpenAi.conversion(Operation::Chat, Some(Wire::OpenAiResponses), ["gpt-4o"; 2]);
        assert_eq!(conversion, Conversion::Translate(Wire::OpenAiChat));
    }

    #[test]
    fn openai_is_asked_for_reasoning_with_tools_where_it_takes_both() {
        let effort = Some(Effort::Low);
        let thinking = Some(Thinking { effort, budget: None, shown: None });
        let thinks = Request { thinking, ..Request::default() };
        let plain = Request::default();
        let format =
            |model, request| Kind::OpenAi.translation_format(Wire::OpenAiChat, request, model);
        assert_eq!(format("gpt-5.4-mini", &thinks), Wire::OpenAiResponses);
        assert_eq!(format("gpt-6-astra", &thinks), Wire::OpenAiResponses);
        assert_eq!(format("gpt-5.4", &plain), Wire::OpenAiChat);
        for older in ["gpt-5", "gpt-5.2", "gpt-4o", "gpt-4.1", "o4-mini", "gpt-oss-120b"] {
            assert_eq!(format(older, &thinks), Wire::OpenAiChat, "{older}");
        }
        assert_eq!(format("gpt-5.1-codex", &plain), Wire::OpenAiResponses);
    }
}
