//! No secret in any output: six characters in a row of any credential would already be too many.

#![allow(clippy::unwrap_used, reason = "so a test fails")]

mod common;

use std::time::Duration;

use common::config::config;
use common::http;
use common::keymux::{Keymux, run};
use common::upstream::{
    Step, Upstream, answer, chat_answer, chat_events, json_answer, message_answer, message_events,
};
use rustix::process::Signal;
use serde_json::json;

const CHAT: &str = "/v1/chat/completions";

/// Credentials of a made-up alphabet, so that no piece of them is found by chance.
const CLIENT: &str = "Zq7Xw9Kv3Jp5Yg8Bm2Nd";
const CLIENT_LITERAL: &str = "Wd4Rk8Tz6Vx2Hj9Qf3Lc";
const PROVIDER: &str = "Gx5Mv8Cq2Zt7Pk4Wy9Jb";
const HEADER: &str = "Kf3Yz6Qn9Xd2Vw7Tg5Rp";
const ADMIN: &str = "Jm9Bq4Xk7Wz3Gd6Yv2Tn";
const PROXY: &str = "Vt6Zd3Rw8Kq5Nx9Jf2Yg";
const BROKEN: &str = "Qz8Wv5Xj2Kd7Yt4Gm9Rb";
const STRANGER: &str = "Yw2Jx7Zk4Qv9Tf6Dg3Nm";

const ALL: [&str; 8] = [CLIENT, CLIENT_LITERAL, PROVIDER, HEADER, ADMIN, PROXY, BROKEN, STRANGER];

fn hold_no_secret(what: &str, text: &str) {
    assert!(!text.is_empty(), "{what} says nothing");
    for secret in ALL {
        for start in 0..=secret.len() - 6 {
            let piece = &secret[start..start + 6];
            assert!(!text.contains(piece), "{piece} of {secret} in {what}:\n{text}");
        }
    }
}

fn text(upstream: &Upstream) -> String {
    let base = upstream.url();
    config(
        "",
        &[format!(
            "[[clients]]\nname = \"one\"\nkey = {{ env_var = \"CLIENT\" }}\n\
             [[clients]]\nname = \"two\"\nkey = \"{CLIENT_LITERAL}\"\n\
             [providers.main]\nkind = \"openai-compatible\"\nbase_url = \"{base}/v1\"\n\
             headers = {{ \"x-extra\" = \"{HEADER}\", \"x-other\" = {{ env_var = \"PROVIDER\" }} }}\n\
             [[providers.main.keys]]\nname = \"only\"\nvalue = {{ file = \"{{DIR}}/key\" }}\n\
             [providers.second]\nkind = \"openai-compatible\"\nbase_url = \"{base}/v1\"\n\
             [[providers.second.keys]]\nname = \"only\"\nvalue = {{ file = \"{{DIR}}/key\" }}\n\
             [providers.claude]\nkind = \"anthropic\"\nbase_url = \"{base}\"\n\
             [[providers.claude.keys]]\nname = \"only\"\nvalue = {{ file = \"{{DIR}}/key\" }}\n\
             [providers.few]\nkind = \"openai-compatible\"\nbase_url = \"{base}/v1\"\n\
             [[providers.few.keys]]\nname = \"rare\"\nvalue = {{ file = \"{{DIR}}/key\" }}\nrpm = 1\n\
             [providers.proxied]\nkind = \"openai-compatible\"\nbase_url = \"http://127.0.0.1:9/v1\"\n\
             proxy = \"http://user:{PROXY}@127.0.0.1:9\"\n\
             [[providers.proxied.keys]]\nname = \"p\"\nvalue = \"{PROVIDER}\"\n"
        )],
    )
    .replace("[admin]\n", "[admin]\ntoken = { env_var = \"ADMIN\" }\n")
}

const ENV: [(&str, &str); 4] =
    [("CLIENT", CLIENT), ("PROVIDER", PROVIDER), ("ADMIN", ADMIN), ("KEYMUX_LOG", "trace")];

/// A provider that answers with everything it receives.
async fn parrot() -> Upstream {
    Upstream::start(|request| {
        let echo = String::from_utf8_lossy(&request.head.raw).into_owned();
        let error = json!({"message": echo, "code": "invalid_request", "type": "server_error"});
        let error = json!({"type": "error", "error": error}).to_string();
        let events = |events: &[&str]| {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
            let mut steps = vec![Step::Send(head.into())];
            for event in events {
                steps.push(Step::Send(event.as_bytes().to_vec()));
                steps.push(Step::Pause(Duration::from_millis(100)));
            }
            [steps, vec![Step::Close]].concat()
        };
        let claude = request.path() == "/v1/messages";
        let failed = format!("event: error\ndata: {error}\n\n");
        if request.method() == "GET" {
            return answer(401, &[], error.as_bytes());
        }
        match request.json()["model"].as_str().unwrap() {
            "fine" if claude => message_answer("hello"),
            "fine" => chat_answer("hello"),
            // An error as the first event, after some events, and instead of a whole response.
            "stream" => events(&[&failed]),
            "late" if claude => events(&[&message_events(&["hello"])[..3].concat(), &failed]),
            "late" => events(&[&chat_events(&["hello"])[0], &failed]),
            "whole" => json_answer(200, &serde_json::from_str(&error).unwrap()),
            "cut" => vec![Step::Reset],
            model => answer(model.parse().unwrap(), &[], error.as_bytes()),
        }
    })
    .await
}

