//! What the wire room costs: finding and replacing the model, framing and hearing a stream, and translating
//! streams and requests from each format to each other.
//!
//! `cargo bench --bench wire`

#![allow(clippy::unwrap_used, reason = "the inputs are fixed")]

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::json;

use keymux::wire::api::{Format, Framing, Operation};
use keymux::wire::format::context::ResponseContext;
use keymux::wire::format::quirks::PLAIN;
use keymux::wire::frame::sse::Sse;
use keymux::wire::inspect::model::peek;
use keymux::wire::inspect::observer::ResponseObserver;
use keymux::wire::inspect::usage::Usage;
use keymux::wire::ir::{
    Block, Content, Event, Kind, Piece, Request, Role, Stop, Tool, ToolResult, Turn,
};
use keymux::wire::translate::{Decoder, Encoder, Translation, decode_request, encode_request};

/// A chat request whose prompt has about this many bytes, in lines of some sixty.
fn request(bytes: usize) -> Bytes {
    let line = "The quick brown fox jumps over the \"lazy\" dog, and so it goes.\n";
    let prompt = line.repeat(bytes.div_ceil(line.len()));
    let request = json!({
        "messages": [
            { "role": "system", "content": "Answer in one sentence." },
            { "role": "user", "content": prompt },
        ],
        "temperature": 0.7,
        "stream": true,
        "model": "gpt-4o-mini",
    });
    Bytes::from(request.to_string())
}

/// A chat stream of this many words, an event a chunk, as OpenAI writes it.
fn stream(words: usize) -> Vec<Bytes> {
    let event = |choices: &str, usage: &str| {
        Bytes::from(format!(
            "data: {{\"id\":\"chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG\",\"object\":\"chat.completion.chunk\",\
             \"created\":1741570283,\"model\":\"gpt-4o-mini-2024-07-18\",\"service_tier\":\"default\",\
             \"system_fingerprint\":\"fp_06737a9306\",\"choices\":{choices},\"usage\":{usage}}}\n\n"
        ))
    };
    let word = r#"[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}]"#;
    let stop = r#"[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]"#;
    let usage = r#"{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29}"#;
    let mut events = vec![event(word, "null"); words];
    events.extend([event(stop, "null"), event("[]", usage)]);
    events.push(Bytes::from_static(b"data: [DONE]\n\n"));
    events
}

fn requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("peek and replace the model");
    for size in [512, 32 << 10, 1 << 20] {
        let body = request(size);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(size), &body, |bencher, body| {
            bencher.iter(|| {
                let found = peek(black_box(body)).unwrap();
                black_box(found.replace_model(body, "llama-3.3-70b-versatile"))
            });
        });
    }
}

fn streams(criterion: &mut Criterion) {
    let events = stream(100);
    let joined = events.concat();
    let mut group = criterion.benchmark_group("a stream of 100 words");
    group.throughput(Throughput::Elements(events.len() as u64));
    group.bench_function("framed", |bencher| {
        bencher.iter(|| {
            let mut sse = Sse::new(1 << 20);
            for event in &events {
                sse.push(black_box(event), |frame| {
                    black_box(frame);
                });
            }
        });
    });
    let hear = |chunks: &mut dyn Iterator<Item = &[u8]>| {
        let mut listener = ResponseObserver::new(Operation::Chat, Framing::Events);
        for chunk in chunks {
            listener.observe(black_box(chunk));
        }
        assert!(listener.done());
        black_box(listener.usage())
    };
    group.bench_function("heard, an event a chunk", |bencher| {
        bencher.iter(|| hear(&mut events.iter().map(|event| &event[..])));
    });
    group.bench_function("heard, in chunks of 4 kB", |bencher| {
        bencher.iter(|| hear(&mut joined.chunks(4096)));
    });
}

/// How a stream of each format is framed.
fn framing(format: Format) -> Framing {
    if format == Format::Bedrock { Framing::Aws } else { Framing::Events }
}

fn encoder(format: Format) -> Encoder {
    let shown = ResponseContext {
        id: "chatcmpl-1".to_owned(),
        created: 1_741_570_283,
        model: "gpt-4o-mini".to_owned(),
        usage: true,
        framing: framing(format),
        echo: None,
    };
    Encoder::new(format, shown).unwrap()
}

