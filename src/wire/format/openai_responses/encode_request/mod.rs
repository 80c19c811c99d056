//! The body of a request for a provider, printed from a fitted [`Request`].

mod items;

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Map, Number, Value, json};

use self::items::{InputItem, instructions, items};
use super::types::{INCLUDE_ENCRYPTED, INCLUDE_LOGPROBS};
use crate::wire::ir::{Choice, Content, Effort, Form, Request, Thinking, Tier, Tool};
use crate::wire::json::write::put;

#[derive(Serialize)]
struct Body<'r> {
    model: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<&'r str>,
    input: Vec<InputItem<'r>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolParam<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Reasoning>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Text<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<&'r Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<&'r Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    include: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'r Map<String, Value>>,
    /// The older name of `safety_identifier`, which all vendors know.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_key: Option<&'r str>,
    store: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ToolParam<'r> {
    Function {
        name: &'r str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'r str>,
        parameters: Cow<'r, Value>,
        strict: bool,
    },
    /// A tool of this format that the hub does not know.
    #[serde(untagged)]
    Foreign(&'r Value),
}

#[derive(Serialize)]
struct Reasoning {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<&'static str>,
}

#[derive(Serialize)]
struct Text<'r> {
    format: TextFormat<'r>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum TextFormat<'r> {
    JsonObject,
    JsonSchema {
        name: &'r str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'r str>,
        schema: &'r Value,
        #[serde(skip_serializing_if = "Option::is_none")]
        strict: Option<bool>,
    },
}

/// Encodes a fitted request.
pub fn encode_request(request: &Request) -> Vec<u8> {
    let body = Body {
        model: &request.model,
        instructions: instructions(request),
        input: items(request),
        tools: request.tools.iter().map(tool).collect(),
        tool_choice: request.choice.as_ref().map(tool_choice),
        parallel_tool_calls: request.parallel,
        reasoning: request.thinking.as_ref().and_then(reasoning),
        text: request.form.as_ref().map(|form| Text { format: text_format(form) }),
        max_output_tokens: request.max_tokens,
        temperature: request.sampling.temperature.as_ref(),
        top_p: request.sampling.top_p.as_ref(),
        top_logprobs: request.logprobs.and_then(|logprobs| logprobs.top),
        include: include(request),
        metadata: request.metadata.as_ref().filter(|metadata| !metadata.is_empty()),
        user: request.user.as_deref(),
        service_tier: request.tier.as_ref().map(service_tier),
        prompt_cache_key: request.cache_key.as_deref(),
        store: false,
        stream: request.stream,
    };
    let mut out = Vec::new();
    put(&mut out, &body);
    out
}

/// `strict` is always written: without it the API makes the schema strict, with all members required.
fn tool(tool: &Tool) -> ToolParam<'_> {
    match tool {
        Tool::Function { name, description, parameters, strict, .. } => ToolParam::Function {
            name,
            description: description.as_deref(),
            parameters: match parameters {
                Some(parameters) => Cow::Borrowed(parameters),
                None => Cow::Owned(json!({ "type": "object", "properties": {} })),
            },
            strict: strict.unwrap_or(false),
        },
        Tool::Foreign { json, .. } => ToolParam::Foreign(json),
    }
}

fn tool_choice(choice: &Choice) -> Value {
    let function = |name: &String| json!({ "type": "function", "name": name });
    match choice {
        Choice::Auto => Value::from("auto"),
        Choice::Any => Value::from("required"),
        Choice::None => Value::from("none"),
        Choice::Tool(name) => function(name),
        Choice::AnyOf(names) => {
            let tools: Vec<_> = names.iter().map(function).collect();
            json!({ "type": "allowed_tools", "mode": "required", "tools": tools })
        }
    }
}

fn reasoning(thinking: &Thinking) -> Option<Reasoning> {
    // OpenAI gives summaries to verified organizations only, so they are requested only if the caller wants them.
    let wants_summary = thinking.shown == Some(true) && reasons(thinking);
    let summary = wants_summary.then_some("auto");
    let effort = thinking.effort.map(Effort::word);
    (effort.is_some() || summary.is_some()).then_some(Reasoning { effort, summary })
}

fn reasons(thinking: &Thinking) -> bool {
    thinking.effort != Some(Effort::None)
}

