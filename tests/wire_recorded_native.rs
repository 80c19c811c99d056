//! What the wire room makes of recorded traffic in other forms than OpenAI's, against a plain reading of
//! the same bytes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "so a test fails")]
#![allow(clippy::print_stderr, reason = "says what was skipped and how much was read")]

#[path = "wire_recorded/exchanges.rs"]
mod exchanges;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use exchanges::Exchange;
use serde_json::Value;

use keymux::wire::api::{Api, Framing, Operation};
use keymux::wire::failure::class::{Class, Failure};
use keymux::wire::failure::classify::classify;
use keymux::wire::frame::aws_event_stream::{Frame, FrameDecoder};
use keymux::wire::inspect::observer::ResponseObserver;
use keymux::wire::inspect::usage::Usage;

#[derive(Debug, PartialEq)]
struct Heard {
    begun: bool,
    complete: bool,
    finished: bool,
    done: bool,
    at_boundary: bool,
    failure: Option<Failure>,
    usage: Usage,
}

fn listener(exchange: &Exchange) -> ResponseObserver {
    let mut listener = ResponseObserver::new(exchange.operation, exchange.framing());
    listener.read_head(&|name| exchange.header(name));
    listener
}

fn hear<'b>(exchange: &Exchange, chunks: impl Iterator<Item = &'b [u8]>) -> Heard {
    let mut listener = listener(exchange);
    chunks.for_each(|chunk| listener.observe(chunk));
    Heard {
        begun: listener.begun(),
        complete: listener.complete(),
        finished: listener.finished(),
        done: listener.done(),
        at_boundary: listener.at_boundary(),
        failure: listener.failure(),
        usage: listener.usage(),
    }
}

fn answers() -> Vec<Exchange> {
    let all = exchanges::all(false).unwrap_or_default().into_iter();
    all.filter(|exchange| exchange.status < 300).collect()
}

fn streams() -> Vec<Exchange> {
    answers().into_iter().filter(Exchange::is_stream).collect()
}

#[test]
fn any_cut_into_chunks_is_heard_the_same() {
    for exchange in answers() {
        let (id, body) = (&exchange.id, exchange.body.as_slice());
        let whole = hear(&exchange, std::iter::once(body));
        for size in [1, 2, 7, 100, 1000, 4096] {
            assert_eq!(hear(&exchange, body.chunks(size)), whole, "{id}, chunks of {size}");
        }
        if body.len() < 2500 {
            for at in 0..body.len() {
                let heard = hear(&exchange, [&body[..at], &body[at..]].into_iter());
                assert_eq!(heard, whole, "{id}, cut at {at}");
            }
        }
    }
}

#[test]
fn recorded_streams_are_complete_at_their_end_and_not_before() {
    let streams = streams();
    for exchange in &streams {
        let (id, body) = (&exchange.id, exchange.body.as_slice());
        let end = end_of_answer(exchange);
        let mut listener = listener(exchange);
        for (at, byte) in body.iter().enumerate() {
            assert!(!listener.complete() || at > end, "{id} is complete at {at}, before {end}");
            assert!(!listener.finished() || at > end, "{id} is finished at {at}, before {end}");
            listener.observe(&[*byte]);
        }
        assert!(listener.begun() && listener.complete(), "{id}");
        assert_eq!(listener.failure(), None, "{id}");
        // Nothing can be put behind an array; what follows Replicate's last event is not closed.
        let open = exchange.framing() != Framing::Array;
        assert_eq!(listener.at_boundary(), open, "{id}");
        // Of Gemini's events, and of what some vendors stream through Bedrock, HTTP alone says the end.
        let gemini =
            exchange.framing() == Framing::Events && exchange.operation.api() == Api::Gemini;
        let says_its_end = !gemini && !id.contains("titan-text-express");
        assert_eq!(listener.finished(), says_its_end, "{id}");
    }
    eprintln!("{} streams", streams.len());
}

