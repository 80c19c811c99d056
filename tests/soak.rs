//! A mixed load of any duration: whole responses and streams, verbatim and
//! translated, failures, cuts, disconnects, and continuous reloads. It fails on a wrong response, on
//! memory that grows, and on anything left behind when the load is over.
//!
//! `KEYMUX_SOAK=2h cargo test --release --test soak -- --nocapture` for hours; without it, some seconds.

#![allow(clippy::unwrap_used, clippy::panic, reason = "so a test fails")]
#![allow(clippy::print_stdout, reason = "the test runner shows it when the test fails")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::PATIENCE;
use common::config::{key, name_of_key};
use common::http::{self, Connection, Framing, Piece, json_request};
use common::keymux::Keymux;
use common::upstream::{
    Received, Step, Upstream, answer, chat_answer, chat_events, cut, message_answer,
    message_events, sse,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

const SHORT: Duration = Duration::from_secs(12);
const CALLERS: usize = 12;
const PACE: Duration = Duration::from_millis(3);
/// Between two reloads.
const RELOAD: Duration = Duration::from_millis(250);
/// How much memory may grow after the first third, whatever the duration: the allocator's variation. A
/// leak of a hundred bytes per request hardly shows in the thousands of requests of the short form, but certainly
/// in the million requests of an hour.
const GROWTH: f64 = 12.0 * 1024.0;

/// The kinds of requests of a caller.
const TURNS: [Turn; 10] = [
    Turn { caller: "chat", model: "main/good", stream: false, leaves: false },
    Turn { caller: "chat", model: "main/good", stream: true, leaves: false },
    Turn { caller: "messages", model: "main/good", stream: false, leaves: false },
    Turn { caller: "messages", model: "main/good", stream: true, leaves: false },
    Turn { caller: "chat", model: "claude/good", stream: false, leaves: false },
    Turn { caller: "chat", model: "claude/good", stream: true, leaves: false },
    Turn { caller: "chat", model: "route", stream: true, leaves: false },
    Turn { caller: "chat", model: "main/cut", stream: true, leaves: false },
    Turn { caller: "messages", model: "main/slow", stream: true, leaves: true },
    Turn { caller: "chat", model: "main/refused", stream: false, leaves: false },
];

#[derive(Clone, Copy, Debug)]
struct Turn {
    /// The format of the request.
    caller: &'static str,
    model: &'static str,
    stream: bool,
    leaves: bool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soak_leaks_nothing_and_answers_correctly() {
    let time = std::env::var("KEYMUX_SOAK")
        .map_or(SHORT, |time| humantime::parse_duration(&time).unwrap());
    let upstream = Upstream::unbooked(play).await;
    let keymux = Arc::new(Keymux::start(&text(&upstream.url(), 0), &[]).await);
    // Every kind of request once, so that everything that is created once exists.
    let mut caller = Connection::open(keymux.address()).await;
    for turn in TURNS {
        take(&keymux, &mut caller, turn, "first").await;
    }
    drop(caller);
    let before = Held::of(&keymux);

    let over = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        callers.spawn(call(keymux.clone(), number, over.clone()));
    }
    let reloads = tokio::spawn(reload(keymux.clone(), upstream.url(), over.clone()));
    let samples = watch(&keymux, time).await;
    over.store(true, Ordering::SeqCst);
    let mut taken = BTreeMap::<String, u64>::new();
    for counts in callers.join_all().await {
        for (turn, count) in counts {
            *taken.entry(turn).or_default() += count;
        }
    }
    let reloads = reloads.await.unwrap();
    let all: u64 = taken.values().sum();
    println!("{all} requests and {reloads} reloads in {time:?}: {taken:?}");
    assert_eq!(taken.len(), TURNS.len(), "{taken:?}");
    assert!(all > 300 && reloads > 5, "there was load: {all} requests, {reloads} reloads");

    let growth = growth(&samples);
    println!(
        "memory: {} samples, {growth:.0} kB more in the last third than in the one before it",
        samples.len()
    );
    assert!(growth < GROWTH, "{growth} kB: {samples:?}");

    // The remaining connections are pooled ones to the provider, one for each concurrent request of the
    // callers. A leak for each request, reload or disconnect would be many more.
    let most = before.descriptors + 2 * CALLERS;
    let start = Instant::now();
    loop {
        let (now, under_way) = (Held::of(&keymux), under_way(&keymux).await);
        if now.descriptors <= most && under_way == 0.0 {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{under_way} requests, {now:?} after {before:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// The resources of the program.
#[derive(Debug)]
struct Held {
    descriptors: usize,
    /// kB.
    memory: f64,
}

impl Held {
    fn of(keymux: &Keymux) -> Self {
        let folder = format!("/proc/{}", keymux.pid());
        let status = fs::read_to_string(format!("{folder}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        let memory = line.trim().trim_end_matches(" kB").parse().unwrap();
        Self { descriptors: fs::read_dir(format!("{folder}/fd")).unwrap().count(), memory }
    }
}

/// Returns the number of requests in flight at all keys.
async fn under_way(keymux: &Keymux) -> f64 {
    let metrics = keymux.admin("/metrics").await.text();
    let of_key = |line: &str| {
        line.starts_with("keymux_key_in_flight_requests")
            .then(|| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
    };
    metrics.lines().filter_map(of_key).sum()
}

/// Samples the memory in even steps over that time.
async fn watch(keymux: &Keymux, time: Duration) -> Vec<f64> {
    let mut samples = Vec::new();
    let step = (time / 60).min(Duration::from_secs(10));
    let end = Instant::now() + time;
    while Instant::now() < end {
        sleep(step).await;
        samples.push(Held::of(keymux).memory);
    }
    samples
}

/// Returns how much more memory the last third used, on average, than the one before it. The first is for
/// warming up.
fn growth(samples: &[f64]) -> f64 {
    let third = samples.len() / 3;
    let mean =
        |part: &[f64]| part.iter().sum::<f64>() / f64::from(u32::try_from(part.len()).unwrap());
    mean(&samples[2 * third..]) - mean(&samples[third..2 * third])
}

/// Reloads one file after the other. Returns how many.
async fn reload(keymux: Arc<Keymux>, upstream: String, over: Arc<AtomicBool>) -> u64 {
    let mut number = 0;
    while !over.load(Ordering::SeqCst) {
        number += 1;
        let text = text(&upstream, number);
        fs::write(keymux.config_path(), keymux.fill_in(&text)).unwrap();
        sleep(RELOAD).await;
    }
    let metrics = keymux.admin("/metrics").await.text();
    let taken = "keymux_config_reloads_total{result=\"success\"} ";
    let taken = metrics.lines().find_map(|line| line.strip_prefix(taken)).unwrap();
    taken.parse().unwrap()
}

/// The keys change places and weights, and one comes and goes.
fn text(upstream: &str, number: u64) -> String {
    let mut keys = vec![key("bad", "weight = 2"), key("good", ""), key("best", "")];
    keys.rotate_left(usize::try_from(number % 3).unwrap());
    if number.is_multiple_of(2) {
        keys.push(key("guest", ""));
    }
    let of = |name: &str, kind: &str, base: &str, keys: &[String]| {
        let keys: Vec<String> =
            keys.iter().map(|key| format!("[[providers.{name}.keys]]\n{key}")).collect();
        let keys = keys.concat();
        format!("[providers.{name}]\nkind = \"{kind}\"\nbase_url = \"{base}\"\n{keys}")
    };
    let openai = format!("{upstream}/v1");
    [
        "[server]\nlisten = \"127.0.0.1:{PORT}\"\nlog = { level = \"warn\" }\n\
         [admin]\nlisten = \"127.0.0.1:{ADMIN}\"\n[reload]\nsettle = \"40ms\"\n\
         [retry]\nfloor_per_second = 100000\n"
            .to_owned(),
        of("main", "openai-compatible", &openai, &keys),
        of(
            "claude",
            "anthropic",
            upstream,
            &[key("claude", &format!("weight = {}", 1 + number % 5))],
        ),
        of("broken", "openai-compatible", &openai, &[key("broken", "")]),
        "[routes.route]\ntargets = [{ model = \"broken/m\" }]\nfallbacks = [\"claude/good\"]\n"
            .into(),
    ]
    .concat()
}

/// Runs one caller until the end. Returns how many requests of each kind it made.
async fn call(keymux: Arc<Keymux>, number: usize, over: Arc<AtomicBool>) -> BTreeMap<String, u64> {
    let mut caller = Connection::open(keymux.address()).await;
    let mut taken = BTreeMap::new();
    for round in number.. {
        if over.load(Ordering::SeqCst) {
            break;
        }
        let turn = TURNS[round % TURNS.len()];
        take(&keymux, &mut caller, turn, &format!("word-{number}-{round}")).await;
        *taken.entry(format!("{turn:?}")).or_default() += 1;
    }
    taken
}

/// Sends a request with a word that the response must repeat, and checks the response.
async fn take(keymux: &Keymux, caller: &mut Connection, turn: Turn, word: &str) {
    let Turn { caller: format, model, stream, leaves } = turn;
    let path = if format == "chat" { "/v1/chat/completions" } else { "/v1/messages" };
    let turns = json!([{"role": "user", "content": word}]);
    let body = json!({"model": model, "stream": stream, "max_tokens": 99, "messages": turns});
    caller.send(&json_request(path, &[], &body)).await;
    if leaves {
        let head = caller.head().await.unwrap();
        assert_eq!(head.status(), 200, "{turn:?}");
        let piece = caller.piece(&mut Framing::of_answer(&head)).await;
        assert!(matches!(piece, Piece::Bytes(_)), "{turn:?}");
        *caller = Connection::open(keymux.address()).await;
        return;
    }
    let reply = caller.reply().await;
    let told = format!("{turn:?} {word}: {} {}", reply.status(), reply.text());
    if model == "main/refused" {
        assert_eq!(
            (reply.status(), &reply.json()["error"]["message"]),
            (400, &json!(word)),
            "{told}"
        );
        return;
    }
    assert!(reply.status() == 200 && reply.complete, "{told}");
    let (said, finished) = if stream { streamed(&reply.body) } else { whole(&reply.json()) };
    let is_cut = model == "main/cut";
    assert_eq!((said.trim_end(), finished), (word, !is_cut), "{told}");
    assert_eq!(reply.text().contains("\"error\""), is_cut, "{told}");
}

/// Returns the text of a whole response in either format, and checks that it is finished.
fn whole(answer: &Value) -> (String, bool) {
    let chat = &answer["choices"][0];
    let text = chat["message"]["content"].as_str().or(answer["content"][0]["text"].as_str());
    let finished = chat["finish_reason"] == "stop" || answer["stop_reason"] == "end_turn";
    (text.unwrap_or_default().to_owned(), finished)
}

/// Returns the text of a stream in either format, and true if it looks finished.
fn streamed(body: &[u8]) -> (String, bool) {
    let (mut said, mut finished) = (String::new(), false);
    for data in http::sse_data(body) {
        if data == "[DONE]" {
            finished = true;
            continue;
        }
        let event: Value = serde_json::from_str(&data).unwrap();
        let chat = event["choices"][0]["delta"]["content"].as_str();
        said.push_str(chat.or(event["delta"]["text"].as_str()).unwrap_or_default());
        finished |= event["type"] == "message_stop";
    }
    (said, finished)
}

/// The providers: they repeat the word of the request, and fail as their names and keys select.
fn play(request: &Received) -> Vec<Step> {
    let body = request.json();
    let word = body["messages"][0]["content"].as_str();
    let word = word.or(body["messages"][0]["content"][0]["text"].as_str()).unwrap().to_owned();
    let stream = body["stream"] == true;
    match (&*name_of_key(request), body["model"].as_str().unwrap()) {
        (_, "refused") => {
            answer(400, &[], json!({"error": {"message": word}}).to_string().as_bytes())
        }
        ("broken", _) => vec![Step::Reset],
        ("bad", _) if request.connection.is_multiple_of(3) => vec![Step::Close],
        ("bad", _) if request.connection % 3 == 1 => answer(500, &[], b"{}"),
        ("bad", _) => answer(429, &[("retry-after-ms", "150")], b"{}"),
        (_, "cut") => cut(sse(&chat_events(&[&word, " more"]), PACE), 1, Step::Close),
        (_, "slow") => sse(&chat_events(&["more"; 400]), PACE),
        ("claude", _) if stream => sse(&message_events(&[&word]), PACE),
        ("claude", _) => message_answer(&word),
        _ if stream => sse(&chat_events(&[&word]), PACE),
        _ => chat_answer(&word),
    }
}
