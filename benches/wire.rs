//! What the wire room costs: finding and replacing the model, framing and hearing a stream.
//!
//! `cargo bench --bench wire`

#![allow(clippy::unwrap_used, reason = "the inputs are fixed")]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use keymux::wire::Operation;
use keymux::wire::frame::sse::Sse;
use keymux::wire::listen::{Framing, Listener};
use keymux::wire::peek::peek;
use serde_json::json;

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
        let mut listener = Listener::new(Operation::Chat, Framing::Events);
        for chunk in chunks {
            listener.hear(black_box(chunk));
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

criterion_group!(benches, requests, streams);
criterion_main!(benches);