/// Where the event begins with which the answer is whole.
fn end_of_answer(exchange: &Exchange) -> usize {
    let last = |needle: &str| {
        let needle = needle.as_bytes();
        exchange.body.windows(needle.len()).rposition(|window| window == needle)
    };
    match exchange.operation {
        Operation::Messages | Operation::StreamRawPredict => {
            last("event: message_stop").or(last("event: message\n"))
        }
        Operation::StreamGenerateContent if exchange.framing() == Framing::Array => last("]"),
        Operation::StreamGenerateContent => last("data: "),
        Operation::ConverseStream => last("messageStop"),
        Operation::InvokeStream if exchange.id.contains("titan-text-express") => Some(0),
        // Nova has its counts behind its end.
        Operation::InvokeStream if exchange.id.contains("nova") => {
            let chunks = exchange.body.windows(5).enumerate();
            let mut chunks = chunks.filter(|(_, window)| window == b"chunk").rev();
            chunks.nth(1).map(|(at, _)| at)
        }
        Operation::InvokeStream => last("chunk"),
        Operation::CohereChat => last("event: message-end"),
        Operation::Prediction => last("event: done"),
        operation => panic!("{operation:?} does not stream"),
    }
    .unwrap()
}

/// What a stream consists of, whatever frames it.
fn events(exchange: &Exchange) -> Vec<Value> {
    match exchange.framing() {
        Framing::Array => serde_json::from_slice(&exchange.body).unwrap(),
        Framing::Events => {
            let text = std::str::from_utf8(&exchange.body).unwrap();
            let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
            data.filter_map(|data| serde_json::from_str(data).ok()).collect()
        }
        Framing::Aws => {
            let mut events = Vec::new();
            FrameDecoder::new(1 << 20).push(&exchange.body, |frame| {
                let Frame::Event { payload, .. } = frame else { panic!("{frame:?}") };
                let value: Value = serde_json::from_slice(payload).unwrap();
                let inner = value["bytes"].as_str().map(|inner| STANDARD.decode(inner).unwrap());
                events.push(inner.map_or(value, |inner| serde_json::from_slice(&inner).unwrap()));
            });
            events
        }
        Framing::Whole => serde_json::from_slice(&exchange.body).into_iter().collect(),
    }
}

#[test]
fn usage_is_what_a_plain_reading_finds() {
    let (mut with_input, mut with_output) = (0, 0);
    for exchange in answers() {
        let mut counts = Counts::default();
        for event in events(&exchange) {
            counts.read(exchange.operation.api(), &event);
        }
        if exchange.framing() == Framing::Whole && exchange.operation.api() == Api::Bedrock {
            counts.read_head(&exchange);
        }
        let heard = hear(&exchange, exchange.body.chunks(1000));
        assert_eq!(heard.usage, counts.usage(), "{}", exchange.id);
        with_input += usize::from(heard.usage.input.is_some());
        with_output += usize::from(heard.usage.output.is_some());
    }
    eprintln!("{with_input} exchanges with input tokens, {with_output} with output tokens");
    assert!(exchanges::all(false).is_none() || with_output > 80);
}

