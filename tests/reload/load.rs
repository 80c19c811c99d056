//! Many reloads under load. Each file has a number, which the key's name, its secret, an extra header, the
//! address, the model of the route and the client's key contain: a request that mixed two files would have two
//! numbers.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::common::PATIENCE;
use crate::common::http::{Connection, json_request, sse_data};
use crate::common::keymux::Keymux;
use crate::common::upstream::{Received, Step, Upstream, answer, json_answer, sse};
use crate::{BASE, chat, expect_reloads, metric, reloads};

/// `KEYMUX_LONG=1` selects the long run.
const CHANGES: (u64, u64) = (60, 500);
const CALLERS: usize = 8;
/// Number of events of a streamed response, which takes longer than a reload.
const EVENTS: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_or_mixes_two_files() {
    let changes = if std::env::var_os("KEYMUX_LONG").is_some() { CHANGES.1 } else { CHANGES.0 };
    let newest = Arc::new(AtomicU64::new(0));
    let upstream = Upstream::start({
        let newest = newest.clone();
        move |request| provide(request, &newest)
    })
    .await;
    let config = |number: u64| config(&upstream.url(), number);
    let keymux = Arc::new(Keymux::start(&config(0), &[]).await);
    let over = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        callers.spawn(call(keymux.clone(), caller, over.clone()));
    }
    let (began, mut before) = (Instant::now(), 0);

    for number in 1..=changes {
        if number == changes / 5 {
            // Warmed up, so that the compared memory is that of the same work.
            before = resident(&keymux);
        }
        let text = keymux.fill_in(&config(number));
        if number % 2 == 0 {
            fs::write(keymux.config_path(), text).unwrap();
        } else {
            let aside = keymux.folder().join("keymux.toml.new");
            fs::write(&aside, text).unwrap();
            fs::rename(aside, keymux.config_path()).unwrap();
        }
        let written = Instant::now();
        while newest.load(Ordering::SeqCst) < number {
            assert!(written.elapsed() < PATIENCE, "file {number} is not in force");
            sleep(Duration::from_millis(2)).await;
        }
    }
    over.store(true, Ordering::SeqCst);
    let counts: Vec<Count> = callers.join_all().await;
    let all = |of: fn(&Count) -> u64| counts.iter().map(of).sum::<u64>();
    let (whole, streamed, seen) = (all(|c| c.whole), all(|c| c.streamed), all(|c| c.files));
    let after = resident(&keymux);
    let (taken, refused) = reloads(&keymux).await;
    println!(
        "{changes} changes in {:.1} s: {taken} taken, {refused} refused; {whole} whole and {streamed} \
         streamed answers, none failed; {seen} changes of file between two answers of one caller; \
         {} connections to the provider; resident memory {before} kB after a fifth, {after} kB at the end",
        began.elapsed().as_secs_f64(),
        upstream.connections(),
    );
    expect_reloads(&keymux, (changes, refused)).await;
    assert!(whole.min(streamed) > changes, "there was load");
    assert!(seen >= changes, "the callers saw the files come in force");
    let text = keymux.admin("/metrics").await.text();
    assert_eq!(metric(&text, "keymux_config_last_reload_successful"), Some(1));
    // Each response holds at most one connection; a new pool for each reload would hold more.
    assert!(upstream.connections() <= 2 * CALLERS, "{} connections", upstream.connections());
    // The allocator's variation is half of that; the long run would show memory that is kept for each
    // configuration.
    assert!(after < before + 12 * 1024, "{before} kB before and {after} kB after");
}

fn config(upstream: &str, number: u64) -> String {
    format!(
        "{BASE}
[[clients]]
name = \"caller-{number}\"
key = {{ value = \"ck-caller\" }}
[routes.fast]
targets = [{{ model = \"up/m-{number}\" }}]
[providers.up]
kind = \"openai-compatible\"
base_url = \"{upstream}/g{number}/v1\"
headers = {{ x-gen = \"{number}\" }}
[[providers.up.keys]]
name = \"k{number}\"
value = {{ value = \"sk-{number}\" }}
models = [\"m-{number}\"]
"
    )
    .replace("40ms", "20ms")
}

/// Responds with the number that all parts of the request contain, or with an error.
fn provide(request: &Received, newest: &AtomicU64) -> Vec<Step> {
    let number = request.header("x-gen").unwrap_or_default();
    let body = request.json();
    let same = request.path() == format!("/g{number}/v1/chat/completions")
        && request.header("authorization") == Some(&format!("Bearer sk-{number}"))
        && body["model"] == format!("m-{number}");
    if !same {
        return answer(400, &[], format!("mixed: {:?} {body}", request.head).as_bytes());
    }
    newest.fetch_max(number.parse().unwrap(), Ordering::SeqCst);
    if body["stream"] == true {
        let event = |_| {
            let choices = json!([{"index": 0, "delta": {"content": number}}]);
            format!("data: {}\n\n", json!({"model": body["model"], "choices": choices}))
        };
        let mut events: Vec<String> = (0..EVENTS).map(event).collect();
        events.push("data: [DONE]\n\n".into());
        sse(&events, Duration::from_millis(15))
    } else {
        let message = json!({"role": "assistant", "content": number});
        json_answer(200, &json!({"choices": [{"index": 0, "message": message}]}))
    }
}

#[derive(Default)]
struct Count {
    whole: u64,
    streamed: u64,
    files: u64,
}

/// Calls on one connection until `over` is set. Panics at the first failure.
async fn call(keymux: Arc<Keymux>, caller: usize, over: Arc<AtomicBool>) -> Count {
    let mut connection = Connection::open(keymux.address()).await;
    let (mut count, mut latest) = (Count::default(), 0);
    // Half of the callers mostly stream.
    for turn in caller.. {
        if over.load(Ordering::SeqCst) {
            break;
        }
        let stream = caller.is_multiple_of(2) || turn.is_multiple_of(16);
        let mut body = chat("fast");
        body["stream"] = json!(stream);
        let headers = [("authorization", "Bearer ck-caller")];
        connection.send(&json_request("/v1/chat/completions", &headers, &body)).await;
        let reply = connection.reply().await;
        assert!(reply.status() == 200 && reply.complete, "{:?} {}", reply.head, reply.text());
        let number = reply.header("x-keymux-key").unwrap().trim_start_matches('k').to_owned();
        assert_eq!(reply.header("x-keymux-attempts"), Some("1"));
        if stream {
            let data = sse_data(&reply.body);
            let content = format!("\"content\":\"{number}\"");
            assert_eq!(data.iter().filter(|event| event.contains(&content)).count(), EVENTS);
            assert_eq!((data.len(), data.last().unwrap().as_str()), (EVENTS + 1, "[DONE]"));
            count.streamed += 1;
        } else {
            assert_eq!(reply.json()["choices"][0]["message"]["content"], number.as_str());
            count.whole += 1;
        }
        let number: u64 = number.parse().unwrap();
        assert!(number >= latest, "file {number} after file {latest}");
        count.files += u64::from(number > latest);
        latest = number;
    }
    count
}

/// Returns the resident memory of the gateway in kB.
fn resident(keymux: &Keymux) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", keymux.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
