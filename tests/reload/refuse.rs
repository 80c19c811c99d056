//! Invalid files, and the reports of each reload.

use rustix::process::Signal;
use serde_json::Value;

use crate::common::keymux::Keymux;
use crate::{BASE, expect_key, expect_reloads, file, key, metric};

const SECRET: &str = "sk-4f9Qz7Lm2xW8";

/// Returns a file with two errors and a secret beside them.
fn bad() -> String {
    file("two").replace(
        "models = [\"echo\"]",
        &format!("value = {{ valeu = \"{SECRET}\" }}\nwieght = 1\nmodels = [\"echo\"]"),
    )
}

#[tokio::test]
async fn an_invalid_file_changes_nothing_and_is_reported_everywhere() {
    let keymux = Keymux::start(&file("one"), &[]).await;
    let began = keymux.admin("/metrics").await.text();
    let since = "keymux_config_last_reload_success_timestamp_seconds";
    assert_eq!(metric(&began, "keymux_config_last_reload_successful"), Some(1));
    let hash = hash(&keymux).await;

    keymux.rewrite(&bad());
    expect_reloads(&keymux, (0, 1)).await;
    assert_eq!(key(&keymux).await, "one");
    let text = keymux.admin("/metrics").await.text();
    assert_eq!(metric(&text, "keymux_config_last_reload_successful"), Some(0));
    assert_eq!(metric(&text, since), metric(&began, since));
    assert!(text.contains(&format!("keymux_config_info{{hash=\"{hash}\"}} 1")), "{text}");

    let line =
        1 + keymux.fill_in(&bad()).lines().position(|line| line.starts_with("wieght")).unwrap();
    let place = format!("{}:{line}:1: ", keymux.config_path().display());
    let ready = keymux.admin("/readyz").await;
    assert_eq!(ready.status(), 200);
    let ready = ready.json();
    assert_eq!((&ready["status"], &ready["config"]), (&"ready".into(), &hash.as_str().into()));
    assert_eq!(ready["last_reload"]["result"], "rejected");
    let problems = ready["last_reload"]["problems"].as_array().unwrap();
    let said = |problem: &Value| problem.as_str().unwrap().starts_with(&place);
    assert!(problems.len() == 2 && problems.iter().any(said), "{problems:?} without {place}");
    let log = keymux.log_with("the last valid one stays active").await;
    assert!(log.contains(&place) && log.contains("did you mean `weight`?"), "{log}");

    keymux.signal(Signal::HUP);
    expect_reloads(&keymux, (0, 2)).await;

    keymux.rewrite(&file("two"));
    expect_key(&keymux, "two").await;
    expect_reloads(&keymux, (1, 2)).await;
    let text = keymux.admin("/metrics").await.text();
    assert_eq!(metric(&text, "keymux_config_last_reload_successful"), Some(1));
    assert_ne!(self::hash(&keymux).await, hash);
    let ready = keymux.admin("/readyz").await.json();
    assert_eq!(ready["last_reload"]["result"], "success");

    let told = [keymux.log(), text, ready.to_string()].concat();
    for piece in SECRET.as_bytes().windows(6) {
        let piece = std::str::from_utf8(piece).unwrap();
        assert!(!told.contains(piece), "{piece} of the secret");
    }
}

#[tokio::test]
async fn restoring_the_active_file_ends_the_rejection() {
    let keymux = Keymux::start(&file("one"), &[]).await;
    keymux.rewrite(&bad());
    expect_reloads(&keymux, (0, 1)).await;
    keymux.rewrite(&file("one"));
    expect_reloads(&keymux, (1, 1)).await;
    let ready = keymux.admin("/readyz").await.json();
    assert_eq!(ready["last_reload"]["result"], "success");
    assert_eq!(key(&keymux).await, "one");
}

#[tokio::test]
async fn changes_are_logged_by_name_without_values() {
    let with = |keys: &str| format!("{BASE}{keys}");
    let key = |name: &str, value: &str| {
        format!("[[providers.echo.keys]]\nname = \"{name}\"\nvalue = {{ value = \"{value}\" }}\n")
    };
    let client = |name: &str, value: &str| {
        format!("[[clients]]\nname = \"{name}\"\nkey = {{ value = \"{value}\" }}\n")
    };
    let route = "[routes.fast]\ntargets = [{ model = \"echo/echo\" }]\n";
    let start = [key("a", SECRET), key("b", SECRET), client("c", "ck-first-secret")].concat();
    let keymux = Keymux::start(&with(&start), &[]).await;

    let next = [key("b", SECRET), key("d", SECRET), client("c", "ck-other-secret"), route.into()];
    keymux.rewrite(&with(&next.concat()));
    let log = keymux.log_with("configuration reloaded").await;
    let told = changes(&log).pop().unwrap();
    let mut parts: Vec<&str> = told.split(", ").collect();
    parts.sort_unstable();
    // Not "key echo/b changed": only its position in the list did.
    assert_eq!(
        parts,
        ["client c changed", "key echo/a removed", "key echo/d added", "route fast added"]
    );

    keymux.rewrite(&with(&next.concat()).replace("40ms", "41ms").replace(SECRET, "sk-6Hn3Vt9Kd1"));
    let log = keymux.log_with("reload.settle changed").await;
    let told = changes(&log).pop().unwrap();
    assert_eq!(told, "key echo/b changed, key echo/d changed, reload.settle changed");
    for value in [SECRET, "sk-6Hn3Vt9Kd1", "ck-first", "ck-other", "fingerprint"] {
        assert!(!log.contains(&value[..6]), "{value} in {log}");
    }
}

#[tokio::test]
async fn settings_that_need_a_restart_are_named() {
    let keymux = Keymux::start(&file("one"), &[]).await;
    let warned = |log: &str| log.matches("takes effect at the next start").count();
    let moved = file("two")
        .replace("127.0.0.1:{PORT}\"", "127.0.0.1:1\"\nmax_connections = 7")
        .replace("127.0.0.1:{ADMIN}", "127.0.0.1:2");
    keymux.rewrite(&moved);
    // It is still reachable at the old address.
    expect_key(&keymux, "two").await;
    let log = keymux.log_with("configuration reloaded").await;
    for setting in ["server.listen", "server.max_connections", "admin.listen"] {
        assert!(log.contains(&format!("{setting} has changed")), "{setting} in {log}");
    }
    assert_eq!(warned(&log), 3);
    // With the original address, no restart is needed.
    keymux.rewrite(&file("three"));
    assert_eq!(warned(&keymux.log_with("key echo/three added").await), 3);
}

/// Returns the changes that the log lists for each reload.
fn changes(log: &str) -> Vec<String> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter_map(|line| Some(line["changes"].as_str()?.to_owned())).collect()
}

async fn hash(keymux: &Keymux) -> String {
    keymux.admin("/readyz").await.json()["config"].as_str().unwrap().to_owned()
}