/// The last of each number, by the place where it stands.
#[derive(Default)]
struct Counts {
    input: Vec<(&'static str, u64)>,
    cached: Option<u64>,
    output: Vec<(&'static str, u64)>,
    reasoning: Option<u64>,
}

fn set(into: &mut Vec<(&'static str, u64)>, name: &'static str, value: Option<u64>) {
    if let Some(value) = value {
        into.retain(|(own, _)| *own != name);
        into.push((name, value));
    }
}

impl Counts {
    fn read(&mut self, api: Api, event: &Value) {
        let at = |path: &str| event.pointer(path).and_then(Value::as_u64);
        let any = |paths: &[&str]| paths.iter().find_map(|path| at(path));
        match api {
            Api::Gemini => {
                set(&mut self.input, "prompt", at("/usageMetadata/promptTokenCount"));
                set(&mut self.input, "tools", at("/usageMetadata/toolUsePromptTokenCount"));
                self.cached = at("/usageMetadata/cachedContentTokenCount").or(self.cached);
                set(&mut self.output, "answer", at("/usageMetadata/candidatesTokenCount"));
                set(&mut self.output, "thoughts", at("/usageMetadata/thoughtsTokenCount"));
                self.reasoning = at("/usageMetadata/thoughtsTokenCount").or(self.reasoning);
            }
            Api::Cohere => {
                let mut usage = ["/usage", "/delta/usage", "/meta"].iter();
                let usage = usage.find_map(|path| event.pointer(path)).unwrap_or(&Value::Null);
                let at = |path: &str| usage.pointer(path).and_then(Value::as_u64);
                let input = at("/tokens/input_tokens").or(at("/billed_units/input_tokens"));
                set(&mut self.input, "prompt", input);
                self.cached = at("/cached_tokens").or(self.cached);
                let output = at("/tokens/output_tokens").or(at("/billed_units/output_tokens"));
                set(&mut self.output, "answer", output);
                self.reasoning = at("/tokens/reasoning_tokens").or(self.reasoning);
            }
            Api::Anthropic | Api::Bedrock => {
                const METRICS: &str = "/amazon-bedrock-invocationMetrics";
                let metric = |name: &str| at(&format!("{METRICS}/{name}"));
                let usage = |anthropic: &str, aws: &[&str]| {
                    let own = any(&[
                        &format!("/usage/{anthropic}"),
                        &format!("/message/usage/{anthropic}"),
                    ]);
                    let of_aws = aws.iter().find_map(|name| {
                        at(&format!("/usage/{name}")).or(at(&format!("/metadata/usage/{name}")))
                    });
                    own.or(of_aws)
                };
                let input = metric("inputTokenCount").or(usage("input_tokens", &["inputTokens"]));
                set(&mut self.input, "prompt", input);
                let read = ["cacheReadInputTokens", "cacheReadInputTokenCount"];
                let read = metric(read[1]).or(usage("cache_read_input_tokens", &read));
                set(&mut self.input, "read", read);
                self.cached = read.or(self.cached);
                let written = ["cacheWriteInputTokens", "cacheWriteInputTokenCount"];
                let written = metric(written[1]).or(usage("cache_creation_input_tokens", &written));
                set(&mut self.input, "written", written);
                let output =
                    metric("outputTokenCount").or(usage("output_tokens", &["outputTokens"]));
                set(&mut self.output, "answer", output);
                let thought = at("/usage/output_tokens_details/thinking_tokens");
                self.reasoning = thought.or(self.reasoning);
            }
            Api::Replicate => {}
            Api::OpenAi => panic!("is read elsewhere"),
        }
    }

    fn read_head(&mut self, exchange: &Exchange) {
        let count = |name: &str| {
            exchange.header(&format!("x-amzn-bedrock-{name}-token-count"))?.parse::<u64>().ok()
        };
        set(&mut self.input, "prompt", count("input"));
        set(&mut self.input, "read", count("cache-read-input"));
        set(&mut self.input, "written", count("cache-write-input"));
        self.cached = count("cache-read-input").or(self.cached);
        set(&mut self.output, "answer", count("output"));
    }

    fn usage(&self) -> Usage {
        let sum = |counts: &[(&str, u64)]| counts.iter().map(|(_, count)| count).sum();
        let input = self.input.iter().any(|(name, _)| *name == "prompt");
        Usage {
            input: input.then(|| sum(&self.input)),
            cached_input: self.cached,
            cache_write: self.input.iter().find(|(name, _)| *name == "written").map(|(_, n)| *n),
            output: (!self.output.is_empty()).then(|| sum(&self.output)),
            reasoning: self.reasoning,
        }
    }
}

/// Recorded error answers.
const ERRORS: &[(&str, Class)] = &[
    ("anthropic/anthropic.messages/reported-error-429-rate-limit", Class::Throttled),
    ("anthropic/anthropic.messages/reported-error-529-overloaded", Class::Trouble),
    (
        "anthropic/anthropic.messages/unary-error-400-claude-haiku-4-5-20251001-9de04a",
        Class::ContextTooLong,
    ),
    ("anthropic/anthropic.messages/unary-error-400-claude-opus-4-6-d8fcd3", Class::Caller),
    (
        "anthropic/anthropic.messages/unary-error-401-claude-haiku-4-5-20251001-9e7c9d",
        Class::BadCredential,
    ),
    (
        "anthropic/anthropic.messages/unary-error-404-claude-nonexistent-rig-test-aab775",
        Class::NoAccess,
    ),
    (
        "bedrock/bedrock.converse/unary-error-400-tool-result-vision-us-anthropic-claude-sonnet-4-584f97",
        Class::Caller,
    ),
    (
        "bedrock/bedrock.converse/unary-error-400-us-amazon-nova-2-lite-v1-0-a1d113",
        Class::ContextTooLong,
    ),
    (
        "bedrock/bedrock.converse/unary-error-403-us-amazon-nova-2-lite-v1-0-e8889f",
        Class::BadCredential,
    ),
    (
        "bedrock/bedrock.converse/unary-error-404-anthropic-claude-3-5-sonnet-32c8d2",
        Class::NoAccess,
    ),
    ("bedrock/bedrock.converse_stream/stream-error-400-does-not-exist-881f69", Class::NoAccess),
    (
        "bedrock/bedrock.count_tokens/unary-error-400-does-not-exist-model-v1-0-eb101d",
        Class::NoAccess,
    ),
    ("cohere/cohere.chat/unary-error-400-command-a-03-2025-683eb6", Class::ContextTooLong),
    ("cohere/cohere.chat/unary-error-401-command-a-03-2025-c16543", Class::BadCredential),
    ("cohere/cohere.embed/unary-error-404-nonexistent-0a0b18", Class::NoAccess),
    ("google/gemini.batchEmbedContents/unary-error-404-nonexistent-model-e977cd", Class::NoAccess),
    ("google/gemini.countTokens/unary-error-404-nonexistent-model-66850c", Class::NoAccess),
    ("google/gemini.generateContent/unary-error-400-gemini-2-5-flash-ccbf1b", Class::BadCredential),
    (
        "google/gemini.generateContent/unary-error-404-gemini-nonexistent-model-for-1520eb",
        Class::NoAccess,
    ),
    ("google/gemini.generateContent/unary-error-429-eb9bfc", Class::Throttled),
    ("google/gemini.generateContent/unary-error-429-gemini-2-5-flash-9999c5", Class::Throttled),
    (
        "google/gemini.streamGenerateContent/stream-error-404-gemini-nonexistent-rig-test-3daa91",
        Class::NoAccess,
    ),
    ("replicate/replicate.other/unary-error-404-stability-ai-c74db0", Class::NoAccess),
    ("replicate/replicate.predictions/unary-error-401-093543", Class::BadCredential),
    (
        "vertex/gemini.generateContent/unary-error-400-gemini-2-5-flash-1c8915",
        Class::ContextTooLong,
    ),
    (
        "vertex/gemini.generateContent/unary-error-400-tool-result-vision-gemini-3-flash-preview-9abe6e",
        Class::Caller,
    ),
];

#[test]
fn recorded_errors_are_classified() {
    let Some(all) = exchanges::all(false) else { return };
    let errors: Vec<_> = all.iter().filter(|exchange| exchange.status >= 400).collect();
    for exchange in &errors {
        let expected = ERRORS.iter().find(|(id, _)| *id == exchange.id);
        let expected = expected.unwrap_or_else(|| panic!("{} has no expectation", exchange.id)).1;
        let failure = classified(exchange, &exchange.body);
        assert_eq!(failure.class, expected, "{}", exchange.id);
    }
    assert_eq!(errors.len(), ERRORS.len());
}

fn classified(exchange: &Exchange, body: &[u8]) -> Failure {
    classify(exchange.operation.api(), exchange.status, body, &|name| exchange.header(name))
}

#[test]
fn the_wait_that_google_asks_for_is_read() {
    let Some(all) = exchanges::all(false) else { return };
    let waits = all.iter().filter_map(|exchange| {
        let body: Value = serde_json::from_slice(&exchange.body).ok()?;
        let mut details = body["error"]["details"].as_array()?.iter();
        let delay = details.find_map(|detail| detail["retryDelay"].as_str())?;
        let seconds: f64 = delay.trim_end_matches('s').parse().unwrap();
        let heard = classified(exchange, &exchange.body).retry_after.map(|wait| wait.as_secs_f64());
        assert_eq!(heard, Some(seconds), "{}", exchange.id);
        Some(())
    });
    assert_eq!(waits.count(), 2);
}

#[test]
fn damaged_streams_are_survived_and_their_cut_does_not_matter() {
    for (seed, exchange) in (1_usize..).zip(answers()) {
        for round in 0..20 {
            let mut body = exchange.body.clone();
            for step in 1..4 {
                let at = (seed * 7919 + round * 104_729 + step * 1_299_709) % body.len();
                body[at] = b"\"\\{}[]:,\r\n \xff"[(at + round) % 12];
            }
            let whole = hear(&exchange, std::iter::once(body.as_slice()));
            assert_eq!(hear(&exchange, body.chunks(61)), whole, "{} in round {round}", exchange.id);
            classified(&exchange, &body);
        }
    }
}
