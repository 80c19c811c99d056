//! Token counts, in the formats of the providers that count. A conversation is decoded, fitted and encoded as
//! for an answer; here it gets the body of a request for a count.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::api::{Format, Operation};
use super::json::fields::Rejected;

/// An API that counts tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counter {
    /// `/v1/messages/count_tokens`.
    Anthropic,
    /// `countTokens` of Gemini.
    Gemini,
    /// `countTokens` of Vertex, which lacks `generateContentRequest`.
    Vertex,
    /// `CountTokens` of Bedrock.
    Bedrock,
    /// `/v1/responses/input_tokens`.
    OpenAi,
}

/// Returns the format of the conversation that an operation counts; `None`: it does not count tokens.
pub fn conversation_format(operation: Operation) -> Option<Format> {
    match operation {
        Operation::CountTokens => Some(Format::Anthropic),
        Operation::GeminiCountTokens => Some(Format::Gemini),
        Operation::BedrockCountTokens => Some(Format::Bedrock),
        Operation::ResponsesInputTokens => Some(Format::OpenAiResponses),
        _ => None,
    }
}

/// Returns the conversation in the body of a request for a count, and its place: a JSON pointer.
///
/// # Errors
///
/// When the body contains no conversation that keymux can decode.
pub fn find_conversation(
    operation: Operation,
    body: &[u8],
) -> Result<(Cow<'_, [u8]>, &'static str), Rejected> {
    match operation {
        Operation::GeminiCountTokens => {
            let request: GeminiRequest<'_> = decode(body)?;
            Ok(match request.generate_content_request {
                Some(whole) => (whole.get().as_bytes().into(), "/generateContentRequest"),
                None => (body.into(), ""),
            })
        }
        Operation::BedrockCountTokens => {
            let BedrockRequest { input } = decode(body)?;
            match (input.converse, input.invoke_model) {
                (Some(converse), _) => Ok((converse.get().as_bytes().into(), "/input/converse")),
                (None, Some(_)) => Err(Rejected::new(
                    "/input/invokeModel",
                    "is not supported for a provider of another format",
                )),
                (None, None) => Err(Rejected::new("/input/converse", "is missing")),
            }
        }
        _ => Ok((body.into(), "")),
    }
}

/// Encodes the answer to the caller of an operation that counts.
pub fn encode_response(operation: Operation, tokens: u64) -> Vec<u8> {
    let response = match operation {
        Operation::GeminiCountTokens => json!({"totalTokens": tokens}),
        Operation::BedrockCountTokens => json!({"inputTokens": tokens}),
        Operation::ResponsesInputTokens => {
            json!({"object": "response.input_tokens", "input_tokens": tokens})
        }
        _ => json!({"input_tokens": tokens}),
    };
    response.to_string().into_bytes()
}

impl Counter {
    /// Returns the format of the conversation.
    pub fn format(self) -> Format {
        match self {
            Counter::Anthropic => Format::Anthropic,
            Counter::Gemini | Counter::Vertex => Format::Gemini,
            Counter::Bedrock => Format::Bedrock,
            Counter::OpenAi => Format::OpenAiResponses,
        }
    }

    /// Returns the operation of the provider.
    pub fn operation(self) -> Operation {
        match self {
            Counter::Anthropic => Operation::CountTokens,
            Counter::Gemini | Counter::Vertex => Operation::GeminiCountTokens,
            Counter::Bedrock => Operation::BedrockCountTokens,
            Counter::OpenAi => Operation::ResponsesInputTokens,
        }
    }

    /// Encodes a request for the count of a conversation that is encoded as for an answer. Members that concern
    /// only the answer are left out, because the providers refuse them here. `None`: it is not an object.
    pub fn encode_request(self, conversation: &[u8], model: &str) -> Option<Vec<u8>> {
        let mut members: Map<String, Value> = serde_json::from_slice(conversation).ok()?;
        if let Some(counted) = self.counted_members() {
            members.retain(|name, _| counted.contains(&name.as_str()));
        }
        let body = match self {
            Counter::Anthropic | Counter::Vertex | Counter::OpenAi => Value::Object(members),
            Counter::Gemini => {
                members.insert("model".to_owned(), format!("models/{model}").into());
                json!({"generateContentRequest": members})
            }
            Counter::Bedrock => json!({"input": {"converse": members}}),
        };
        Some(body.to_string().into_bytes())
    }

    /// Returns the members of a conversation that the API takes; `None`: all. From the API references:
    /// `CountMessageTokensParams`, Vertex's `CountTokensRequest`, `ConverseTokensRequest`, `TokenCountsBody`.
    fn counted_members(self) -> Option<&'static [&'static str]> {
        match self {
            Counter::Anthropic => Some(&[
                "model",
                "messages",
                "system",
                "tools",
                "tool_choice",
                "thinking",
                "output_config",
                "output_format",
                "cache_control",
                "context_management",
                "mcp_servers",
            ]),
            Counter::Gemini => None,
            Counter::Vertex => {
                Some(&["contents", "systemInstruction", "tools", "generationConfig"])
            }
            Counter::Bedrock => {
                Some(&["messages", "system", "toolConfig", "additionalModelRequestFields"])
            }
            Counter::OpenAi => Some(&[
                "model",
                "input",
                "instructions",
                "tools",
                "tool_choice",
                "parallel_tool_calls",
                "text",
                "reasoning",
                "truncation",
                "conversation",
                "previous_response_id",
            ]),
        }
    }

    /// Decodes the count in a provider's answer.
    pub fn decode_response(self, body: &[u8]) -> Option<u64> {
        let response: Response = serde_json::from_slice(body).ok()?;
        match self {
            Counter::Anthropic | Counter::OpenAi => response.anthropic_or_openai,
            Counter::Gemini | Counter::Vertex => response.google,
            Counter::Bedrock => response.bedrock,
        }
    }
}

