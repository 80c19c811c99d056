//! Counting the tokens of a conversation, in the formats of the providers that count. The conversation is
//! read and written as one that is to be answered; here it gets the envelope of the count.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::api::{Format, Operation};
use super::json::fields::Rejected;

/// Who counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counter {
    /// `/v1/messages/count_tokens`.
    Anthropic,
    /// `countTokens` of Gemini.
    Gemini,
    /// `countTokens` of Vertex: without Gemini's `generateContentRequest`.
    Vertex,
    /// `CountTokens` of Bedrock.
    Bedrock,
    /// `/v1/responses/input_tokens`.
    OpenAi,
}

/// The format of the conversation whose tokens an operation counts; `None`: it counts none.
pub fn asked_in(operation: Operation) -> Option<Format> {
    match operation {
        Operation::CountTokens => Some(Format::Anthropic),
        Operation::GeminiCountTokens => Some(Format::Gemini),
        Operation::BedrockCountTokens => Some(Format::Bedrock),
        Operation::ResponsesInputTokens => Some(Format::OpenAiResponses),
        _ => None,
    }
}

/// The conversation in the body of a count, and the place where it stands: a JSON pointer.
///
/// # Errors
///
/// When there is none that is understood.
pub fn conversation(
    operation: Operation,
    body: &[u8],
) -> Result<(Cow<'_, [u8]>, &'static str), Rejected> {
    match operation {
        Operation::GeminiCountTokens => {
            let asked: OfGemini<'_> = read(body)?;
            Ok(match asked.whole {
                Some(whole) => (whole.get().as_bytes().into(), "/generateContentRequest"),
                None => (body.into(), ""),
            })
        }
        Operation::BedrockCountTokens => {
            let OfBedrock { input } = read(body)?;
            match (input.converse, input.invoke_model) {
                (Some(converse), _) => Ok((converse.get().as_bytes().into(), "/input/converse")),
                (None, Some(_)) => Err(Rejected::new(
                    "/input/invokeModel",
                    "cannot be counted by a provider of another format",
                )),
                (None, None) => Err(Rejected::new("/input/converse", "is missing")),
            }
        }
        _ => Ok((body.into(), "")),
    }
}

/// The answer to the caller of an operation that counts.
pub fn answer(operation: Operation, tokens: u64) -> Vec<u8> {
    let answer = match operation {
        Operation::GeminiCountTokens => json!({"totalTokens": tokens}),
        Operation::BedrockCountTokens => json!({"inputTokens": tokens}),
        Operation::ResponsesInputTokens => {
            json!({"object": "response.input_tokens", "input_tokens": tokens})
        }
        _ => json!({"input_tokens": tokens}),
    };
    answer.to_string().into_bytes()
}

impl Counter {
    /// The format of the conversation.
    pub fn format(self) -> Format {
        match self {
            Counter::Anthropic => Format::Anthropic,
            Counter::Gemini | Counter::Vertex => Format::Gemini,
            Counter::Bedrock => Format::Bedrock,
            Counter::OpenAi => Format::OpenAiResponses,
        }
    }

    /// What is asked of the provider.
    pub fn operation(self) -> Operation {
        match self {
            Counter::Anthropic => Operation::CountTokens,
            Counter::Gemini | Counter::Vertex => Operation::GeminiCountTokens,
            Counter::Bedrock => Operation::BedrockCountTokens,
            Counter::OpenAi => Operation::ResponsesInputTokens,
        }
    }

