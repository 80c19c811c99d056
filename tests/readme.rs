//! README.md, held to the program: its tables, names, numbers and examples are what the code says.

#![allow(clippy::unwrap_used, clippy::panic, reason = "so a test fails")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::iter::successors;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use common::keymux::{Keymux, run};
use keymux::config::{Environment, LoadOptions, Loaded, load, schema};
use keymux::observe::access::End;
use keymux::observe::metrics::Metrics;
use keymux::provider::{Auth, Conversion, Kind};
use keymux::wire::address::{Place, find};
use keymux::wire::failure::Class;
use keymux::wire::{Api, Operation};
use serde_json::{Value as Json, json};

const README: &str = include_str!("../README.md");

/// What stands under a header of the second level.
fn section(title: &str) -> &'static str {
    let (_, rest) = README.split_once(&format!("\n## {title}\n")).unwrap();
    rest.split("\n## ").next().unwrap()
}

/// The text under a title of the second rank.
fn part(title: &str) -> &'static str {
    let (_, rest) = README.split_once(&format!("\n### {title}\n")).unwrap();
    rest.split("\n## ").next().unwrap().split("\n### ").next().unwrap()
}

/// The cells of the rows of all tables in a text, without the rows of titles.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let table = lines.iter().enumerate().filter(|(_, line)| line.starts_with("| "));
    table
        .filter(|(at, _)| !lines.get(at + 1).is_some_and(|next| next.starts_with("|---")))
        .map(|(_, line)| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect()
}

/// What stands between backticks.
fn code(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The code blocks of a language, with their indentation taken off.
fn blocks(language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for line in README.lines() {
        let bare = line.trim_start();
        match &mut open {
            Some(_) if bare == "```" => blocks.extend(open.take().map(|(_, text)| text)),
            Some((indent, text)) => {
                text.push_str(line.get(*indent..).unwrap_or_default());
                text.push('\n');
            }
            None if bare.strip_prefix("```") == Some(language) => {
                open = Some((line.len() - bare.len(), String::new()));
            }
            None => {}
        }
    }
    blocks
}

fn set<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    items.into_iter().collect()
}

/// An environment that has every variable and every secret file.
struct Everything {
    text: String,
}

impl Environment for Everything {
    fn variable(&self, name: &str) -> Option<OsString> {
        Some(format!("sk-of-{name}").into())
    }

    fn keymux_variables(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let toml = path.extension().is_some_and(|extension| extension == "toml");
        let secret = || format!("sk-in-{}\n", path.display());
        Ok(if toml { self.text.clone() } else { secret() }.into())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }
}

fn load_text(text: &str, overrides: &[(String, String)]) -> Loaded {
    let options = LoadOptions { file: "keymux.toml".into(), overrides: overrides.to_vec() };
    load(&options, &Everything { text: text.to_owned() })
}

#[test]
fn its_configurations_load_alone_and_together() {
    let blocks = blocks("toml");
    assert!(blocks.len() >= 2);
    for text in &blocks {
        assert!(load_text(text, &[]).config.is_some(), "{text}");
    }
    // Each is added to the one before.
    for end in 1..=blocks.len() {
        assert_eq!(load_text(&blocks[..end].concat(), &[]).problems, []);
    }
}

#[test]
fn the_settings_it_names_are_settings() {
    let schema: Json = serde_json::from_str(&schema::json_schema()).unwrap();
    let known = |section: &str, name: &str| {
        let section = &schema["properties"][section];
        let reference = section["$ref"].as_str().unwrap().trim_start_matches('#');
        schema.pointer(reference).unwrap()["properties"].get(name).is_some()
    };
    let mut seen = 0;
    for token in code(README) {
        let Some((section, name)) = token.split_once('.') else { continue };
        if ["server", "admin", "reload", "retry"].contains(&section) {
            assert!(known(section, name), "{token}");
            seen += 1;
        }
    }
    assert!(seen >= 8, "{seen}");
    let flag = code(README).into_iter().find_map(|token| token.strip_prefix("--set ")).unwrap();
    let (setting, value) = flag.split_once('=').unwrap();
    let echo = "[providers.echo]\n";
    let loaded = load_text(echo, &[(setting.to_owned(), value.to_owned())]);
    let effective = loaded.config.unwrap().effective;
    let set = effective.iter().find(|known| known.path == setting).unwrap();
    assert_eq!(set.value, Json::from(value));
    let variable = format!("KEYMUX_{}", setting.to_uppercase().replace('.', "__"));
    assert!(code(README).contains(&&*variable), "{variable}");
}

