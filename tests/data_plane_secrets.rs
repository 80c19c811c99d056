//! No secret in any output: six characters in a row of any credential would already be too many.

#![allow(clippy::unwrap_used, reason = "so a test fails")]

mod common;

use common::config::config;
use common::http;
use common::keymux::{Keymux, run};
use common::upstream::{Step, Upstream, answer, chat_answer};
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
             [providers.proxied]\nkind = \"openai-compatible\"\nbase_url = \"http://127.0.0.1:9/v1\"\n\
             proxy = \"http://user:{PROXY}@127.0.0.1:9\"\n\
             [[providers.proxied.keys]]\nname = \"p\"\nvalue = \"{PROVIDER}\"\n"
        )],
    )
    .replace("[admin]\n", "[admin]\ntoken = { env_var = \"ADMIN\" }\n")
}

const ENV: [(&str, &str); 4] =
    [("CLIENT", CLIENT), ("PROVIDER", PROVIDER), ("ADMIN", ADMIN), ("KEYMUX_LOG", "trace")];

/// A provider that answers with everything it was sent.
async fn parrot() -> Upstream {
    Upstream::start(|request| {
        let echo = String::from_utf8_lossy(&request.head.raw).into_owned();
        let error = json!({"error": {"message": echo, "code": "invalid_request"}}).to_string();
        match request.json()["model"].as_str().unwrap() {
            "fine" => chat_answer("hello"),
            "stream" => {
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
                let event = format!("data: {error}\n\n");
                vec![Step::Send([head, &event].concat().into_bytes()), Step::Close]
            }
            "cut" => vec![Step::Reset],
            model => answer(model.parse().unwrap(), &[], error.as_bytes()),
        }
    })
    .await
}

#[tokio::test]
async fn no_secret_reaches_an_error_a_log_a_metric_or_the_configuration() {
    let upstream = parrot().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key"), format!("{PROVIDER}\n")).unwrap();
    let right = text(&upstream);
    let keymux = Keymux::start_in(folder, &right, &ENV).await;
    let bearer = format!("Bearer {CLIENT}");
    let stranger = format!("Bearer {STRANGER}");
    // A key that was refused is left alone from then on: each gets one of its own.
    for asked in [
        "main/400",
        "main/404",
        "main/429",
        "main/500",
        "main/529",
        "main/stream",
        "main/cut",
        "main/fine",
        "main/401",
        "second/403",
    ] {
        let model = asked.split_once('/').unwrap().1;
        let headers = [("authorization", &*bearer), ("cookie", CLIENT_LITERAL)];
        let body = json!({"model": asked});
        let reply = http::post(keymux.address(), CHAT, &headers, &body).await;
        let cut_out = model == "stream" || model.parse::<u16>().is_ok();
        assert_eq!(reply.text().contains("***"), cut_out, "{}", reply.text());
        let head = String::from_utf8_lossy(&reply.head.raw).into_owned();
        hold_no_secret(&format!("the answer to {model}"), &(head + &reply.text()));
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

    // A change for the worse, with its mistake right beside a secret.
    let wrong = right.replace(HEADER, &format!("{BROKEN}\" \"{HEADER}"));
    keymux.rewrite(&wrong);
    keymux.signal(Signal::HUP);
    keymux.log_with("is refused").await;
    let admin = [("authorization", &*format!("Bearer {ADMIN}"))];
    for path in ["/metrics", "/config", "/readyz", "/"] {
        let reply = http::get(keymux.admin_address(), path, &admin).await;
        assert_eq!(reply.status(), 200);
        hold_no_secret(path, &reply.text());
    }
    hold_no_secret("the log", &keymux.log());

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