// Two threads: the commands occupy one.
#[expect(clippy::too_many_lines, reason = "one way out after another")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_appears_in_errors_logs_metrics_or_the_configuration() {
    let upstream = parrot().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key"), format!("{PROVIDER}\n")).unwrap();
    let right = text(&upstream);
    let keymux = Keymux::start_in(folder, &right, &ENV).await;
    let bearer = format!("Bearer {CLIENT}");
    let stranger = format!("Bearer {STRANGER}");
    // A rejected key cools down, so each case has its own key.
    for asked in [
        "main/400",
        "main/404",
        "main/429",
        "main/500",
        "main/529",
        "main/stream",
        "main/late",
        "main/whole",
        "main/cut",
        "main/fine",
        "main/401",
        "second/403",
        "claude/400",
        "claude/429",
        "claude/529",
        "claude/stream",
        "claude/late",
        "claude/whole",
        "claude/fine",
        "claude/401",
        "few/fine",
    ] {
        let model = asked.split_once('/').unwrap().1;
        let headers = [("authorization", &*bearer), ("cookie", CLIENT_LITERAL)];
        // In OpenAI's format and in Anthropic's: one of them is translated.
        for path in [CHAT, "/v1/messages"] {
            let turns = json!([{"role": "user", "content": "Hello there"}]);
            let stream = matches!(model, "stream" | "late");
            let body =
                json!({"model": asked, "messages": turns, "max_tokens": 9, "stream": stream});
            let reply = http::post(keymux.address(), path, &headers, &body).await;
            let told = format!("{path} {asked}: {} {}", reply.status(), reply.text());
            let echoes = !matches!(model, "fine" | "cut");
            // A key that is cooling down gets no request.
            let asleep = reply.header("x-keymux-attempts") == Some("0");
            assert_eq!(reply.text().contains("***"), echoes && !asleep, "{told}");
            let head = String::from_utf8_lossy(&reply.head.raw).into_owned();
            hold_no_secret(&format!("the answer to {asked} at {path}"), &(head + &reply.text()));
        }
    }
    let body = json!({"model": "proxied/m"});
    let reply = http::post(keymux.address(), CHAT, &[("x-api-key", CLIENT_LITERAL)], &body).await;
    assert_eq!(reply.status(), 502);
    hold_no_secret("the answer of a proxy that is not there", &reply.text());
    for headers in [[("authorization", &*stranger)], [("x-api-key", STRANGER)]] {
        let reply = http::post(keymux.address(), CHAT, &headers, &body).await;
        assert_eq!(reply.status(), 401);
        hold_no_secret("a refusal", &reply.text());
        let path = format!("/v1/models?key={STRANGER}");
        http::get(keymux.address(), &path, &headers).await;
    }

    // An invalid change, with its error right beside a secret.
    let wrong = right.replace(HEADER, &format!("{BROKEN}\" \"{HEADER}"));
    keymux.rewrite(&wrong);
    keymux.signal(Signal::HUP);
    keymux.log_with("is rejected").await;
    let admin = [("authorization", &*format!("Bearer {ADMIN}"))];
    for path in ["/metrics", "/config", "/readyz", "/keys", "/"] {
        let reply = http::get(keymux.admin_address(), path, &admin).await;
        assert_eq!(reply.status(), 200);
        hold_no_secret(path, &reply.text());
    }
    hold_no_secret("the log", &keymux.log());

    keymux.rewrite(&right);
    for arguments in [
        &["explain", "main/m", "--running"][..],
        &["explain", "few/fine", "--client", "one", "--running"],
        &["explain", "nobody/m", "--running"],
        &["check", "--live"],
        &["check", "--live", "--json"],
    ] {
        let output = run(keymux.folder(), arguments, &ENV);
        let said = [output.stdout, output.stderr].concat();
        hold_no_secret(&arguments.join(" "), &String::from_utf8(said).unwrap());
    }
    for arguments in [&["check"][..], &["check", "--json"], &["keys"], &["explain", "main/m"]] {
        for good in [true, false] {
            keymux.rewrite(if good { &right } else { &wrong });
            let output = run(keymux.folder(), arguments, &ENV);
            assert_eq!(output.status.success(), good, "{arguments:?}");
            let said = [output.stdout, output.stderr].concat();
            hold_no_secret(&arguments.join(" "), &String::from_utf8(said).unwrap());
        }
    }
}
