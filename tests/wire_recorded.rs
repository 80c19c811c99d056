//! What the wire room makes of recorded traffic, against a plain reading of the same bytes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "so a test fails")]
#![allow(clippy::print_stderr, reason = "says what was skipped and how much was read")]

#[path = "wire_recorded/exchanges.rs"]
mod exchanges;

use bytes::Bytes;
use exchanges::Exchange;
use serde_json::Value;

use keymux::wire::api::{Api, Operation};
use keymux::wire::failure::class::{Class, Failure};
use keymux::wire::failure::classify::classify;
use keymux::wire::failure::rate_limits;
use keymux::wire::frame::sse::{Frame, Sse};
use keymux::wire::inspect::model::peek;
use keymux::wire::inspect::observer::ResponseObserver;
use keymux::wire::inspect::usage::Usage;

#[derive(Debug, PartialEq)]
struct Heard {
    begun: bool,
    complete: bool,
    done: bool,
    at_boundary: bool,
    failure: Option<Failure>,
    usage: Usage,
}

fn hear<'b>(exchange: &Exchange, chunks: impl Iterator<Item = &'b [u8]>) -> Heard {
    let mut listener = ResponseObserver::new(exchange.operation, exchange.framing());
    chunks.for_each(|chunk| listener.observe(chunk));
    Heard {
        begun: listener.begun(),
        complete: listener.complete(),
        done: listener.done(),
        at_boundary: listener.at_boundary(),
        failure: listener.failure(),
        usage: listener.usage(),
    }
}

fn answers() -> Option<Vec<Exchange>> {
    Some(exchanges::all(true)?.into_iter().filter(|exchange| exchange.status == 200).collect())
}

fn streams() -> Option<Vec<Exchange>> {
    let streams: Vec<_> = answers()?.into_iter().filter(Exchange::is_stream).collect();
    assert!(streams.len() > 50, "only {} streams", streams.len());
    Some(streams)
}

/// Sizes of chunks that look random and are the same each time.
struct Sizes(u64);

impl Sizes {
    fn next(&mut self, most: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % most + 1
    }
}

fn random_chunks(body: &[u8], seed: u64, most: usize) -> impl Iterator<Item = &[u8]> {
    let (mut sizes, mut rest) = (Sizes(seed), body);
    std::iter::from_fn(move || {
        let (chunk, behind) = rest.split_at(sizes.next(most).min(rest.len()));
        rest = behind;
        (!chunk.is_empty()).then_some(chunk)
    })
}