#[derive(Deserialize)]
struct Response {
    #[serde(rename = "input_tokens")]
    anthropic_or_openai: Option<u64>,
    #[serde(rename = "totalTokens")]
    google: Option<u64>,
    #[serde(rename = "inputTokens")]
    bedrock: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GeminiRequest<'b> {
    #[serde(borrow)]
    generate_content_request: Option<&'b RawValue>,
}

#[derive(Deserialize)]
struct BedrockRequest<'b> {
    #[serde(borrow)]
    input: BedrockInput<'b>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BedrockInput<'b> {
    #[serde(borrow)]
    converse: Option<&'b RawValue>,
    #[serde(borrow)]
    invoke_model: Option<&'b RawValue>,
}

fn decode<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Rejected> {
    serde_json::from_slice(body)
        .map_err(|error| Rejected::new("", format!("cannot be decoded: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(counter: Counter, conversation: &Value) -> Value {
        let body = counter.encode_request(conversation.to_string().as_bytes(), "m").unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    #[test]
    fn the_conversation_is_found_in_the_body_of_each_api() {
        for (operation, request, inner, at) in [
            (Operation::CountTokens, r#"{"messages":[]}"#, r#"{"messages":[]}"#, ""),
            (Operation::GeminiCountTokens, r#"{"contents":[]}"#, r#"{"contents":[]}"#, ""),
            (
                Operation::GeminiCountTokens,
                r#"{"generateContentRequest": {"model":"models/g", "contents":[]}}"#,
                r#"{"model":"models/g", "contents":[]}"#,
                "/generateContentRequest",
            ),
            (
                Operation::BedrockCountTokens,
                r#"{"input":{"converse":{"messages":[]}}}"#,
                r#"{"messages":[]}"#,
                "/input/converse",
            ),
        ] {
            let (found, place) = find_conversation(operation, request.as_bytes()).unwrap();
            assert_eq!((std::str::from_utf8(&found).unwrap(), place), (inner, at));
        }
        for (request, at) in [
            (r#"{"input":{"invokeModel":{"body":"e30="}}}"#, "/input/invokeModel"),
            (r#"{"input":{}}"#, "/input/converse"),
            ("{}", ""),
        ] {
            let error =
                find_conversation(Operation::BedrockCountTokens, request.as_bytes()).unwrap_err();
            assert_eq!(error.at, at);
        }
    }

    #[test]
    fn each_api_gets_the_members_that_it_takes() {
        let request = json!({"model": "m", "max_tokens": 9, "temperature": 1, "stream": true,
            "messages": [1], "system": "s", "tools": [2]});
        let expected = json!({"model": "m", "messages": [1], "system": "s", "tools": [2]});
        assert_eq!(body(Counter::Anthropic, &request), expected);

        let request =
            json!({"contents": [1], "generationConfig": {"topK": 1}, "safetySettings": []});
        let mut inner = request.clone();
        inner["model"] = "models/m".into();
        assert_eq!(body(Counter::Gemini, &request), json!({"generateContentRequest": inner}));
        let expected = json!({"contents": [1], "generationConfig": {"topK": 1}});
        assert_eq!(body(Counter::Vertex, &request), expected);

        let request =
            json!({"messages": [1], "inferenceConfig": {}, "toolConfig": {}, "system": []});
        let inner = json!({"messages": [1], "toolConfig": {}, "system": []});
        assert_eq!(body(Counter::Bedrock, &request), json!({"input": {"converse": inner}}));

        let request = json!({"model": "m", "input": "i", "max_output_tokens": 3, "store": false});
        assert_eq!(body(Counter::OpenAi, &request), json!({"model": "m", "input": "i"}));
    }

    #[test]
    fn counts_of_each_api_are_decoded_and_encoded() {
        for (counter, response) in [
            (Counter::Anthropic, r#"{"input_tokens":7}"#),
            (Counter::Gemini, r#"{"totalTokens":7,"promptTokensDetails":[{"tokenCount":7}]}"#),
            (Counter::Vertex, r#"{"totalTokens":7,"totalBillableCharacters":30}"#),
            (Counter::Bedrock, r#"{"inputTokens":7}"#),
            (Counter::OpenAi, r#"{"input_tokens":7,"object":"response.input_tokens"}"#),
        ] {
            assert_eq!(counter.decode_response(response.as_bytes()), Some(7), "{response}");
            for odd in ["{}", "", "[7]", r#"{"input_tokens":"7"}"#] {
                assert_eq!(counter.decode_response(odd.as_bytes()), None, "{odd}");
            }
        }
        for (operation, expected) in [
            (Operation::CountTokens, r#"{"input_tokens":7}"#),
            (Operation::GeminiCountTokens, r#"{"totalTokens":7}"#),
            (Operation::BedrockCountTokens, r#"{"inputTokens":7}"#),
            (
                Operation::ResponsesInputTokens,
                r#"{"object":"response.input_tokens","input_tokens":7}"#,
            ),
        ] {
            assert_eq!(String::from_utf8(encode_response(operation, 7)).unwrap(), expected);
        }
    }
}