#[test]
fn the_providers_are_the_kinds() {
    let mut told = BTreeSet::new();
    for row in rows(section("Providers")).iter().filter(|row| row.len() == 4) {
        let name = code(row[0])[0];
        let kind = Kind::from_name(name).unwrap_or_else(|| panic!("no kind {name}"));
        assert!(told.insert(name), "{name} stands there twice");
        let expected = [&*address(kind, row[1]), credential(kind), &*apis(kind)];
        assert_eq!(row[1..], expected, "{name}");
    }
    assert_eq!(told, set(Kind::all().map(Kind::name)));
}

/// What the table says of a kind's address; where it says it in words, these.
fn address(kind: Kind, words: &str) -> String {
    let row = kind.info();
    let url = match row.base_url {
        Some(url) if row.auth == Auth::Cloud => {
            let host = url.rsplit_once("us-east-1").map_or(&url["https://".len()..], |end| end.1);
            assert!(words.starts_with("the region's") && words.contains(host), "{words}");
            return words.to_owned();
        }
        Some(url) if url.starts_with("http") => format!("`{url}`"),
        Some(_) => {
            assert!(words.starts_with("in this process") && !words.contains("http"), "{words}");
            return words.to_owned();
        }
        None => {
            let needed = if kind == Kind::Azure { "the key's `endpoint`" } else { "`base_url`" };
            assert!(words.starts_with(&format!("none: {needed} is needed")), "{words}");
            return words.to_owned();
        }
    };
    match (row.path_prefix, row.key_config) {
        ("", Some(_)) if !row.needs_value => format!("{url}, or the key's `url`"),
        ("", _) => url,
        (prefix, _) => format!("{url}, OpenAI's API under `{prefix}`"),
    }
}

fn credential(kind: Kind) -> &'static str {
    let row = kind.info();
    match (row.auth, row.needs_value) {
        (Auth::Bearer, true) => "`value`, as Bearer",
        (Auth::Bearer, false) => "`value` as Bearer, or none",
        (Auth::Anthropic, _) => "`value`, as `x-api-key`",
        (Auth::Gemini, _) => "`value`, as `x-goog-api-key`",
        (Auth::Cloud, _) => "see [Clouds](#clouds)",
        (Auth::None, _) => "none",
    }
}

/// The APIs of a kind, with the operations where it has only some of them.
fn apis(kind: Kind) -> String {
    let all = |api| {
        // The paths of Vertex are another way to Anthropic's messages.
        Operation::of(api).filter(|operation| {
            let vertex = operation.name().contains("raw_") || *operation == Operation::Predict;
            !operation.path().is_empty() && !vertex
        })
    };
    let one = |api: &Api| {
        let has: Vec<_> = all(*api).filter(|operation| kind.supports(*operation)).collect();
        if has.len() == all(*api).count() {
            return api.name().to_owned();
        }
        let names: Vec<_> = has.iter().map(|operation| operation.name()).collect();
        format!("{} ({})", api.name(), names.join(", "))
    };
    kind.info().apis.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[test]
fn the_paths_are_the_operations() {
    let mut told = BTreeSet::new();
    for row in rows(part("Paths")) {
        let mut method = "";
        for path in code(row[1]) {
            let (verb, path) = path.split_once(' ').unwrap_or((method, path));
            method = verb;
            let asked = path.replace(['{', '}'], "").replace("//", "/x/");
            match (method, find(&asked)) {
                ("POST", Some(Place::Operation(address))) => {
                    assert_eq!(row[0], address.operation.api().name(), "{path}");
                    told.insert(address.operation.name());
                }
                ("GET", Some(Place::Models | Place::Model(_))) => {}
                (_, found) => panic!("{method} {path}: {found:?}"),
            }
        }
    }
    let all = Operation::all().filter(|operation| !operation.path().is_empty());
    assert_eq!(told, set(all.map(Operation::name)));
}

/// Models that show all the ways of a kind.
fn models(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Vertex => {
            &["text-embedding-005", "gemini-embedding-2", "intfloat/e5-maas", "claude-x"]
        }
        Kind::Azure => &["gpt-x", "claude-x"],
        Kind::Bedrock => &[
            "amazon.titan-embed-text-v2:0",
            "amazon.nova-2-multimodal-embeddings-v1:0",
            "cohere.embed-v4:0",
            "anthropic.claude-x",
        ],
        _ => &["x"],
    }
}

