//! Cohere's chat and Replicate's predictions, as providers, over recorded exchanges.

#![allow(clippy::unwrap_used, clippy::panic, reason = "so a test fails")]
#![allow(clippy::print_stderr, reason = "says what was skipped and how much was read")]

#[path = "translation/answers.rs"]
mod answers;
#[path = "wire_recorded/exchanges.rs"]
mod exchanges;
#[path = "translation/grammar.rs"]
#[allow(unreachable_pub, reason = "the module is read by several tests")]
mod grammar;

use answers::{calls, hold, text};
use exchanges::Exchange;
use serde_json::{Number, Value, json};

use keymux::wire::api::{Format, Operation};
use keymux::wire::failure::class::Class;
use keymux::wire::format::quirks::PLAIN;
use keymux::wire::ir::{
    Block, Choice, Content, Event, Request, Response, Role, Sampling, Stop, Tool, ToolResult, Turn,
};
use keymux::wire::translate::{decode_whole, encode_request};

fn recorded(operation: Operation) -> Vec<Exchange> {
    let all = exchanges::all(false).unwrap_or_default().into_iter();
    all.filter(|one| one.operation == operation).collect()
}

fn encoded(format: Format, request: &Request) -> Value {
    let encoded = encode_request(format, Format::OpenAiChat, request, &PLAIN).unwrap();
    serde_json::from_slice(&encoded.body).unwrap()
}

fn turn(role: Role, content: Vec<Content>) -> Turn {
    let blocks = (0..).zip(content);
    let blocks = blocks.map(|(n, content)| Block::new(content, format!("/m/{n}"))).collect();
    Turn { role, name: None, blocks }
}

#[test]
fn recorded_chats_keep_the_grammar_and_their_contents() {
    let chats = recorded(Operation::CohereChat);
    for exchange in &chats {
        let id = &exchange.id;
        if exchange.status >= 400 {
            let events = decode_whole(Format::Cohere, &exchange.body, &PLAIN);
            let [Event::Fail(error)] = &*events else { panic!("{id}: {events:?}") };
            assert!(error.message.len() > 20, "{id}");
            continue;
        }
        let response = Response::fold(&hold(Format::Cohere, exchange));
        let candidate = &response.candidates[0];
        assert!(response.ended && response.id.is_some() && response.usage.input.is_some(), "{id}");
        let called = exchange.has("tool_call");
        let expected = if calls(&response).is_empty() { Stop::End } else { Stop::Calls };
        assert_eq!(candidate.stop, Some(expected), "{id}");
        assert!(called || !calls(&response).is_empty() || !text(&response).is_empty(), "{id}");
    }
    let find = |part: &str| {
        let exchange = chats.iter().find(|one| one.id.contains(part))?;
        Some(Response::fold(&hold(Format::Cohere, exchange)))
    };
    let Some(parallel) = find("unary-parallel-tools") else { return };
    assert_eq!(calls(&parallel).len(), 2);
    let Content::Reasoning { text: plan } = &parallel.candidates[0].blocks[0].content else {
        panic!()
    };
    assert!(plan.starts_with("I will use the weather tool"));

    let reasoned = find("command-a-reasoning").unwrap();
    assert_eq!(calls(&reasoned), [("subtract".to_owned(), "{\"x\": 2, \"y\": 5}".to_owned())]);
    assert_eq!((reasoned.usage.reasoning, reasoned.usage.cached_input), (Some(304), Some(1008)));

    for (part, count) in
        [("stream-reasoning-cache-command-a-plus", 2), ("unary-tool-result-doc", 5)]
    {
        let blocks = find(part).unwrap().candidates.remove(0).blocks;
        let Content::Text { citations, .. } = &blocks[1].content else { panic!("{blocks:?}") };
        assert_eq!(citations.len(), count, "{part}");
    }
}

