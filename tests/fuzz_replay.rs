//! The fuzz targets over a corpus made of recorded and own exchanges, and damage to them, in plain Rust.
//!
//! `KEYMUX_LONG=1` does more damage; `KEYMUX_SEED` is where it begins. `KEYMUX_CORPUS=fuzz/corpus` also
//! writes the corpus down, for libFuzzer to begin with.

#![allow(clippy::unwrap_used, clippy::panic, reason = "so a test fails")]
#![allow(clippy::print_stderr, reason = "says what was skipped and how much was read")]

#[path = "translation/cases.rs"]
#[allow(dead_code, reason = "each test reads what it needs")]
mod cases;
#[path = "translation/damage.rs"]
mod damage;
#[path = "wire_recorded/exchanges.rs"]
mod exchanges;
#[path = "../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "it is a library of its own for cargo-fuzz")]
mod targets;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use cases::{Kept, frames};
use damage::{Dice, of_bytes, of_json, of_lines};
use targets::{TARGETS, name, run};

use keymux::wire::api::{Format, Framing};

type Damage = fn(&mut Dice, &[u8]) -> Vec<u8>;

/// How often each entry of the corpus is damaged.
fn times(short: u64) -> u64 {
    let long = std::env::var_os("KEYMUX_LONG").is_some_and(|value| value == "1");
    if long { short * 25 } else { short }
}

/// Runs a target over an entry and what becomes of it, and says which input broke a rule.
fn replay(target: &str, entry: &[u8], damage: Damage, short: u64) {
    let begin = std::env::var("KEYMUX_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let try_one = |data: &[u8], how: &str| {
        if catch_unwind(AssertUnwindSafe(|| run(target, data))).is_err() {
            let shown = String::from_utf8_lossy(data);
            panic!("{target}, {how}: {}", shown.chars().take(20_000).collect::<String>());
        }
    };
    if let Some(corpus) = std::env::var_os("KEYMUX_CORPUS") {
        let folder = Path::new(&corpus).join(target);
        std::fs::create_dir_all(&folder).unwrap();
        let mut hash = DefaultHasher::new();
        entry.hash(&mut hash);
        std::fs::write(folder.join(format!("{:016x}", hash.finish())), entry).unwrap();
    }
    try_one(entry, "as it is");
    for seed in begin..begin + times(short) {
        let mut dice = Dice(seed ^ entry.len() as u64);
        let mut data = entry.to_vec();
        for _ in 0..=dice.below(3) {
            data = damage(&mut dice, &data);
        }
        try_one(&data, &format!("seed {seed}"));
    }
}

/// The lines of a stream, as its target takes them.
fn lines(kept: &[Kept]) -> Vec<u8> {
    let line = |kept: &Kept| {
        let mut line = if kept.exception { b"!".to_vec() } else { Vec::new() };
        line.extend_from_slice(&kept.name);
        line.push(b'\t');
        line.extend(kept.data.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }));
        line
    };
    kept.iter().map(line).collect::<Vec<_>>().join(&b'\n')
}

#[test]
fn answers() {
    for answer in cases::answers() {
        if answer.framing.is_stream() {
            let entry = lines(&frames(answer.format, answer.framing, &answer.body));
            replay(&name("stream", answer.format), &entry, of_lines, 4);
        } else {
            replay(&name("whole", answer.format), &answer.body, of_json, 12);
            replay(&name("whole", answer.format), &answer.body, of_bytes, 2);
        }
    }
}

#[test]
fn errors() {
    let mut errors = 0;
    for (format, exchange) in cases::exchanges() {
        if exchange.status >= 400 {
            replay(&name("whole", format), &exchange.body, of_json, 12);
            let mut entry = exchange.status.to_string().into_bytes();
            for (name, value) in &exchange.headers {
                entry.extend_from_slice(format!("\n{name}: {value}").as_bytes());
            }
            entry.extend_from_slice(b"\n\n");
            entry.extend_from_slice(&exchange.body);
            replay("hints", &entry, of_bytes, 20);
            errors += 1;
        }
    }
    eprintln!("{errors} errors");
    let own = b"429\nretry-after-ms: 1e308\nretry-after: Wed, 21 Oct 2015 07:28:00 GMT\n\
        date: Wed, 21 Oct 2015 07:27:00 GMT\nx-ratelimit-remaining-tokens: 0\n\
        x-ratelimit-reset-tokens: 6m0s\n\n{\"error\":{}}";
    replay("hints", own, of_bytes, 200);
}

#[test]
fn requests() {
    for (format, exchange) in cases::exchanges() {
        if let (Some(body), true) = (&exchange.request, Format::OF_CALLERS.contains(&format)) {
            replay(&name("request", format), body, of_json, 12);
        }
    }
    for (format, body) in [
        (Format::OpenAiChat, r#"{"model":"m","messages":[{"role":"user","content":"one"}]}"#),
        (Format::OpenAiResponses, r#"{"model":"m","input":"one"}"#),
        (Format::Anthropic, r#"{"max_tokens":9,"messages":[{"role":"user","content":"one"}]}"#),
        (Format::Gemini, r#"{"contents":[{"role":"user","parts":[{"text":"one"}]}]}"#),
        (Format::Bedrock, r#"{"messages":[{"role":"user","content":[{"text":"one"}]}]}"#),
    ] {
        replay(&name("request", format), body.as_bytes(), of_json, 200);
        replay(&name("request", format), body.as_bytes(), of_bytes, 200);
    }
}

#[test]
fn framers() {
    for answer in cases::streams() {
        let target = match answer.framing {
            Framing::Events => "frames_sse",
            Framing::Array => "frames_array",
            Framing::Aws => "frames_aws",
            Framing::Whole => continue,
        };
        // Piece by piece that is slow, and the first events are like the others.
        let entry = &answer.body[..answer.body.len().min(8 << 10)];
        replay(target, entry, of_bytes, 2);
    }
}

#[test]
fn paths_and_secrets() {
    for path in [
        "/v1/chat/completions",
        "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
        "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ax%2Fy/converse-stream",
        "/v1/projects/p/locations/l/publishers/anthropic/models/m:rawPredict",
        "..",
        "a/../../b?c#d%",
        "\u{4e2d}\u{1f600} \u{0}",
    ] {
        replay("paths", path.as_bytes(), of_bytes, 200);
    }
    let told = b"sk-proj-abcdefghij\nkey sk-proj-abcdefghij is bad, sk-proj-\xffabcdefg";
    replay("redactor", told, of_bytes, 500);
}

#[test]
fn each_target_has_its_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        let file = std::fs::read_to_string(root.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(file.contains(&format!("run(\"{name}\", data)")), "{name}");
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
    }
    assert_eq!(std::fs::read_dir(root.join("fuzz_targets")).unwrap().count(), TARGETS.len());
}
