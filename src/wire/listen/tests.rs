use super::super::failure::Class;
use super::*;

fn hear(operation: Operation, text: &str) -> Listener {
    let mut listener = Listener::new(operation, true);
    listener.hear(text.as_bytes());
    listener
}

fn chat(chunks: &[&str]) -> Listener {
    let text: String = chunks.iter().flat_map(|chunk| ["data: ", chunk, "\n\n"]).collect();
    hear(Operation::Chat, &text)
}

const WORD: &str =
    r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}],"usage":null}"#;
const STOP: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;

#[test]
fn comments_pings_and_empty_events_are_no_beginning() {
    let quiet = ": hello\n\ndata:\n\ndata:  \n\nevent: ping\ndata: {}\n\nid: 1\n\n";
    assert!(!hear(Operation::Chat, quiet).begun());
    assert!(chat(&[WORD]).begun());
    assert!(!Listener::new(Operation::Chat, false).begun());
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
    let failure = hear(Operation::Chat, named).failure();
    assert_eq!(failure.map(|failure| failure.class), Some(Class::Trouble));
    assert_eq!(chat(&[r#"{"error":null,"choices":[]}"#]).failure(), None);
}

#[test]
fn typed_streams_end_with_their_own_event() {
    let text = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"error\":null,\"usage\":null}}\n\n\
        data: {\"type\":\"response.output_text.delta\",\"delta\":\"response.completed\"}\n\n";
    let listener = hear(Operation::Responses, text);
    assert!(!listener.complete() && !listener.done());
    let end = "data: {\"response\":{\"usage\":{\"input_tokens\":3}},\"type\":\"response.completed\"}\nevent: response.completed\n\n";
    let listener = hear(Operation::Responses, &[text, end].concat());
    assert!(listener.complete() && listener.done());
    assert_eq!(listener.usage().input, Some(3));
    let failed = "data: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"rate_limit_exceeded\"}}}\n\n";
    let failure = hear(Operation::Responses, failed).failure();
    assert_eq!(failure.map(|failure| failure.class), Some(Class::Throttled));
    let flat = "data: {\"type\":\"error\",\"code\":\"insufficient_quota\",\"message\":\"m\"}\n\n";
    let failure = hear(Operation::Responses, flat).failure();
    assert_eq!(failure.map(|failure| failure.class), Some(Class::NoCredit));
    let speech = "data: {\"type\":\"speech.audio.done\",\"usage\":{\"output_tokens\":4}}\n\n";
    let listener = hear(Operation::Speech, speech);
    assert_eq!((listener.done(), listener.usage().output), (true, Some(4)));
}

#[test]
fn unknown_events_are_complete_when_they_end() {
    assert!(hear(Operation::Chat, "data: {\"x\":1}\n\n").complete());
    assert!(hear(Operation::Responses, "event: novel\ndata: {}\n\n").complete());
    assert!(!hear(Operation::Responses, "").complete());
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
            let mut listener = Listener::new(Operation::Responses, true);
            text.as_bytes().chunks(size).for_each(|chunk| listener.hear(chunk));
            assert!(listener.done() && listener.at_boundary(), "chunks of {size}");
            assert_eq!(listener.usage().input, Some(2), "chunks of {size}");
        }
        let mut listener = Listener::new(Operation::Responses, true);
        failed.as_bytes().chunks(size).for_each(|chunk| listener.hear(chunk));
        assert!(listener.failure().is_some(), "chunks of {size}");
    }
}

#[test]
fn the_usage_of_a_whole_body_is_read_in_any_chunks() {
    let body =
        r#"{"data":[{"embedding":[0.1,-2e5]}],"text":"\"usage\":{","usage":{"prompt_tokens":8}} "#;
    for size in 1..body.len() {
        let mut listener = Listener::new(Operation::Embeddings, false);
        body.as_bytes().chunks(size).for_each(|chunk| listener.hear(chunk));
        assert_eq!(listener.usage().input, Some(8), "chunks of {size}");
        assert!(listener.begun() && listener.complete() && !listener.at_boundary());
    }
    let mut audio = Listener::new(Operation::Speech, false);
    audio.hear(b"RIFF\"usage\":{}");
    assert_eq!(audio.usage(), Usage::default());
}

#[test]
fn an_error_event_goes_between_events_only() {
    let mut listener = Listener::new(Operation::Chat, true);
    assert!(listener.at_boundary());
    listener.hear(b"data: {");
    assert!(!listener.at_boundary());
    listener.hear(b"}\n\n");
    assert!(listener.at_boundary());
}

#[test]
fn an_error_event_is_heard_as_a_failure() {
    for operation in Operation::all() {
        let event = error_event(operation, "the provider \"broke off\"", "upstream_cut");
        let mut listener = Listener::new(operation, true);
        listener.hear(&event);
        let failure = listener.failure();
        assert_eq!(failure.map(|failure| failure.class), Some(Class::Trouble));
        assert!(listener.at_boundary());
    }
}