    /// The body that has a conversation counted which is written as one to be answered. Members that
    /// concern the answer alone are left out: the providers refuse them here. `None`: it is no object.
    pub fn body(self, conversation: &[u8], model: &str) -> Option<Vec<u8>> {
        let mut members: Map<String, Value> = serde_json::from_slice(conversation).ok()?;
        if let Some(counted) = self.counted() {
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

    /// The members of a conversation that are counted; `None`: all may stand there. From the API
    /// references: `CountMessageTokensParams`, Vertex's `CountTokensRequest`, `ConverseTokensRequest`,
    /// `TokenCountsBody`.
    fn counted(self) -> Option<&'static [&'static str]> {
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

    /// The count in a provider's answer.
    pub fn read(self, body: &[u8]) -> Option<u64> {
        let answer: Counted = serde_json::from_slice(body).ok()?;
        match self {
            Counter::Anthropic | Counter::OpenAi => answer.named_plainly,
            Counter::Gemini | Counter::Vertex => answer.by_google,
            Counter::Bedrock => answer.by_bedrock,
        }
    }
}

#[derive(Deserialize)]
struct Counted {
    #[serde(rename = "input_tokens")]
    named_plainly: Option<u64>,
    #[serde(rename = "totalTokens")]
    by_google: Option<u64>,
    #[serde(rename = "inputTokens")]
    by_bedrock: Option<u64>,
}

#[derive(Deserialize)]
struct OfGemini<'b> {
    #[serde(borrow, rename = "generateContentRequest")]
    whole: Option<&'b RawValue>,
}

#[derive(Deserialize)]
struct OfBedrock<'b> {
    #[serde(borrow)]
    input: InputOfBedrock<'b>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InputOfBedrock<'b> {
    #[serde(borrow)]
    converse: Option<&'b RawValue>,
    #[serde(borrow)]
    invoke_model: Option<&'b RawValue>,
}

fn read<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Rejected> {
    serde_json::from_slice(body)
        .map_err(|error| Rejected::new("", format!("cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(counter: Counter, conversation: &Value) -> Value {
        let body = counter.body(conversation.to_string().as_bytes(), "m").unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    #[test]
    fn a_conversation_is_found_where_it_stands() {
        for (operation, asked, inner, at) in [
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
            let (found, place) = conversation(operation, asked.as_bytes()).unwrap();
            assert_eq!((std::str::from_utf8(&found).unwrap(), place), (inner, at));
        }
        for (asked, at) in [
            (r#"{"input":{"invokeModel":{"body":"e30="}}}"#, "/input/invokeModel"),
            (r#"{"input":{}}"#, "/input/converse"),
            ("{}", ""),
        ] {
            let error = conversation(Operation::BedrockCountTokens, asked.as_bytes()).unwrap_err();
            assert_eq!(error.at, at);
        }
    }

    #[test]
    fn each_counter_gets_the_members_that_it_takes() {
        let asked = json!({"model": "m", "max_tokens": 9, "temperature": 1, "stream": true,
            "messages": [1], "system": "s", "tools": [2]});
        let expected = json!({"model": "m", "messages": [1], "system": "s", "tools": [2]});
        assert_eq!(body(Counter::Anthropic, &asked), expected);

        let asked = json!({"contents": [1], "generationConfig": {"topK": 1}, "safetySettings": []});
        let mut inner = asked.clone();
        inner["model"] = "models/m".into();
        assert_eq!(body(Counter::Gemini, &asked), json!({"generateContentRequest": inner}));
        let expected = json!({"contents": [1], "generationConfig": {"topK": 1}});
        assert_eq!(body(Counter::Vertex, &asked), expected);

        let asked = json!({"messages": [1], "inferenceConfig": {}, "toolConfig": {}, "system": []});
        let inner = json!({"messages": [1], "toolConfig": {}, "system": []});
        assert_eq!(body(Counter::Bedrock, &asked), json!({"input": {"converse": inner}}));

        let asked = json!({"model": "m", "input": "i", "max_output_tokens": 3, "store": false});
        assert_eq!(body(Counter::OpenAi, &asked), json!({"model": "m", "input": "i"}));
    }

    #[test]
    fn a_count_goes_from_any_form_to_any() {
        for (counter, told) in [
            (Counter::Anthropic, r#"{"input_tokens":7}"#),
            (Counter::Gemini, r#"{"totalTokens":7,"promptTokensDetails":[{"tokenCount":7}]}"#),
            (Counter::Vertex, r#"{"totalTokens":7,"totalBillableCharacters":30}"#),
            (Counter::Bedrock, r#"{"inputTokens":7}"#),
            (Counter::OpenAi, r#"{"input_tokens":7,"object":"response.input_tokens"}"#),
        ] {
            assert_eq!(counter.read(told.as_bytes()), Some(7), "{told}");
            for odd in ["{}", "", "[7]", r#"{"input_tokens":"7"}"#] {
                assert_eq!(counter.read(odd.as_bytes()), None, "{odd}");
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
            assert_eq!(String::from_utf8(answer(operation, 7)).unwrap(), expected);
        }
    }
}