#[test]
fn embeddings_and_counts_are_asked_for_as_it_says() {
    let mut told = BTreeSet::new();
    for row in rows(part("Embeddings and counts of tokens")) {
        for name in code(row[0]) {
            let kind = Kind::from_name(name).unwrap();
            assert!(told.insert(name), "{name} stands there twice");
            let paths = |operation: Operation| {
                let ways =
                    models(kind).iter().map(|model| kind.conversion(operation, None, [model; 2]));
                ways.filter_map(|way| match way {
                    Conversion::Embeddings(format) => Some(format.operation().path()),
                    Conversion::CountTokens(counter) => Some(counter.operation().path()),
                    Conversion::Verbatim => Some(operation.path()),
                    Conversion::Translate(_) | Conversion::Unsupported => None,
                })
                .collect::<BTreeSet<_>>()
            };
            let mut embeddings = paths(Operation::Embeddings);
            if kind == Kind::Cohere {
                // Whether its compatible endpoint will do is seen in the request.
                embeddings.insert(Operation::Embeddings.path());
            }
            // Asked in a format that none of these providers has, so that each is asked in its own.
            let counts = match kind {
                Kind::Anthropic | Kind::Azure => paths(Operation::GeminiCountTokens),
                _ => paths(Operation::CountTokens),
            };
            let named = |cell: &'static str| {
                set(code(cell).into_iter().filter(|name| *name != "dimensions"))
            };
            assert_eq!(named(row[1]), embeddings, "{name}");
            assert_eq!(named(row[2]), counts, "{name}");
        }
    }
    assert_eq!(told, set(Kind::all().map(Kind::name)));
}

#[test]
fn the_things_kept_are_those_that_are_found() {
    let mut told = BTreeSet::new();
    for row in rows(part("Files, batches, stored responses")) {
        for path in code(row[1]) {
            let Some(Place::Stored(stored)) = find(path) else { panic!("{path}") };
            assert_eq!(row[0], stored.operation.api().name(), "{path}");
            told.insert(stored.operation.name());
        }
    }
    let all = Operation::all().filter(|operation| operation.path().is_empty());
    assert_eq!(told, set(all.map(Operation::name)));
}

/// Every class, by a chain that does not compile when one is added and not told here.
fn classes() -> impl Iterator<Item = Class> {
    successors(Some(Class::BadCredential), |class| match class {
        Class::BadCredential => Some(Class::NoAccess),
        Class::NoAccess => Some(Class::NoCredit),
        Class::NoCredit => Some(Class::Throttled),
        Class::Throttled => Some(Class::Trouble),
        Class::Trouble => Some(Class::ContextTooLong),
        Class::ContextTooLong => Some(Class::Caller),
        Class::Caller => None,
    })
}

/// Metrics, their labels, and of each label the values that come from a fixed list.
type Told = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

#[test]
fn the_metrics_are_those_that_are_printed() {
    let mut told = Told::new();
    for row in rows(section("Admin listener")).iter().filter(|row| !row[0].starts_with("`/")) {
        let (labels, values) = row[1].split_once(": ").unwrap_or((row[1], ""));
        let mut labels: BTreeMap<_, _> =
            code(labels).into_iter().map(|label| (label.to_owned(), BTreeSet::new())).collect();
        let (values, listed) = (set(code(values).into_iter().map(str::to_owned)), row[1]);
        for (label, of) in &mut labels {
            // The values stand behind the last label.
            if listed.contains(&format!("`{label}`: ")) {
                of.clone_from(&values);
            }
        }
        told.extend(
            code(row[0]).into_iter().map(|name| (format!("keymux_{name}"), labels.clone())),
        );
    }
    assert_eq!(told, printed());
}

/// Everything that a registry prints in which everything was counted.
fn printed() -> Told {
    let metrics = Metrics::default();
    let name: Arc<str> = "name".into();
    metrics.client(&name).request("chat", 200);
    metrics.config("hash", 1);
    metrics.reload(true);
    metrics.reload(false);
    metrics.provider(&name);
    let key = metrics.key(&name, &name);
    classes().for_each(|class| key.failed(class.name()));
    key.limits([("max_concurrent", Some(1)), ("rpm", Some(1)), ("tpm", Some(1))]);
    key.remaining([("requests", Some(1)), ("tokens", Some(1)), ("output_tokens", Some(1))]);
    let text = metrics.text();
    let histograms: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" histogram"))
        .collect();
    let mut printed = Told::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (sample, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
        let histogram = histograms.iter().find(|histogram| name.starts_with(**histogram));
        let metric = printed.entry((*histogram.unwrap_or(&name)).to_owned()).or_default();
        for label in labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty()) {
            let (label, value) = label.split_once('=').unwrap();
            if label == "le" {
                continue;
            }
            let values = metric.entry(label.to_owned()).or_default();
            if ["class", "kind", "result"].contains(&label) {
                values.insert(value.trim_matches('"').to_owned());
            }
        }
    }
    // One that is never counted here would not be printed either.
    let registered = include_str!("../src/observe/metrics.rs").matches("all.register").count();
    assert_eq!(printed.len(), registered, "{:?}", printed.keys());
    printed
}

