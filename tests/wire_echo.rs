//! The echo provider's answers, as a client and as the response observer read them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "so a test fails")]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use keymux::upstream::echo::{Reply, answer};
use keymux::wire::api::{Framing, Operation};
use keymux::wire::inspect::observer::ResponseObserver;
use keymux::wire::inspect::usage::Usage;

fn ask(operation: Operation, request: &Value) -> Reply {
    answer(operation, request.to_string().as_bytes(), "7", 1_700_000_000)
}

fn body(operation: Operation, request: &Value) -> Value {
    let reply = ask(operation, request);
    assert_eq!((reply.status, reply.content_type), (200, "application/json"));
    assert_eq!(reply.frames.len(), 1);
    serde_json::from_slice(&reply.frames[0]).unwrap()
}

/// Returns the data of each event except `[DONE]`.
fn events(reply: &Reply) -> Vec<Value> {
    assert_eq!((reply.status, reply.content_type), (200, "text/event-stream"));
    let data = reply.frames.iter().map(|frame| {
        let text = std::str::from_utf8(frame).unwrap();
        assert!(text.ends_with("\n\n"), "{text:?} is not a complete event");
        text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap()
    });
    data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

fn observe(operation: Operation, reply: &Reply) -> ResponseObserver {
    let mut observer = ResponseObserver::new(
        operation,
        Framing::of(operation, Some(reply.content_type.as_bytes())),
    );
    for frame in &reply.frames {
        observer.observe(frame);
    }
    observer
}

fn tokens(observer: &ResponseObserver) -> (Option<u64>, Option<u64>) {
    let Usage { input, output, .. } = observer.usage();
    (input, output)
}

fn chat_request(content: &str) -> Value {
    json!({ "model": "m", "messages": [
        { "role": "system", "content": "be brief" },
        { "role": "user", "content": content },
    ] })
}

fn with(mut request: Value, mut more: Value) -> Value {
    request.as_object_mut().unwrap().append(more.as_object_mut().unwrap());
    request
}

#[test]
fn chat_returns_the_text_of_the_last_user_message() {
    let whole = body(Operation::Chat, &chat_request("hello  there\nyou"));
    assert_eq!(whole["choices"][0]["message"]["content"], "hello  there\nyou");
    assert_eq!(whole["choices"][0]["finish_reason"], "stop");
    assert_eq!((&whole["id"], &whole["model"]), (&json!("chatcmpl-7"), &json!("m")));
    assert_eq!(whole["usage"]["prompt_tokens"], 5);
    assert_eq!(whole["usage"]["completion_tokens"], 3);
    let parts = json!([{ "type": "text", "text": "a b" }, { "type": "image_url" }]);
    let request = json!({ "messages": [{ "role": "user", "content": parts }] });
    assert_eq!(body(Operation::Chat, &request)["choices"][0]["message"]["content"], "a b");
}

#[test]
fn a_chat_stream_has_one_event_for_each_word() {
    let request = with(
        chat_request("hello  there\nyou"),
        json!({ "stream": true, "stream_options": { "include_usage": true } }),
    );
    let reply = ask(Operation::Chat, &request);
    let events = events(&reply);
    let delta = |event: &Value| event["choices"][0]["delta"]["content"].as_str().map(str::to_owned);
    let words: Vec<_> = events.iter().filter_map(delta).collect();
    assert_eq!(words, ["", "hello", "  there", "\nyou"]);
    let observer = observe(Operation::Chat, &reply);
    assert!(observer.complete() && observer.done() && observer.failure().is_none());
    assert_eq!(tokens(&observer), (Some(5), Some(3)));
    let request = with(chat_request("x"), json!({ "stream": true }));
    assert_eq!(tokens(&observe(Operation::Chat, &ask(Operation::Chat, &request))), (None, None));
}

#[test]
fn a_token_limit_truncates_the_answer() {
    let whole = body(Operation::Chat, &with(chat_request("a b c"), json!({ "max_tokens": 2 })));
    assert_eq!(whole["choices"][0]["message"]["content"], "a b");
    assert_eq!(whole["choices"][0]["finish_reason"], "length");
    let request = json!({ "input": "a b c", "max_output_tokens": 1, "stream": true });
    let last = events(&ask(Operation::Responses, &request)).pop().unwrap();
    assert_eq!(last["type"], "response.incomplete");
    assert_eq!(last["response"]["incomplete_details"]["reason"], "max_output_tokens");
}

#[test]
fn a_required_tool_is_called() {
    let function = |name: &str| json!({ "type": "function", "function": { "name": name } });
    let tools = json!([function("one"), function("two")]);
    let called = |content: &str, choice: Value| {
        let more = json!({ "tools": tools, "tool_choice": choice });
        let whole = body(Operation::Chat, &with(chat_request(content), more));
        whole["choices"][0]["message"]["tool_calls"][0]["function"]["name"].clone()
    };
    assert_eq!(called("hi", json!("required")), "one");
    assert_eq!(called("hi", function("two")), "two");
    assert_eq!(called("call two", json!(null)), "two");
    assert_eq!(called("call two", json!("none")), json!(null));
    assert_eq!(called("call three", json!("auto")), json!(null));

    let more = json!({ "tools": tools, "tool_choice": "required", "stream": true });
    let reply = ask(Operation::Chat, &with(chat_request("hi"), more));
    assert!(observe(Operation::Chat, &reply).complete());
    let events = events(&reply);
    let call = |event: &Value| event["choices"][0]["delta"]["tool_calls"][0].clone();
    assert_eq!(call(&events[0])["function"]["name"], "one");
    assert_eq!(call(&events[1])["function"]["arguments"], "{}");
    assert_eq!(events[2]["choices"][0]["finish_reason"], "tool_calls");

    let result = json!({ "tools": tools, "tool_choice": "required", "messages": [
        { "role": "user", "content": "hi" },
        { "role": "tool", "tool_call_id": "c", "content": "the result" },
    ] });
    let whole = body(Operation::Chat, &result);
    assert_eq!(whole["choices"][0]["message"]["content"], "the result");
}

#[test]
fn completions_return_a_choice_for_each_prompt() {
    let whole = body(Operation::Completions, &json!({ "prompt": ["a b", "c"] }));
    assert_eq!(whole["choices"][0]["text"], "a b");
    assert_eq!(whole["choices"][1]["text"], "c");
    let reply = ask(Operation::Completions, &json!({ "prompt": "a b", "stream": true }));
    let texts: Vec<_> =
        events(&reply).iter().map(|event| event["choices"][0]["text"].clone()).collect();
    assert_eq!(texts, ["a", " b", ""]);
    assert!(observe(Operation::Completions, &reply).done());
}

#[test]
fn a_response_stream_has_all_events_in_order() {
    let request = json!({ "model": "m", "input": [{ "role": "user", "content": "a b" }] });
    let whole = body(Operation::Responses, &request);
    assert_eq!(whole["output"][0]["content"][0]["text"], "a b");
    let reply = ask(Operation::Responses, &with(request, json!({ "stream": true })));
    let events = events(&reply);
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], number);
    }
    assert_eq!(events[9]["response"], whole);
    let observer = observe(Operation::Responses, &reply);
    assert!(observer.complete() && observer.done());
    assert_eq!(tokens(&observer), (Some(2), Some(2)));
}

