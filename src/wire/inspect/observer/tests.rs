use super::*;
use crate::wire::failure::class::Class;

fn observe(operation: Operation, text: &str) -> ResponseObserver {
    let mut listener = ResponseObserver::new(operation, Framing::Events);
    listener.observe(text.as_bytes());
    listener
}

fn chat(chunks: &[&str]) -> ResponseObserver {
    let text: String = chunks.iter().flat_map(|chunk| ["data: ", chunk, "\n\n"]).collect();
    observe(Operation::Chat, &text)
}

const WORD: &str =
    r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}],"usage":null}"#;
const STOP: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;

#[test]
fn comments_pings_and_empty_events_are_no_beginning() {
    let quiet = ": hello\n\ndata:\n\ndata:  \n\nevent: ping\ndata: {}\n\nid: 1\n\n";
    assert!(!observe(Operation::Chat, quiet).begun());
    assert!(chat(&[WORD]).begun());
    assert!(!ResponseObserver::new(Operation::Chat, Framing::Whole).begun());
}

#[test]
fn a_chat_is_complete_when_all_its_choices_are() {
    assert!(!chat(&[]).complete());
    assert!(!chat(&[WORD]).complete());
    assert!(chat(&[WORD, STOP]).complete() && !chat(&[WORD, STOP]).done());
    assert!(chat(&[WORD, "[DONE]"]).complete() && chat(&[WORD, "[DONE]"]).done());
    let second = WORD.replace(r#""index":0"#, r#""index": 1"#);
    assert!(!chat(&[WORD, &second, STOP]).complete());
    let mut late = vec![WORD; 50];
    late.extend([&second, STOP, &second]);
    assert!(!chat(&late).complete());
    let second_stop = STOP.replace(r#""index":0"#, r#""index":1"#);
    assert!(chat(&[WORD, &second, STOP, &second_stop]).complete());
    let empty = r#"{"choices":[{"index":0,"delta":{},"finish_reason":""}]}"#;
    assert!(!chat(&[WORD, empty]).complete());
}

#[test]
fn text_is_never_taken_for_members() {
    let text = r#"{"choices":[{"delta":{"content":"\"finish_reason\":\"stop\" \"usage\":{} \"error\":{} [DONE]"},"index":0,"finish_reason":null}]}"#;
    let words: Vec<String> = ["usage", "error", "finish_reason", "index", "[DONE]"]
        .map(|word| WORD.replace("\"a\"", &format!("\"{word}\"")))
        .into();
    let mut chunks = vec![text];
    chunks.extend(words.iter().map(String::as_str));
    let listener = chat(&chunks);
    assert!(listener.begun() && !listener.complete() && !listener.done());
    assert_eq!((listener.failure(), listener.usage()), (None, Usage::default()));
}

#[test]
fn the_last_usage_counts() {
    let first = r#"{"choices":[],"usage" : {"prompt_tokens":1,"completion_tokens":1}}"#;
    let last = r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":9}}"#;
    assert_eq!(chat(&[first, last, WORD]).usage().output, Some(9));
    let groq = r#"{"choices":[],"x_groq":{"usage":{"prompt_tokens":7}}}"#;
    assert_eq!(chat(&[WORD, groq]).usage().input, Some(7));
}

#[test]
fn errors_in_a_stream_are_heard_once() {
    let error = r#"{"error":{"message":"Rate limit","code":"rate_limit_exceeded"}}"#;
    let other = r#"{"error":{"message":"x","type":"server_error"}}"#;
    let listener = chat(&[WORD, error, other]);
    assert_eq!(listener.failure().map(|failure| failure.class), Some(Class::Throttled));
    assert!(!listener.complete());
    let named = "event: error\ndata: {\"message\":\"overloaded\"}\n\n";
    let failure = observe(Operation::Chat, named).failure();
    assert_eq!(failure.map(|failure| failure.class), Some(Class::Trouble));
    assert_eq!(chat(&[r#"{"error":null,"choices":[]}"#]).failure(), None);
}

#[test]
fn typed_streams_end_with_their_own_event() {
    let text = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"error\":null,\"usage\":null}}\n\n\
        data: {\"type\":\"response.output_text.delta\",\"delta\":\"response.completed\"}\n\n";
    let listener = observe(Operation::Responses, text);
    assert!(!listener.complete() && !listener.done());
    let end = "data: {\"response\":{\"usage\":{\"input_tokens\":3}},\"type\":\"response.completed\"}\nevent: response.completed\n\n";
    let listener = observe(Operation::Responses, &[text, end].concat());
    assert!(listener.complete() && listener.done());
    assert_eq!(listener.usage().input, Some(3));
    let failed = "data: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"rate_limit_exceeded\"}}}\n\n";
    let failure = observe(Operation::Responses, failed).failure();
    assert_eq!(failure.map(|failure| failure.class), Some(Class::Throttled));
    let flat = "data: {\"type\":\"error\",\"code\":\"insufficient_quota\",\"message\":\"m\"}\n\n";
    let failure = observe(Operation::Responses, flat).failure();
    assert_eq!(failure.map(|failure| failure.class), Some(Class::NoCredit));
    let speech = "data: {\"type\":\"speech.audio.done\",\"usage\":{\"output_tokens\":4}}\n\n";
    let listener = observe(Operation::Speech, speech);
    assert_eq!((listener.done(), listener.usage().output), (true, Some(4)));
}

#[test]
fn unknown_events_are_complete_when_they_end() {
    assert!(observe(Operation::Chat, "data: {\"x\":1}\n\n").complete());
    assert!(observe(Operation::Responses, "event: novel\ndata: {}\n\n").complete());
    assert!(!observe(Operation::Responses, "").complete());
}

#[test]
fn events_too_long_to_gather_are_read_as_they_pass() {
    let filler = "x".repeat(3 * GATHERED);
    let named = format!(
        "event: image_generation.completed\ndata: {{\"b64_json\":\"{filler}\",\"usage\":{{\"input_tokens\":2}}}}\n\n"
    );
    let unnamed = format!(
        "data: {{\"response\":{{\"instructions\":\"{filler}\",\"usage\":{{\"input_tokens\":2}}}},\"type\":\"response.completed\"}}\n\n"
    );
    let failed = unnamed.replace("usage", "error").replace("completed", "failed");
    for size in [1000, GATHERED, 2 * GATHERED, 10 * GATHERED] {
        for text in [&named, &unnamed] {
            let mut listener = ResponseObserver::new(Operation::Responses, Framing::Events);
            text.as_bytes().chunks(size).for_each(|chunk| listener.observe(chunk));
            assert!(listener.done() && listener.at_boundary(), "chunks of {size}");
            assert_eq!(listener.usage().input, Some(2), "chunks of {size}");
        }
        let mut listener = ResponseObserver::new(Operation::Responses, Framing::Events);
        failed.as_bytes().chunks(size).for_each(|chunk| listener.observe(chunk));
        assert!(listener.failure().is_some(), "chunks of {size}");
    }
}

#[test]
fn the_usage_of_a_whole_body_is_read_in_any_chunks() {
    let body =
        r#"{"data":[{"embedding":[0.1,-2e5]}],"text":"\"usage\":{","usage":{"prompt_tokens":8}} "#;
    for size in 1..body.len() {
        let mut listener = ResponseObserver::new(Operation::Embeddings, Framing::Whole);
        body.as_bytes().chunks(size).for_each(|chunk| listener.observe(chunk));
        assert_eq!(listener.usage().input, Some(8), "chunks of {size}");
        assert!(listener.begun() && listener.complete() && !listener.at_boundary());
    }
    let mut audio = ResponseObserver::new(Operation::Speech, Framing::Whole);
    audio.observe(b"RIFF\"usage\":{}");
    assert_eq!(audio.usage(), Usage::default());
}

#[test]
fn an_error_event_goes_between_events_only() {
    let mut listener = ResponseObserver::new(Operation::Chat, Framing::Events);
    assert!(listener.at_boundary());
    listener.observe(b"data: {");
    assert!(!listener.at_boundary());
    listener.observe(b"}\n\n");
    assert!(listener.at_boundary());
}

#[test]
fn an_error_event_is_heard_as_a_failure() {
    let word = "the provider \"broke off\"";
    for operation in Operation::all() {
        for framing in [Framing::Events, Framing::Array, Framing::Aws] {
            let mut listener = ResponseObserver::new(operation, framing);
            let ending = listener.cut(word, "upstream_error");
            listener.observe(&ending.bytes);
            let failure = listener.failure();
            assert_eq!(failure.map(|failure| failure.class), Some(Class::Trouble), "{operation:?}");
            let error = String::from_utf8(listener.error_body().unwrap().body.clone()).unwrap();
            assert!(error.contains("broke off"), "{error}");
        }
        assert!(ResponseObserver::new(operation, Framing::Whole).cut(word, "").bytes.is_empty());
    }
}

#[test]
fn the_framing_is_that_of_the_content_type() {
    let of = |operation, kind: &str| Framing::of(operation, Some(kind.as_bytes()));
    let gemini = Operation::StreamGenerateContent;
    assert_eq!(of(Operation::Chat, "Text/Event-Stream ; charset=utf-8"), Framing::Events);
    assert_eq!(of(Operation::Chat, "text/event-streams"), Framing::Whole);
    assert_eq!(of(gemini, "text/event-stream"), Framing::Events);
    assert_eq!(of(gemini, "application/json; charset=UTF-8"), Framing::Array);
    assert_eq!(of(Operation::GenerateContent, "application/json"), Framing::Whole);
    assert_eq!(of(Operation::InvokeStream, "application/vnd.amazon.eventstream"), Framing::Aws);
    assert_eq!(Framing::of(gemini, None), Framing::Whole);
}

#[test]
fn what_opens_a_stream_is_no_beginning() {
    for (operation, opening, next) in [
        (
            Operation::Responses,
            "event: response.created\ndata: {}\n\ndata: {\"type\":\"response.in_progress\"}\n\n",
            "event: response.output_item.added\ndata: {}\n\n",
        ),
        (
            Operation::Messages,
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{}}\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\n",
            "event: content_block_start\ndata: {}\n\n",
        ),
        (
            Operation::CohereChat,
            "event: message-start\ndata: {\"type\":\"message-start\"}\n\n",
            "data: {\"type\":\"content-start\"}\n\n",
        ),
        (Operation::Prediction, ": hi\n\n", "event: output\ndata: x\n\n"),
    ] {
        assert!(!observe(operation, opening).begun(), "{opening}");
        let listener = observe(operation, &[opening, next].concat());
        assert!(listener.begun() && !listener.complete(), "{next}");
    }
}

#[test]
fn an_error_behind_the_opening_is_told_as_an_answer() {
    let overloaded =
        "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}";
    let limit = overloaded.replace("overloaded_error", "rate_limit_error");
    let opening = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{}}\n\n";
    for (error, class) in [(overloaded, Class::Trouble), (&limit, Class::Throttled)] {
        let listener =
            observe(Operation::Messages, &format!("{opening}event: error\ndata: {error}\n\n"));
        assert_eq!(listener.failure().map(|failure| failure.class), Some(class));
        assert_eq!(listener.error_body().map(|error| &*error.body), Some(error.as_bytes()));
        assert!(listener.begun() && !listener.complete());
    }
    let error = "{\"error\":{\"code\":429,\"message\":\"x\",\"status\":\"RESOURCE_EXHAUSTED\",\"details\":[{\"retryDelay\":\"7s\"}]}}";
    let failure =
        observe(Operation::StreamGenerateContent, &format!("data: {error}\r\n\r\n")).failure();
    assert_eq!(failure.and_then(|failure| failure.retry_after).map(|wait| wait.as_secs()), Some(7));
    let ended = "event: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"ERROR\",\"error\":\"no\"}}\n\n";
    let listener = observe(Operation::CohereChat, ended);
    assert!(listener.failure().is_some() && !listener.complete());
    let replicate = "event: error\nid: 1\ndata: CUDA out of memory\n\nevent: done\nid: 2\ndata: {\"reason\":\"error\"}\n\n";
    let listener = observe(Operation::Prediction, replicate);
    assert!(listener.failure().is_some());
    assert_eq!(
        listener.error_body().map(|error| &*error.body),
        Some(&b"{\"detail\":\"CUDA out of memory\"}"[..])
    );
}

#[test]
fn an_exception_of_bedrock_is_named_as_its_sdks_know_it() {
    let mut listener = ResponseObserver::new(Operation::ConverseStream, Framing::Aws);
    listener.observe(&crate::wire::frame::aws_event_stream::exception(
        "throttlingException",
        "Too many",
    ));
    assert_eq!(listener.failure().map(|failure| failure.class), Some(Class::Throttled));
    let error = listener.error_body().unwrap();
    assert_eq!(error.kind.as_deref(), Some("ThrottlingException"));
    assert_eq!(error.body, b"{\"message\":\"Too many\"}");
}

#[test]
fn an_array_is_cut_between_its_elements_only() {
    let part = "{\"candidates\":[{\"index\":0}]}";
    for (heard, ended) in [
        (String::new(), true),
        ("[".to_owned(), true),
        (format!("[{part}"), true),
        (format!("[{part}\n,\r\n"), true),
        (format!("[{part},{{\"cand"), false),
    ] {
        let mut listener = ResponseObserver::new(Operation::StreamGenerateContent, Framing::Array);
        listener.observe(heard.as_bytes());
        assert!(!listener.complete(), "{heard}");
        let ending = listener.cut("x", "y");
        let whole = [heard.as_bytes(), &ending.bytes].concat();
        let read = serde_json::from_slice::<Vec<serde_json::Value>>(&whole);
        assert_eq!(read.is_ok(), ended, "{}", String::from_utf8_lossy(&whole));
        assert_eq!(ending.breaks, !ended);
        if let Ok(elements) = read {
            assert!(elements.last().unwrap()["error"].is_object());
        }
    }
}

#[test]
fn a_response_with_an_image_is_read_as_it_passes() {
    let image = "x".repeat(2 * GATHERED);
    let response = format!(
        "{{\"candidates\":[{{\"content\":{{\"data\":\"{image}\"}},\"finishReason\":\"STOP\"}}],\"usageMetadata\":{{\"promptTokenCount\":5,\"candidatesTokenCount\":1290}}}}"
    );
    let forms = [
        (Framing::Events, format!("data: {response}\r\n\r\n")),
        (Framing::Array, format!("[{response}\n]")),
    ];
    for (framing, text) in forms {
        let mut listener = ResponseObserver::new(Operation::StreamGenerateContent, framing);
        text.as_bytes().chunks(1000).for_each(|chunk| listener.observe(chunk));
        assert!(listener.complete(), "{framing:?}");
        assert_eq!((listener.usage().input, listener.usage().output), (Some(5), Some(1290)));
    }
}

#[test]
fn a_finish_reason_counts_until_the_next_part() {
    let part = |reason: &str| format!("data: {{\"candidates\":[{{\"index\":0{reason}}}]}}\n\n");
    let stop = part(",\"finishReason\":\"STOP\"");
    let gemini = Operation::StreamGenerateContent;
    assert!(observe(gemini, &stop).complete() && !observe(gemini, &stop).finished());
    assert!(!observe(gemini, &[stop, part("")].concat()).complete());
    let blocked = "data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}\n\n";
    assert!(observe(gemini, blocked).complete());
}

#[test]
fn the_counts_of_a_guardrail_are_not_the_answers() {
    let body = r#"{"output":{},"usage":{"inputTokens":30,"outputTokens":51},"amazon-bedrock-trace":{"usage":{"topicPolicyUnits":1}}}"#;
    let mut listener = ResponseObserver::new(Operation::Invoke, Framing::Whole);
    body.as_bytes().chunks(7).for_each(|chunk| listener.observe(chunk));
    assert_eq!((listener.usage().input, listener.usage().output), (Some(30), Some(51)));
    let mut listener = ResponseObserver::new(Operation::Invoke, Framing::Whole);
    listener.read_head(&|name| (name == "x-amzn-bedrock-input-token-count").then_some("18"));
    listener.observe(b"{\"embedding\":[1]}");
    assert_eq!(listener.usage(), Usage { input: Some(18), ..Usage::default() });
}