#[test]
fn a_request_is_encoded_for_cohere() {
    let call = Content::ToolCall { id: None, name: "f".to_owned(), arguments: String::new() };
    let result = ToolResult {
        id: String::new(),
        name: Some("f".to_owned()),
        content: vec![Block::new(Content::text("3"), "/o")],
        is_error: false,
    };
    let tool = |name: &str| Tool::Function {
        name: name.to_owned(),
        description: None,
        parameters: None,
        strict: None,
        cache: None,
        at: String::new(),
    };
    let request = Request {
        model: "command-a-03-2025".to_owned(),
        system: vec![Block::new(Content::text("s"), "/s")],
        turns: vec![
            turn(Role::User, vec![Content::text("hi")]),
            turn(Role::Assistant, vec![Content::Reasoning { text: "plan".to_owned() }, call]),
            turn(Role::User, vec![Content::ToolResult(result), Content::text("so?")]),
        ],
        tools: vec![tool("f"), tool("g")],
        choice: Some(Choice::Tool("f".to_owned())),
        sampling: Sampling {
            top_p: Number::from_f64(0.5),
            top_k: Some(7.into()),
            ..Sampling::default()
        },
        stop: vec!["x".to_owned()],
        ..Request::default()
    };
    let text = |text: &str| json!([{ "type": "text", "text": text }]);
    let function = json!({ "name": "f", "arguments": "{}" });
    let offered = json!({ "name": "f", "parameters": { "type": "object", "properties": {} } });
    let expected = json!({
        "model": "command-a-03-2025",
        "stream": false,
        "messages": [
            { "role": "system", "content": text("s") },
            { "role": "user", "content": text("hi") },
            {
                "role": "assistant",
                "tool_plan": "plan",
                "tool_calls": [{ "id": "call_0", "type": "function", "function": function }],
            },
            { "role": "tool", "tool_call_id": "call_0", "content": text("3") },
            { "role": "user", "content": text("so?") },
        ],
        "tools": [{ "type": "function", "function": offered }],
        "tool_choice": "REQUIRED",
        "stop_sequences": ["x"],
        "p": 0.5,
        "k": 7,
    });
    assert_eq!(encoded(Format::Cohere, &request), expected);
}

#[test]
fn recorded_predictions_decode_and_unfinished_ones_fail() {
    for exchange in recorded(Operation::Prediction) {
        let id = &exchange.id;
        if exchange.is_stream() {
            let response = Response::fold(&hold(Format::Replicate, &exchange));
            let joke = text(&response);
            assert!(joke.starts_with("Sure, here's a joke about OpenTelemetry:\n"), "{joke}");
            assert!(joke.contains("trace!\n") && joke.ends_with("assist you with?"), "{joke}");
            assert!(response.ended, "{id}");
        } else {
            let events = hold(Format::Replicate, &exchange);
            let Some(Event::Fail(error)) = events.last() else { panic!("{id}: {events:?}") };
            let denied = exchange.status == 401;
            assert!(!denied || error.message.contains("authentication"), "{id}: {error:?}");
        }
    }
}

#[test]
fn a_finished_prediction_decodes_to_an_answer() {
    let done = json!({
        "id": "p", "model": "meta/m", "status": "succeeded", "created_at": "2024-10-04T18:07:33.396Z",
        "output": ["\n", "Llama", " charm", ""], "error": null,
        "metrics": { "input_token_count": 6, "output_token_count": 9, "predict_time": 0.4 },
    });
    let response =
        Response::fold(&decode_whole(Format::Replicate, done.to_string().as_bytes(), &PLAIN));
    assert_eq!(text(&response), "\nLlama charm");
    assert_eq!((response.usage.input, response.usage.output), (Some(6), Some(9)));
    assert_eq!((response.ended, response.created), (true, Some(1_728_065_253)));

    let failed = json!({ "status": "failed", "output": null, "error": "CUDA out of memory" });
    let events = decode_whole(Format::Replicate, failed.to_string().as_bytes(), &PLAIN);
    let Some(Event::Fail(error)) = events.last() else { panic!("{events:?}") };
    assert_eq!((error.failure.class, &*error.message), (Class::Trouble, "CUDA out of memory"));
}

#[test]
fn a_conversation_is_sent_only_to_models_that_accept_messages() {
    let mut request = Request {
        model: "meta/meta-llama-3-8b-instruct".to_owned(),
        system: vec![Block::new(Content::text("s"), "/s")],
        turns: vec![turn(Role::User, vec![Content::text("hi")])],
        max_tokens: Some(9),
        stop: vec!["a".to_owned(), "b".to_owned()],
        ..Request::default()
    };
    let input = json!({
        "prompt": "hi", "system_prompt": "s", "max_tokens": 9, "stop_sequences": "a,b",
    });
    assert_eq!(encoded(Format::Replicate, &request), json!({ "input": input }));

    request.turns.push(turn(Role::Assistant, vec![Content::text("ho")]));
    request.turns.push(turn(Role::User, vec![Content::text("he")]));
    request.stop.clear();
    let refused = encode_request(Format::Replicate, Format::OpenAiChat, &request, &PLAIN);
    assert_eq!(refused.unwrap_err().at, "/m/0");

    "openai/gpt-4o".clone_into(&mut request.model);
    request.stream = true;
    let messages = json!([
        { "role": "system", "content": "s" },
        { "role": "user", "content": "hi" },
        { "role": "assistant", "content": "ho" },
        { "role": "user", "content": "he" },
    ]);
    let input = json!({ "messages": messages, "max_completion_tokens": 9 });
    assert_eq!(encoded(Format::Replicate, &request), json!({ "input": input, "stream": true }));
}