#[test]
fn the_ends_of_requests_are_those_of_the_access_log() {
    let ends = successors(Some(End::Complete), |end| match end {
        End::Complete => Some(End::Refused),
        End::Refused => Some(End::Cut),
        End::Cut => Some(End::CallerGone),
        End::CallerGone => Some(End::Stopped),
        End::Stopped => None,
    });
    let name = |end: End| end.name().to_owned();
    let told = section("Admin listener").split_once("how it ended (").unwrap().1;
    let told = code(told.split_once(')').unwrap().0);
    assert_eq!(told, ends.map(name).collect::<Vec<_>>());
}

#[test]
fn the_commands_are_those_of_the_program() {
    let help = |arguments: &[&str]| {
        let output = run(Path::new("."), &[arguments, &["--help"]].concat(), &[]);
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let own = ["--config", "--set", "--help", "--version"];
    let flags = |text: &str| {
        let words = text.split(|char: char| !(char.is_ascii_alphanumeric() || char == '-'));
        let flags = words.filter(|word| word.starts_with("--") && word.len() > 2);
        set(flags.filter(|flag| !own.contains(flag)).map(str::to_owned))
    };
    let text = help(&[]);
    let (_, listed) = text.split_once("Commands:\n").unwrap();
    let listed = listed.lines().take_while(|line| !line.is_empty());
    let listed = listed.map(|line| line.split_whitespace().next().unwrap().to_owned());
    let listed = set(listed.filter(|name| name != "help"));
    let mut told = BTreeSet::new();
    for row in rows(section("Commands")) {
        let command = code(row[0])[0].strip_prefix("keymux ").unwrap();
        let name = command.split(' ').next().unwrap();
        let text = help(&[name]);
        assert_eq!(flags(&text), flags(command), "{name}");
        assert_eq!(text.contains("--config"), name != "schema", "{name}");
        told.insert(name.to_owned());
    }
    assert_eq!(told, listed);
    for block in blocks("sh") {
        for line in block.lines() {
            let Some(rest) = line.trim_start().strip_prefix("keymux ") else { continue };
            assert!(listed.contains(rest.split(' ').next().unwrap()), "{line}");
        }
    }
}

#[test]
fn the_limits_are_the_defaults() {
    let loaded = load_text("[providers.echo]\n", &[]).config.unwrap();
    let mut seen = 0;
    for row in rows(section("Limits")).iter().filter(|row| row.len() == 2) {
        for part in row[1].split(", ") {
            let Some((limit, setting)) = part.split_once(" (`server.") else { continue };
            let name = setting.trim_end_matches("`)");
            let path = format!("server.{name}");
            let of = loaded.effective.iter().find(|known| known.path == path).unwrap();
            let limit: String = limit.split(' ').take(2).collect();
            let value = of.value.as_str().map_or_else(|| of.value.to_string(), str::to_owned);
            assert_eq!(value, limit, "{part}");
            seen += 1;
        }
    }
    assert_eq!(seen, 5);
}

#[test]
fn the_numbers_are_those_of_the_source() {
    rest_on_the_source(&[
        ("Rust (1.90 or newer)", "Cargo.toml", "rust-version = \"1.90\""),
        ("| 256 streams a connection,", "src/gateway/protocol.rs", "const STREAMS: u32 = 256;"),
        (
            "| 16 times `server.max_body` and at least 256 MiB;",
            "src/gateway/incoming.rs",
            "const STORE: usize = 256 << 20;\nconst STORE_OF_LARGEST: usize = 16;",
        ),
        (
            "| bodies over 64 KiB,",
            "src/gateway/incoming.rs",
            "const FIRST_ROOM: usize = 64 * 1024;",
        ),
        ("| 64 KiB, 100 lines,", "src/gateway/protocol.rs", "const HEAD: usize = 64 * 1024;"),
        (
            "requests | 120 s;",
            "src/gateway/conn.rs",
            "const REST: Duration = Duration::from_secs(120);",
        ),
        (
            "| a whole answer | held until it is whole, up to 256 KiB and 1 s,",
            "src/gateway/attempt/reading.rs",
            "const SHORT: usize = 256 * 1024;\nconst AT_ONCE: Duration = Duration::from_secs(1);",
        ),
        (
            "error body | 256 KiB |",
            "src/gateway/attempt/reading.rs",
            "const ERROR_BODY: usize = 256 * 1024;",
        ),
        (
            "| the key | 5 minutes, doubling to an hour |",
            "src/keys/cooldown.rs",
            "Class::BadCredential => row(Reach::Key, 300, 3600),",
        ),
        (
            "| the key | 10 minutes, doubling to an hour |",
            "src/keys/cooldown.rs",
            "Class::NoCredit => row(Reach::Key, 600, 3600),",
        ),
        (
            "| the key with this model | 5 minutes |",
            "src/keys/cooldown.rs",
            "Class::NoAccess => row(Reach::Model, 300, 300),",
        ),
        (
            "an hour at most; else 10 s, doubling to 120 s |",
            "src/keys/cooldown.rs",
            "Class::Throttled => row(Reach::Model, 10, 120),",
        ),
        (
            "after 3 in a row | 5 s, doubling to 60 s |",
            "src/keys/cooldown.rs",
            "Class::Trouble => row(Reach::Model, 5, 60),",
        ),
        ("after 3 in a row", "src/keys/cooldown.rs", "const TROUBLES: u32 = 3;"),
        ("up to a tenth more", "src/keys/health/ailment.rs", "const JITTER: f64 = 0.1;"),
        ("holds it at most 1.5", "tests/systemd.sh", "most=1.5"),
        ("run as uid 65532", "Dockerfile", "USER 65532:65532"),
    ]);
}

#[test]
fn the_numbers_of_streams_are_those_of_the_source() {
    rest_on_the_source(&[
        (
            "gets a comment every 10 s (",
            "src/gateway/rescue/hold.rs",
            "const KEEP_ALIVE: Duration = Duration::from_secs(10);",
        ),
        ("at most 16 MiB are held", "src/gateway/rescue/hold.rs", "const MOST: usize = 16 << 20;"),
        (
            "| more than 512 KiB of text,",
            "src/wire/resume/said.rs",
            "const MOST: usize = 512 * 1024;",
        ),
        (
            "one event over 256 KiB,",
            "src/wire/resume/units.rs",
            "const GATHERED: usize = 256 * 1024;",
        ),
        (
            "an event of more than 16 MiB",
            "src/gateway/relay.rs",
            "const LONGEST_EVENT: usize = 16 << 20;",
        ),
    ]);
}

/// Words of the README, the file that they rest on, and what stands there.
fn rest_on_the_source(rows: &[(&str, &str, &str)]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = README.split_whitespace().collect::<Vec<_>>().join(" ");
    for (words, file, source) in rows {
        assert!(
            readme.contains(words),
            "the README no longer says {words:?}: change this test too"
        );
        let text = fs::read_to_string(root.join(file)).unwrap();
        assert!(text.contains(source), "{file} has no {source:?}, on which {words:?} rests");
    }
}

#[test]
fn the_files_it_names_are_there() {
    let links = README.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let links = links.filter(|link| !link.starts_with('#') && !link.contains("://"));
    let folders = ["src/", "tests/", "systemd/", "examples/", "benches/"];
    let named = code(README).into_iter().flat_map(|token| token.split(' '));
    let named = named.filter(|token| folders.iter().any(|folder| token.starts_with(folder)));
    let mut seen = 0;
    for file in links.chain(named).chain(["config.example.toml", "keymux.schema.json"]) {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(file).exists(), "{file}");
        seen += 1;
    }
    assert!(seen >= 8, "{seen}");
}

#[tokio::test]
async fn the_answers_and_the_admin_paths_are_those_of_the_program() {
    let keymux =
        Keymux::start(&common::config::config("", &["[providers.echo]".into()]), &[]).await;
    let asked = json!({ "model": "echo/x", "messages": [{ "role": "user", "content": "one" }] });
    let answered = common::http::post(keymux.address(), "/v1/chat/completions", &[], &asked).await;
    let refused = common::http::get(keymux.address(), "/v1/nothing", &[]).await;
    let (_, told) = README.split_once("Every answer carries ").unwrap();
    let told = code(told.split_once(". ").unwrap().0);
    assert_eq!(told.len(), 5, "{told:?}");
    for (at, header) in told.into_iter().enumerate() {
        assert!(answered.header(header).is_some(), "{header}");
        assert_eq!(refused.header(header).is_some(), at < 2, "{header}");
    }
    let told = rows(section("Admin listener"));
    let told = told.iter().flat_map(|row| code(row[0])).filter(|token| token.starts_with('/'));
    let listed = keymux.admin("/").await.text();
    let listed = listed.trim().strip_prefix("keymux: ").unwrap().split(' ').map(str::to_owned);
    assert_eq!(set(told.map(str::to_owned)), set(listed));
}
