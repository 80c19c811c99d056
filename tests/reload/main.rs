//! The running gateway while its files change: real files, sockets and signals.
//!
//! ```text
//! notice.rs     the ways in which files are changed
//! refuse.rs     invalid files, and the reports of each reload
//! carry.rs      state that survives a reload: streams, cooldowns, counters, connections
//! follow.rs     settings that change immediately: keys, clients, certificates
//! supervise.rs  systemd and the health check
//! load.rs       many reloads under load
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "so a test fails")]
#![allow(clippy::print_stdout, reason = "the test runner shows it when the test fails")]

#[path = "../common/mod.rs"]
mod common;

mod carry;
mod follow;
mod load;
mod notice;
mod refuse;
mod supervise;

use std::time::Duration;

use common::PATIENCE;
use common::http::{self, Reply};
use common::keymux::Keymux;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// Listeners, and a short settle time. Polling is slower than the timeouts of the tests, so that changes are
/// detected by events.
const BASE: &str = r#"
[server]
listen = "127.0.0.1:{PORT}"
[admin]
listen = "127.0.0.1:{ADMIN}"
[reload]
settle = "40ms"
"#;

/// Long enough for a reload if the change were detected.
const A_WHILE: Duration = Duration::from_millis(400);

/// Returns a file with one key, whose name identifies the file.
fn file(key: &str) -> String {
    format!("{BASE}\n[[providers.echo.keys]]\nname = \"{key}\"\nmodels = [\"echo\"]\n")
}

/// A chat request for a model.
fn chat(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "Hello there"}]})
}

async fn ask(keymux: &Keymux, model: &str) -> Reply {
    http::post(keymux.address(), "/v1/chat/completions", &[], &chat(model)).await
}

/// Returns the name of the key that serves a request.
async fn key(keymux: &Keymux) -> String {
    let reply = ask(keymux, "echo/echo").await;
    assert_eq!(reply.status(), 200, "{}", reply.text());
    reply.header("x-keymux-key").unwrap().to_owned()
}

/// Waits until this key serves a request.
async fn expect_key(keymux: &Keymux, expected: &str) {
    let start = Instant::now();
    loop {
        let found = key(keymux).await;
        if found == expected {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{found} and not {expected} answers");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Returns the numbers of successful and rejected reloads.
async fn reloads(keymux: &Keymux) -> (u64, u64) {
    let text = keymux.admin("/metrics").await.text();
    let of = |result: &str| {
        metric(&text, &format!("keymux_config_reloads_total{{result=\"{result}\"}}"))
    };
    (of("success").unwrap_or(0), of("rejected").unwrap_or(0))
}

/// Waits for these numbers of successful and rejected reloads.
async fn expect_reloads(keymux: &Keymux, expected: (u64, u64)) {
    let start = Instant::now();
    loop {
        let found = reloads(keymux).await;
        if found == expected {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{found:?} and not {expected:?} changes were met");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Returns the value of a metric.
fn metric(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}
