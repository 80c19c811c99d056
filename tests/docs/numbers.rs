//! Limits and times that the pages name, each with the source line that has it.

use crate::examples::load_text;
use crate::page::{assert_sources, rows, section};

#[test]
fn the_limits_are_the_defaults() {
    let loaded = load_text("[providers.echo]\n", &[]).config.unwrap();
    let mut seen = 0;
    for row in rows(&section("docs/operating.md", "Limits")).iter().filter(|row| row.len() == 2) {
        for part in row[1].split(", ") {
            let Some((limit, setting)) = part.split_once(" (`server.") else { continue };
            let path = format!("server.{}", setting.trim_end_matches("`)"));
            let known = loaded.effective.iter().find(|known| known.path == path).unwrap();
            let limit: String = limit.split(' ').take(2).collect();
            let value = known.value.as_str().map_or_else(|| known.value.to_string(), str::to_owned);
            assert_eq!(value, limit, "{part}");
            seen += 1;
        }
    }
    assert_eq!(seen, 5);
}

#[test]
fn the_limits_of_http_are_those_of_the_source() {
    let gateway = "src/gateway";
    assert_sources(
        "docs/operating.md",
        &[
            ("| 256 streams a connection,", gateway, "const HTTP2_STREAMS: u32 = 256;"),
            ("| 64 KiB, 100 lines,", gateway, "const HEAD_BYTES: usize = 64 * 1024;"),
            ("100 lines,", gateway, "const HEAD_LINES: usize = 100;"),
            (
                "16 times `server.max_body`, at least 256 MiB;",
                gateway,
                "const LIMIT: usize = 256 << 20;\nconst LIMIT_IN_BODIES: usize = 16;",
            ),
            ("| bodies over 64 KiB,", gateway, "const FIRST_BUFFER: usize = 64 * 1024;"),
            ("requests | 120 s;", gateway, "const IDLE: Duration = Duration::from_secs(120);"),
            (
                "up to 256 KiB and 1 s,",
                gateway,
                "const SHORT_RESPONSE: usize = 256 * 1024;\nconst SHORT_TIME: Duration = Duration::from_secs(1);",
            ),
            ("error body | 256 KiB |", gateway, "const ERROR_BODY: usize = 256 * 1024;"),
        ],
    );
    assert_sources(
        "docs/install.md",
        &[
            ("at most 1.5", "tests/systemd.sh", "most=1.5"),
            ("uid 65532", "Dockerfile", "USER 65532:65532"),
        ],
    );
    assert_sources("README.md", &[("Rust 1.90", "Cargo.toml", "rust-version = \"1.90\"")]);
    assert_sources("docs/install.md", &[("Rust 1.90", "Cargo.toml", "rust-version = \"1.90\"")]);
}

#[test]
fn the_cooldowns_are_those_of_the_source() {
    let table = "src/keys";
    assert_sources(
        "docs/failures.md",
        &[
            (
                "| the key | 5 minutes, doubling to an hour |",
                table,
                "row(CooldownScope::Key, 300, 3600)",
            ),
            (
                "| the key | 10 minutes, doubling to an hour |",
                table,
                "row(CooldownScope::Key, 600, 3600)",
            ),
            (
                "| the key with this model | 5 minutes |",
                table,
                "row(CooldownScope::Model, 300, 300)",
            ),
            (
                "an hour at most; else 10 s, doubling to 120 s |",
                table,
                "row(CooldownScope::Model, 10, 120)",
            ),
            (
                "after 3 in a row | 5 s, doubling to 60 s |",
                table,
                "row(CooldownScope::Model, 5, 60)",
            ),
            ("after 3 in a row", table, "u32 = 3;"),
            ("up to a tenth more", table, "JITTER: f64 = 0.1;"),
        ],
    );
}

#[test]
fn the_numbers_of_streams_are_those_of_the_source() {
    let gateway = "src/gateway";
    assert_sources(
        "docs/failures.md",
        &[
            ("a comment every 10 s", gateway, "INTERVAL: Duration = Duration::from_secs(10);"),
            ("at most 16 MiB are held", gateway, "const LIMIT: usize = 16 << 20;"),
            ("an event over 16 MiB", gateway, "const LONGEST_EVENT: usize = 16 << 20;"),
        ],
    );
}
