//! The echo provider's answers, read as a client and as the listener reads them.

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

/// The data of each event but `[DONE]`.
fn events(reply: &Reply) -> Vec<Value> {
    assert_eq!((reply.status, reply.content_type), (200, "text/event-stream"));
    let data = reply.frames.iter().map(|frame| {
        let text = std::str::from_utf8(frame).unwrap();
        assert!(text.ends_with("\n\n"), "{text:?} is no whole event");
        text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap()
    });
    data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

fn listen(operation: Operation, reply: &Reply) -> ResponseObserver {
    let mut listener = ResponseObserver::new(
        operation,
        Framing::of(operation, Some(reply.content_type.as_bytes())),
    );
    for frame in &reply.frames {
        listener.hear(frame);
    }
    listener
}

fn tokens(listener: &ResponseObserver) -> (Option<u64>, Option<u64>) {
    let Usage { input, output, .. } = listener.usage();
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
fn chat_answers_with_the_last_users_words() {
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
fn a_chat_stream_is_the_same_answer_a_word_an_event() {
    let request = with(
        chat_request("hello  there\nyou"),
        json!({ "stream": true, "stream_options": { "include_usage": true } }),
    );
    let reply = ask(Operation::Chat, &request);
    let events = events(&reply);
    let delta = |event: &Value| event["choices"][0]["delta"]["content"].as_str().map(str::to_owned);
    let words: Vec<_> = events.iter().filter_map(delta).collect();
    assert_eq!(words, ["", "hello", "  there", "\nyou"]);
    let listener = listen(Operation::Chat, &reply);
    assert!(listener.complete() && listener.done() && listener.failure().is_none());
    assert_eq!(tokens(&listener), (Some(5), Some(3)));
    let request = with(chat_request("x"), json!({ "stream": true }));
    assert_eq!(tokens(&listen(Operation::Chat, &ask(Operation::Chat, &request))), (None, None));
}

#[test]
fn a_token_limit_cuts_the_answer() {
    let whole = body(Operation::Chat, &with(chat_request("a b c"), json!({ "max_tokens": 2 })));
    assert_eq!(whole["choices"][0]["message"]["content"], "a b");
    assert_eq!(whole["choices"][0]["finish_reason"], "length");
    let request = json!({ "input": "a b c", "max_output_tokens": 1, "stream": true });
    let last = events(&ask(Operation::Responses, &request)).pop().unwrap();
    assert_eq!(last["type"], "response.incomplete");
    assert_eq!(last["response"]["incomplete_details"]["reason"], "max_output_tokens");
}

#[test]
fn tools_are_called_when_they_must_be() {
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
    assert!(listen(Operation::Chat, &reply).complete());
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
fn completions_answer_each_prompt() {
    let whole = body(Operation::Completions, &json!({ "prompt": ["a b", "c"] }));
    assert_eq!(whole["choices"][0]["text"], "a b");
    assert_eq!(whole["choices"][1]["text"], "c");
    let reply = ask(Operation::Completions, &json!({ "prompt": "a b", "stream": true }));
    let texts: Vec<_> =
        events(&reply).iter().map(|event| event["choices"][0]["text"].clone()).collect();
    assert_eq!(texts, ["a", " b", ""]);
    assert!(listen(Operation::Completions, &reply).done());
}

#[test]
fn a_response_stream_has_every_event_in_order() {
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
    let listener = listen(Operation::Responses, &reply);
    assert!(listener.complete() && listener.done());
    assert_eq!(tokens(&listener), (Some(2), Some(2)));
}

#[test]
fn a_response_calls_functions_and_reads_their_results() {
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
fn moderations_flag_nothing() {
    let answer = body(Operation::Moderations, &json!({ "input": ["a", "b"] }));
    assert_eq!(answer["results"].as_array().unwrap().len(), 2);
    assert_eq!(answer["results"][1]["flagged"], false);
    assert_eq!(answer["results"][0]["categories"]["self-harm/intent"], false);
}

#[test]
fn reranking_puts_the_documents_with_the_querys_words_first() {
    let request = json!({
        "query": "red apple", "documents": ["a pear", "one apple", { "text": "Red apple" }],
        "top_n": 2, "return_documents": true,
    });
    let answer = body(Operation::Rerank, &request);
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    assert_eq!((&results[0]["index"], &results[1]["index"]), (&json!(2), &json!(1)));
    assert_eq!(results[0]["document"]["text"], "Red apple");
}

fn form(fields: &[(&str, &str)]) -> Vec<u8> {
    let parts = fields.iter().flat_map(|(disposition, value)| {
        ["--XX\r\nContent-Disposition: form-data; ", disposition, "\r\n\r\n", value, "\r\n"]
    });
    parts.chain(["--XX--\r\n"]).collect::<String>().into_bytes()
}

#[test]
fn transcripts_name_the_file_and_its_size() {
    let file = (r#"name="file"; filename="a.wav""#, "RIFF....");
    let transcript = |more: &[(&str, &str)]| {
        let fields = [&[file, (r#"name="model""#, "whisper-1")], more].concat();
        answer(Operation::Transcriptions, &form(&fields), "7", 0)
    };
    let whole: Value = serde_json::from_slice(&transcript(&[]).frames[0]).unwrap();
    assert_eq!(whole["text"], "a.wav, 8 bytes");
    let plain = transcript(&[(r#"name="response_format""#, "text")]);
    assert_eq!(plain.content_type, "text/plain; charset=utf-8");
    assert_eq!(&plain.frames[0][..], b"a.wav, 8 bytes\n");
    let stream = transcript(&[(r#"name="stream""#, "true")]);
    let listener = listen(Operation::Transcriptions, &stream);
    assert!(listener.done() && tokens(&listener) == (Some(1), Some(3)));
    assert_eq!(events(&stream).len(), 4);
    let missing = form(&[(r#"name="model""#, "whisper-1")]);
    assert_eq!(answer(Operation::Translations, &missing, "7", 0).status, 400);
}

#[test]
fn speech_is_a_wav_of_silence() {
    let reply = ask(Operation::Speech, &json!({ "input": "say this", "voice": "x" }));
    assert_eq!(reply.content_type, "audio/wav");
    let wav = &reply.frames[0];
    let size = |at: usize| u32::from_le_bytes(wav[at..at + 4].try_into().unwrap()) as usize;
    assert_eq!(
        (&wav[..4], &wav[8..16], &wav[36..40]),
        (&b"RIFF"[..], &b"WAVEfmt "[..], &b"data"[..])
    );
    assert_eq!((size(4) + 8, size(40) + 44), (wav.len(), wav.len()));
    let reply = ask(Operation::Speech, &json!({ "input": "a b", "stream_format": "sse" }));
    let listener = listen(Operation::Speech, &reply);
    assert!(listener.done() && tokens(&listener) == (Some(2), Some(1)));
}

#[test]
fn images_are_a_png() {
    let answer = body(Operation::ImageGenerations, &json!({ "prompt": "a cat" }));
    let png = STANDARD.decode(answer["data"][0]["b64_json"].as_str().unwrap()).unwrap();
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n") && png.ends_with(b"IEND\xaeB`\x82"));
    let reply = ask(Operation::ImageEdits, &json!({ "prompt": "a cat", "stream": true }));
    assert!(listen(Operation::ImageEdits, &reply).done());
}

#[test]
fn a_stream_can_break_on_request() {
    for operation in [Operation::Chat, Operation::Responses, Operation::Completions] {
        let request = |model: &str| {
            let input =
                json!({ "model": model, "stream": true, "input": "a b c", "prompt": "a b c" });
            with(chat_request("a b c"), input)
        };
        let cut = listen(operation, &ask(operation, &request("cut-stream")));
        assert!(cut.begun() && cut.at_boundary() && cut.failure().is_none());
        assert!(!cut.complete() && !cut.done());
        let failed = listen(operation, &ask(operation, &request("error-in-stream")));
        assert!(failed.begun() && failed.failure().is_some());
    }
}