/// A stream of a hundred words in a provider's format, an event a chunk.
fn stream_of(format: Format) -> Vec<Vec<u8>> {
    let (id, model) = (Some("msg_1".to_owned()), Some("gpt-4o-mini-2024-07-18".to_owned()));
    let mut events = vec![
        Event::Start { id, model, created: Some(1_741_570_283) },
        Event::Open { block: 0, candidate: 0, kind: Kind::Text },
    ];
    events.extend(
        (0..100).map(|_| Event::Delta { block: 0, piece: Piece::Text(" word".to_owned()) }),
    );
    let usage = Usage { input: Some(19), output: Some(100), ..Usage::default() };
    let (raw, sequence) = (None, None);
    events.extend([
        Event::Close { block: 0 },
        Event::Stop { candidate: 0, why: Stop::End, raw, sequence },
        Event::Usage(usage),
        Event::End,
    ]);
    let mut encoder = encoder(format);
    let chunks = events.iter().map(|event| {
        let mut chunk = Vec::new();
        encoder.event(event, &mut chunk);
        chunk
    });
    chunks.filter(|chunk| !chunk.is_empty()).collect()
}

/// As a relay does it: the listener hears what comes, and the translation writes it anew.
fn translated_streams(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a stream of 100 words, an event a chunk");
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    for provider in Format::CALLER_FORMATS {
        let (chunks, framed) = (stream_of(provider), framing(provider));
        let hear = |translation: &mut Option<Translation>, out: &mut Vec<u8>| {
            let mut listener = ResponseObserver::new(provider.operation(true), framed);
            for chunk in &chunks {
                listener.observe(black_box(chunk));
                if let Some(translation) = translation {
                    out.clear();
                    translation.push(chunk, out);
                    black_box(&out);
                }
            }
            black_box(listener.usage())
        };
        group.bench_function(format!("{}, as it is", provider.name()), |bencher| {
            bencher.iter(|| hear(&mut None, &mut Vec::new()));
        });
        for caller in Format::CALLER_FORMATS.into_iter().filter(|caller| *caller != provider) {
            let name = format!("{} to {}", provider.name(), caller.name());
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    let decoder = Decoder::new(provider, &PLAIN);
                    let encoder = encoder(caller);
                    let to = framing(caller);
                    let mut way = Translation::new(framed, to, decoder, encoder, None);
                    hear(&mut way, &mut Vec::new())
                });
            });
        }
    }
}

/// A conversation of some 50 kB with tools, calls and their outcomes.
fn conversation() -> Request {
    let line = "The quick brown fox jumps over the \"lazy\" dog, and so it goes.\n";
    let block = |content| Block::new(content, "/messages/0");
    let turn = |role, content| Turn { role, name: None, blocks: vec![block(content)] };
    let mut turns = Vec::new();
    for n in 0..8 {
        let id = format!("call_{n}");
        let arguments = json!({ "path": "src/main.rs", "lines": [n, 20] }).to_string();
        let call = Content::ToolCall { id: Some(id.clone()), name: "read".to_owned(), arguments };
        let content = vec![block(Content::text(line.repeat(40)))];
        let name = Some("read".to_owned());
        let outcome = ToolResult { id, name, content, is_error: false };
        turns.extend([
            turn(Role::User, Content::text(line.repeat(20))),
            turn(Role::Assistant, call),
            turn(Role::User, Content::ToolResult(outcome)),
            turn(Role::Assistant, Content::text(line.repeat(25))),
        ]);
    }
    turns.push(turn(Role::User, Content::text("And now?")));
    let tool = |name: &str| Tool::Function {
        name: name.to_owned(),
        description: Some(line.repeat(4)),
        parameters: Some(json!({
            "type": "object",
            "properties": {
                "path": { "type": "string", "description": "a file" },
                "lines": { "type": "array", "items": { "type": "integer" } },
            },
            "required": ["path"],
        })),
        strict: None,
        cache: None,
        at: "/tools/0".to_owned(),
    };
    Request {
        model: "gpt-4o".to_owned(),
        system: vec![block(Content::text(line.repeat(60)))],
        turns,
        tools: ["read", "write", "list", "search"].map(tool).to_vec(),
        max_tokens: Some(4096),
        ..Request::default()
    }
}

fn translated_requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a request of 50 kB, read and written");
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    let conversation = conversation();
    for caller in Format::CALLER_FORMATS {
        let written = encode_request(caller, caller, &conversation, &PLAIN).unwrap();
        let body = written.body;
        assert!((45_000..60_000).contains(&body.len()), "{}", body.len());
        for provider in Format::ALL.into_iter().filter(|provider| *provider != caller) {
            let translate = || {
                let request = decode_request(caller, black_box(&body), "gpt-4o", true).unwrap();
                encode_request(provider, caller, &request, &PLAIN)
            };
            // Replicate's models take no tools.
            if translate().is_err() {
                continue;
            }
            let name = format!("{} to {}", caller.name(), provider.name());
            group.bench_function(name, |bencher| bencher.iter(translate));
        }
    }
}

criterion_group!(benches, requests, streams, translated_streams, translated_requests);
criterion_main!(benches);