#[test]
fn any_cut_into_chunks_is_heard_the_same() {
    for exchange in answers().unwrap_or_default() {
        let (id, body) = (&exchange.id, exchange.body.as_slice());
        let whole = hear(&exchange, std::iter::once(body));
        assert_eq!(hear(&exchange, body.chunks(1)), whole, "{id}, byte by byte");
        for seed in 0..3 {
            for most in [3, 100, 5000] {
                let heard = hear(&exchange, random_chunks(body, seed, most));
                assert_eq!(heard, whole, "{id}, seed {seed}, up to {most} bytes");
            }
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
    for exchange in streams().unwrap_or_default() {
        let (id, body) = (&exchange.id, exchange.body.as_slice());
        let text = std::str::from_utf8(body).unwrap();
        // A failed response is an end too; Groq's error is followed by nothing.
        let failed = exchange.has("error_in_stream");
        let ends = !failed || exchange.operation == Operation::Responses;
        let last_event = match text.trim_end().rfind("\n\n") {
            Some(at) if ends => at + 2,
            // Perplexity, with CRLF, repeats itself and has no last event of its own.
            _ => text.len(),
        };
        let finish = first_finish(text).unwrap_or(last_event);
        let mut listener = ResponseObserver::new(exchange.operation, exchange.framing());
        for (at, byte) in body.iter().enumerate() {
            assert!(!listener.done() || at > last_event, "{id} is done at {at}");
            assert!(!listener.complete() || at > finish, "{id} is complete at {at}");
            listener.observe(&[*byte]);
        }
        assert!(listener.begun() && listener.at_boundary(), "{id}");
        assert_eq!(listener.complete(), ends, "{id}");
        assert_eq!(listener.failure().is_some(), failed, "{id}");
        let ends_itself = text.contains("[DONE]") || exchange.operation == Operation::Responses;
        assert_eq!(listener.done(), ends && ends_itself, "{id}");
    }
}

/// Where the first choice gets its finish reason.
fn first_finish(text: &str) -> Option<usize> {
    let compact = text.find(r#""finish_reason":""#);
    let spaced = text.find(r#""finish_reason": ""#);
    compact.into_iter().chain(spaced).min()
}

#[test]
fn errors_within_recorded_streams_are_classified() {
    for exchange in streams().unwrap_or_default() {
        let heard = hear(&exchange, std::iter::once(exchange.body.as_slice()));
        let class = heard.failure.map(|failure| failure.class);
        let expected = match exchange.id.split('/').next() {
            _ if !exchange.has("error_in_stream") => None,
            Some("groq") => Some(Class::Caller),
            _ => Some(Class::NoCredit),
        };
        assert_eq!(class, expected, "{}", exchange.id);
    }
}

#[test]
fn usage_is_what_a_plain_reading_finds() {
    let mut with_usage = 0;
    for exchange in answers().unwrap_or_default() {
        let usage = if exchange.is_stream() {
            let text = std::str::from_utf8(&exchange.body).unwrap();
            let events = text.lines().filter_map(|line| line.strip_prefix("data:"));
            let events = events.filter_map(|data| serde_json::from_str::<Value>(data).ok());
            events.filter_map(|event| usage_object(&event)).next_back()
        } else {
            serde_json::from_slice::<Value>(&exchange.body)
                .ok()
                .and_then(|body| usage_object(&body))
        };
        let expected = usage.as_ref().map_or(Usage::default(), plain_usage);
        let heard = hear(&exchange, exchange.body.chunks(1000));
        assert_eq!(heard.usage, expected, "{}", exchange.id);
        with_usage += usize::from(expected.input.is_some());
    }
    eprintln!("{with_usage} exchanges with usage");
}

fn usage_object(value: &Value) -> Option<Value> {
    [&value["usage"], &value["response"]["usage"], &value["x_groq"]["usage"]]
        .into_iter()
        .find(|usage| usage.is_object())
        .cloned()
}

fn plain_usage(usage: &Value) -> Usage {
    let at = |path: &str| usage.pointer(path).and_then(Value::as_u64);
    let input = at("/prompt_tokens").or(at("/input_tokens"));
    let output = at("/completion_tokens").or(at("/output_tokens"));
    let reasoning = at("/completion_tokens_details/reasoning_tokens")
        .or(at("/output_tokens_details/reasoning_tokens"))
        .or(at("/reasoning_tokens"));
    let apart = match (input, output, reasoning, at("/total_tokens")) {
        (Some(input), Some(output), Some(reasoning), Some(total)) => {
            input + output + reasoning == total
        }
        _ => false,
    };
    Usage {
        input,
        cached_input: at("/prompt_tokens_details/cached_tokens")
            .or(at("/input_tokens_details/cached_tokens"))
            .or(at("/prompt_cache_hit_tokens"))
            .or(at("/cached_tokens")),
        cache_write: at("/prompt_tokens_details/cache_write_tokens")
            .or(at("/input_tokens_details/cache_write_tokens")),
        output: if apart { Some(output.unwrap() + reasoning.unwrap()) } else { output },
        reasoning,
    }
}

#[test]
fn events_are_those_of_a_plain_reading() {
    for exchange in streams().unwrap_or_default() {
        let text = std::str::from_utf8(&exchange.body).unwrap().replace("\r\n", "\n");
        let blocks = text.split("\n\n").map(|block| {
            let lines = block.lines().filter_map(|line| line.strip_prefix("data:"));
            lines.map(|data| data.strip_prefix(' ').unwrap_or(data)).collect::<Vec<_>>().join("\n")
        });
        let expected: Vec<_> = blocks.filter(|data| !data.is_empty()).collect();
        let (mut sse, mut events) = (Sse::new(1 << 20), Vec::new());
        for chunk in random_chunks(&exchange.body, 7, 700) {
            sse.push(chunk, |frame| match frame {
                Frame::Event(event) => events.push(String::from_utf8(event.data.to_vec()).unwrap()),
                Frame::Long { .. } => panic!("{} has an event over the limit", exchange.id),
            });
        }
        assert_eq!(events, expected, "{}", exchange.id);
    }
}

#[test]
fn model_and_stream_are_what_a_plain_reading_finds() {
    let mut seen = 0;
    for exchange in exchanges::all(true).unwrap_or_default() {
        let Some(request) = &exchange.request else { continue };
        let Ok(plain) = serde_json::from_slice::<Value>(request) else { continue };
        let found = peek(request).unwrap_or_else(|error| panic!("{}: {error}", exchange.id));
        assert_eq!(found.model.as_deref(), plain["model"].as_str(), "{}", exchange.id);
        assert_eq!(found.stream, plain["stream"] == true, "{}", exchange.id);

        let body = Bytes::copy_from_slice(request);
        let replaced = found.replace_model(&body, "another/\"model\"").concat();
        let mut expected = plain;
        if expected.get("model").is_some() {
            expected["model"] = "another/\"model\"".into();
        }
        let replaced: Value = serde_json::from_slice(&replaced).unwrap();
        assert_eq!(replaced, expected, "{}", exchange.id);
        seen += 1;
    }
    eprintln!("{seen} requests");
}

#[test]
fn damaged_traffic_is_survived_and_its_cut_does_not_matter() {
    for (seed, exchange) in (1..).zip(exchanges::all(true).unwrap_or_default()) {
        let mut sizes = Sizes(seed);
        for _ in 0..5 {
            let mut body = exchange.body.clone();
            let mut request = exchange.request.clone().unwrap_or_default();
            for text in [&mut body, &mut request] {
                damage(text, &mut sizes);
            }
            let whole = hear(&exchange, std::iter::once(body.as_slice()));
            let cut = hear(&exchange, random_chunks(&body, seed, 900));
            assert_eq!(cut, whole, "{}", exchange.id);
            if let (Ok(found), Ok(plain)) =
                (peek(&request), serde_json::from_slice::<Value>(&request))
            {
                assert_eq!(found.model.as_deref(), plain["model"].as_str(), "{}", exchange.id);
            }
            classify(Api::OpenAi, exchange.status, &body, &|name| exchange.header(name));
        }
    }
}

/// Overwrites, removes and repeats a few bytes.
fn damage(text: &mut Vec<u8>, sizes: &mut Sizes) {
    const TELLING: &[u8] = b"\"\\{}[]:,\r\n dn0\xff";
    for _ in 0..3 {
        if text.is_empty() {
            return;
        }
        let at = sizes.next(text.len()) - 1;
        let end = (at + sizes.next(20)).min(text.len());
        match sizes.next(3) {
            1 => text[at] = TELLING[sizes.next(TELLING.len()) - 1],
            2 => drop(text.drain(at..end)),
            _ => {
                let piece = text[at..end].to_vec();
                text.splice(at..at, piece);
            }
        }
    }
}

/// Recorded error answers: the end of the exchange's id tells them apart.
const ERRORS: &[(&str, Class)] = &[
    ("azure/openai.chat/unary-error-401-grok-4-1-fast-non-reasoning-69fd11", Class::BadCredential),
    ("azure/openai.chat/unary-error-429-grok-4-1-fast-non-reasoning-d850c4", Class::Throttled),
    (
        "deepseek/openai.chat/stream-error-400-vision-reasoning-deepseek-v4-flash-ce3341",
        Class::Caller,
    ),
    ("deepseek/openai.chat/unary-error-400-deepseek-chat-a0718e", Class::ContextTooLong),
    (
        "deepseek/openai.chat/unary-error-400-document-reasoning-deepseek-v4-flash-1a83da",
        Class::Caller,
    ),
    (
        "deepseek/openai.chat/unary-error-400-vision-reasoning-deepseek-v4-flash-a00161",
        Class::Caller,
    ),
    ("deepseek/openai.chat/unary-error-401-deepseek-chat-8a8d0a", Class::BadCredential),
    ("groq/openai.chat/reported-error-429-rate-limit", Class::Throttled),
    ("groq/openai.chat/unary-error-400-tools-gpt-oss-120b-f771c9", Class::Caller),
    (
        "llamacpp/openai.chat/unary-error-500-vision-qwen3-vl-2b-instruct-q8-0-8277a1",
        Class::Trouble,
    ),
    ("llamacpp/openai.embeddings/unary-error-501-qwen3-embedding-0-6b-q8-0-022351", Class::Trouble),
    ("mistral/openai.chat/unary-error-400-logprobs-ministral-3b-latest-b586f2", Class::Caller),
    ("mistral/openai.chat/unary-error-401-mistral-small-latest-99dd34", Class::BadCredential),
    ("mistral/openai.embeddings/unary-error-400-no-such-embedding-model-bfa4b1", Class::NoAccess),
    ("openai/openai.chat/reported-error-429-rate-limit", Class::Throttled),
    ("openai/openai.chat/stream-error-404-gpt-3-5-turbo-0613-d256fc", Class::NoAccess),
    ("openai/openai.chat/unary-error-400-tool-result-audio-gpt-5-mini-59d981", Class::Caller),
    ("openai/openai.chat/unary-error-404-this-model-does-not-exist-bf95e3", Class::NoAccess),
    ("openai/openai.completions/unary-error-404-babbage-002-wrong-6ed4e6", Class::NoAccess),
    ("openai/openai.embeddings/unary-error-400-text-embedding-3-small-f7edca", Class::Caller),
    (
        "openai/openai.embeddings/unary-error-404-non-existent-embedding-model-e422ea",
        Class::NoAccess,
    ),
    ("openai/openai.embeddings/unary-error-404-text-embedding-4-ultra-7a1376", Class::NoAccess),
    (
        "openai/openai.responses/stream-error-400-gpt-4o-mini-nonexistent-rig-d5f2d3",
        Class::NoAccess,
    ),
    (
        "openai/openai.responses/unary-error-400-tool-result-document-gpt-5-mini-dd4dfd",
        Class::Caller,
    ),
    ("openai/openai.responses/unary-error-401-gpt-4-1-nano-37abfc", Class::BadCredential),
    ("openrouter/openai.chat/unary-error-429-gemini-2-0-flash-exp-free-ec6dd3", Class::Throttled),
    ("vllm/openai.chat/reported-error-400-context-length", Class::ContextTooLong),
    ("xai/openai.responses/unary-error-400-grok-4-3-2c5118", Class::BadCredential),
];

#[test]
fn recorded_errors_are_classified() {
    let Some(all) = exchanges::all(true) else { return };
    let errors: Vec<_> = all.iter().filter(|exchange| exchange.status >= 400).collect();
    for exchange in &errors {
        let expected = ERRORS.iter().find(|(id, _)| *id == exchange.id);
        let expected = expected.unwrap_or_else(|| panic!("{} has no expectation", exchange.id)).1;
        let failure =
            classify(Api::OpenAi, exchange.status, &exchange.body, &|name| exchange.header(name));
        assert_eq!(failure.class, expected, "{}", exchange.id);
    }
    assert_eq!(errors.len(), ERRORS.len());
}

#[test]
fn what_recorded_answers_say_is_left_is_read() {
    let mut seen = 0;
    let all = [true, false].into_iter().filter_map(exchanges::all).flatten();
    for exchange in all {
        let told = |now| {
            let headers = exchange.headers.iter();
            rate_limits::read(headers.map(|(name, value)| (&**name, value.as_bytes())), now)
        };
        // Resets were recorded as times and without the answer's date: of 2025, or of 2026.
        let told = told(1_735_689_600).or_else(|| told(1_767_225_600));
        let least = |names: [&str; 4]| {
            let left = names.into_iter().filter_map(|name| exchange.header(name)?.parse().ok());
            left.min()
        };
        let requests: Option<u64> = least([
            "x-ratelimit-remaining-requests",
            "x-ratelimit-remaining-req-minute",
            "x-ratelimit-remaining-req-10-second",
            "anthropic-ratelimit-requests-remaining",
        ]);
        let tokens: Option<u64> = least([
            "x-ratelimit-remaining-tokens",
            "x-ratelimit-remaining-tokens-minute",
            "anthropic-ratelimit-tokens-remaining",
            "anthropic-ratelimit-input-tokens-remaining",
        ]);
        if let Some(told) = told {
            assert!(
                requests.is_none_or(|left| told.requests.map(|own| own.remaining) == Some(left)
                    || exchange.header("x-ratelimit-remaining").is_some()),
                "{} {told:?}",
                exchange.id
            );
            seen += 1;
        } else {
            assert_eq!((requests, tokens), (None, None), "{}", exchange.id);
        }
    }
    eprintln!("{seen} answers say what is left");
    assert!(seen >= 30 || std::env::var_os("KEYMUX_SHARED").is_none(), "{seen}");
}

#[test]
fn recorded_hints_are_read() {
    let Some(all) = exchanges::all(true) else { return };
    let with_hint = |exchange: &&Exchange| exchange.header("retry-after").is_some();
    for exchange in all.iter().filter(|exchange| exchange.status >= 400).filter(with_hint) {
        let failure =
            classify(Api::OpenAi, exchange.status, &exchange.body, &|name| exchange.header(name));
        // Azure says `retry-after-ms: 0` beside it, which is no wait at all.
        let seconds: u64 = exchange.header("retry-after").unwrap().parse().unwrap();
        assert_eq!(
            failure.retry_after.map(|wait| wait.as_secs()),
            Some(seconds),
            "{}",
            exchange.id
        );
    }
}