#[test]
fn a_response_calls_functions_and_returns_their_results() {
    let tools = json!([{ "type": "function", "name": "f", "parameters": {} }]);
    let request = json!({ "input": "call f", "tools": tools, "stream": true });
    let events = events(&ask(Operation::Responses, &request));
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"response.function_call_arguments.done"), "{kinds:?}");
    assert_eq!(events.last().unwrap()["response"]["output"][0]["name"], "f");
    let result = json!({ "tools": tools, "tool_choice": "required", "input": [
        { "role": "user", "content": "call f" },
        { "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}" },
        { "type": "function_call_output", "call_id": "c", "output": "42 it is" },
    ] });
    let whole = body(Operation::Responses, &result);
    assert_eq!(whole["output"][0]["content"][0]["text"], "42 it is");
    let counted = body(Operation::ResponsesInputTokens, &json!({ "input": "a b c" }));
    assert_eq!(counted["input_tokens"], 3);
}

#[test]
fn embeddings_depend_on_the_text_alone() {
    let request = json!({ "input": ["a", "b", "a"], "dimensions": 4 });
    let floats = body(Operation::Embeddings, &request);
    let vector = |n: usize| floats["data"][n]["embedding"].clone();
    assert_eq!(vector(0), vector(2));
    assert_ne!(vector(0), vector(1));
    let numbers: Vec<f64> = serde_json::from_value(vector(0)).unwrap();
    let length: f64 = numbers.iter().map(|number| number * number).sum();
    assert!(numbers.len() == 4 && (length - 1.0).abs() < 1e-6, "{numbers:?}");

    let base64 =
        body(Operation::Embeddings, &with(request, json!({ "encoding_format": "base64" })));
    let bytes = STANDARD.decode(base64["data"][0]["embedding"].as_str().unwrap()).unwrap();
    let first = f32::from_le_bytes(bytes[..4].try_into().unwrap());
    assert!(bytes.len() == 16 && (f64::from(first) - numbers[0]).abs() < 1e-6);

    assert_eq!(
        body(Operation::Embeddings, &json!({ "input": [1, 2] }))["usage"]["prompt_tokens"],
        2
    );
    for bad in [json!({ "input": "a", "dimensions": -1 }), json!({ "input": [] }), json!({})] {
        assert_eq!(ask(Operation::Embeddings, &bad).status, 400, "{bad}");
    }
    let large = json!({ "input": vec!["a"; 2048], "dimensions": 3072 });
    assert_eq!(ask(Operation::Embeddings, &large).status, 400);
}

#[test]
fn other_operations_are_not_supported() {
    for operation in [Operation::Speech, Operation::Moderations, Operation::Rerank] {
        assert_eq!(ask(operation, &json!({ "input": "a" })).status, 404);
    }
}

#[test]
fn a_model_name_selects_a_broken_stream() {
    for operation in [Operation::Chat, Operation::Responses, Operation::Completions] {
        let request = |model: &str| {
            let input =
                json!({ "model": model, "stream": true, "input": "a b c", "prompt": "a b c" });
            with(chat_request("a b c"), input)
        };
        let cut = observe(operation, &ask(operation, &request("cut-stream")));
        assert!(cut.begun() && cut.at_boundary() && cut.failure().is_none());
        assert!(!cut.complete() && !cut.done());
        let failed = observe(operation, &ask(operation, &request("error-in-stream")));
        assert!(failed.begun() && failed.failure().is_some());
    }
}