fn text_format(form: &Form) -> TextFormat<'_> {
    match form {
        Form::Json => TextFormat::JsonObject,
        Form::Schema { name, description, schema, strict } => TextFormat::JsonSchema {
            // The API requires a name.
            name: name.as_deref().unwrap_or("answer"),
            description: description.as_deref(),
            schema,
            strict: *strict,
        },
    }
}

/// Encrypted reasoning is requested only where there is reasoning: models without it refuse the request.
fn include(request: &Request) -> Vec<&'static str> {
    let is_reasoning = |content: &Content| matches!(content, Content::Reasoning { .. });
    let mut blocks = request.turns.iter().flat_map(|turn| &turn.blocks);
    let mut include = Vec::new();
    if request.thinking.as_ref().is_some_and(reasons)
        || blocks.any(|block| is_reasoning(&block.content))
    {
        include.push(INCLUDE_ENCRYPTED);
    }
    if request.logprobs.is_some() {
        include.push(INCLUDE_LOGPROBS);
    }
    include
}

fn service_tier(tier: &Tier) -> &str {
    match tier {
        Tier::Auto => "auto",
        Tier::Standard => "default",
        Tier::Flex => "flex",
        Tier::Priority => "priority",
        Tier::Other(word) => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::api::Format;
    use crate::wire::ir::{Block, Role, Signature, ToolResult, Turn};

    fn encoded(request: &Request) -> Value {
        serde_json::from_slice(&encode_request(request)).unwrap()
    }

    fn turn(role: Role, contents: Vec<Content>) -> Turn {
        let blocks = contents.into_iter().map(|content| Block::new(content, "/x")).collect();
        Turn { role, name: None, blocks }
    }

    #[test]
    fn calls_and_results_are_items_between_the_messages() {
        let id = || "call_0".to_owned();
        let (name, arguments) = ("f".to_owned(), "{}".to_owned());
        let call = Content::ToolCall { id: Some(id()), name, arguments };
        let content = vec![Block::new(Content::text("1"), "")];
        let result = ToolResult { id: id(), name: None, content, is_error: false };
        let request = Request {
            turns: vec![
                turn(Role::Assistant, vec![Content::text("Wait"), call]),
                turn(Role::User, vec![Content::ToolResult(result), Content::text("so?")]),
            ],
            ..Request::default()
        };
        assert_eq!(
            encoded(&request)["input"],
            json!([
                {"type": "message", "role": "assistant", "content": "Wait"},
                {"type": "function_call", "call_id": "call_0", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "call_0", "output": "1"},
                {"type": "message", "role": "user", "content": "so?"}
            ])
        );
    }

    #[test]
    fn signed_reasoning_is_an_item_and_more_of_it_is_requested() {
        let mut block = Block::new(Content::Reasoning { text: "Hm".to_owned() }, "");
        let (format, id) = (Format::OpenAiResponses, Some("rs_1".to_owned()));
        block.signature = Some(Signature { format, data: "S".to_owned(), id });
        let turns = vec![Turn { role: Role::Assistant, name: None, blocks: vec![block] }];
        let body = encoded(&Request { turns, ..Request::default() });
        let item = json!([{"type": "reasoning", "id": "rs_1", "encrypted_content": "S",
            "summary": [{"type": "summary_text", "text": "Hm"}]}]);
        assert_eq!(body["input"], item);
        assert_eq!(body["include"], json!(["reasoning.encrypted_content"]));
    }

    #[test]
    fn a_summary_is_requested_if_the_caller_wants_it_and_the_model_reasons() {
        let reasoning = |effort| {
            let thinking = Thinking { effort, budget: None, shown: Some(true) };
            encoded(&Request { thinking: Some(thinking), ..Request::default() })["reasoning"]
                .clone()
        };
        assert_eq!(reasoning(Some(Effort::None)), json!({"effort": "none"}));
        assert_eq!(reasoning(Some(Effort::Low)), json!({"effort": "low", "summary": "auto"}));
        assert_eq!(reasoning(None), json!({"summary": "auto"}));
    }

    #[test]
    fn strict_and_store_are_always_written() {
        let tool = Tool::Function {
            name: "f".to_owned(),
            description: None,
            parameters: None,
            strict: None,
            cache: None,
            at: String::new(),
        };
        let body = encoded(&Request { tools: vec![tool], ..Request::default() });
        let expected = json!([{"type": "function", "name": "f", "strict": false,
            "parameters": {"type": "object", "properties": {}}}]);
        assert_eq!((&body["tools"], &body["store"]), (&expected, &json!(false)));
    }
}
