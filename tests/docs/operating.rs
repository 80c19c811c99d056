//! docs/operating.md: metrics, access log, admin listener, commands, and the headers of answers.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::successors;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use keymux::observe::access::End;
use keymux::observe::metrics::Metrics;
use keymux::wire::failure::class::Class;

use crate::common::keymux::{Keymux, run};
use crate::common::{config, http};
use crate::page::{assert_generated, code, header, read, row, rows, section};
use crate::set;

const PAGE: &str = "docs/operating.md";

/// Every class of failure, by a chain that does not compile when one is added and not listed here.
pub(crate) fn classes() -> impl Iterator<Item = Class> {
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

/// A metric as it is printed.
#[derive(Default)]
struct Printed {
    kind: String,
    help: String,
    /// Labels, and of those with a fixed list, the values.
    labels: BTreeMap<String, BTreeSet<String>>,
}

#[test]
fn the_table_of_metrics_is_what_is_printed() {
    let mut table = header(["metric", "type", "labels", "meaning"]);
    for (name, metric) in printed() {
        let label = |(label, values): (&String, &BTreeSet<String>)| {
            let values: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
            let values = if values.is_empty() { "" } else { &*format!(": {}", values.join(" ")) };
            format!("`{label}`{values}")
        };
        let labels = metric.labels.iter().map(label).collect::<Vec<_>>().join(", ");
        table.push_str(&row([&format!("`{name}`"), &metric.kind, &labels, &metric.help]));
    }
    assert_generated(PAGE, "metrics", &table);
}

/// Everything that a registry prints in which everything was counted.
fn printed() -> BTreeMap<String, Printed> {
    let metrics = Metrics::default();
    let name: Arc<str> = "name".into();
    metrics.client(&name).record_request("chat", 200);
    metrics.set_active_config("hash", 1);
    metrics.record_reload(true);
    metrics.record_reload(false);
    metrics.provider(&name);
    let key = metrics.key(&name, &name);
    classes().for_each(|class| key.record_failure(class.name()));
    key.set_limits([("max_concurrent", Some(1)), ("rpm", Some(1)), ("tpm", Some(1))]);
    key.set_remaining([("requests", Some(1)), ("tokens", Some(1)), ("output_tokens", Some(1))]);
    let mut printed: BTreeMap<String, Printed> = BTreeMap::new();
    let (mut family, mut about) = (String::new(), Printed::default());
    for line in metrics.encode().lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            name.clone_into(&mut family);
            help.trim_end_matches('.').clone_into(&mut about.help);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            rest.rsplit(' ').next().unwrap().clone_into(&mut about.kind);
        } else if !line.starts_with('#') && !line.is_empty() {
            let (sample, _) = line.rsplit_once(' ').unwrap();
            let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
            let name = if about.kind == "histogram" { &*family } else { name };
            let metric = printed.entry(name.to_owned()).or_default();
            (metric.kind, metric.help) = (about.kind.clone(), about.help.clone());
            let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty());
            for (label, value) in labels.filter_map(|label| label.split_once('=')) {
                if label != "le" {
                    let values = metric.labels.entry(label.to_owned()).or_default();
                    if ["class", "kind", "result"].contains(&label) {
                        values.insert(value.trim_matches('"').to_owned());
                    }
                }
            }
        }
    }
    // A metric that is never counted above would not be printed.
    let registered = include_str!("../../src/observe/metrics.rs").matches("all.register").count();
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
    let rows = rows(&section(PAGE, "How a request ended"));
    let listed: Vec<_> = rows.iter().map(|row| code(&row[0])[0]).collect();
    assert_eq!(listed, ends.map(End::name).collect::<Vec<_>>());
}

#[test]
fn the_commands_are_those_of_the_program() {
    let help = |arguments: &[&str]| {
        let output = run(Path::new("."), &[arguments, &["--help"]].concat(), &[]);
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let of_all = ["--config", "--set", "--help", "--version"];
    let flags = |text: &str| {
        let words = text.split(|char: char| !(char.is_ascii_alphanumeric() || char == '-'));
        let flags = words.filter(|word| word.starts_with("--") && word.len() > 2);
        set(flags.filter(|flag| !of_all.contains(flag)).map(str::to_owned))
    };
    let text = help(&[]);
    let (_, of_program) = text.split_once("Commands:\n").unwrap();
    let of_program = of_program.lines().take_while(|line| !line.is_empty());
    let of_program = of_program.map(|line| line.split_whitespace().next().unwrap().to_owned());
    let of_program = set(of_program.filter(|name| name != "help"));
    let mut listed = BTreeSet::new();
    for row in rows(&section(PAGE, "Commands")) {
        let command = code(&row[0])[0].strip_prefix("keymux ").unwrap();
        let name = command.split(' ').next().unwrap();
        let text = help(&[name]);
        assert_eq!(flags(&text), flags(command), "{name}");
        assert_eq!(text.contains("--config"), name != "schema", "{name}");
        listed.insert(name.to_owned());
    }
    assert_eq!(listed, of_program);
}

/// The first cells of a table, without backticks.
fn names(heading: &str) -> BTreeSet<String> {
    let rows = rows(&section(PAGE, heading));
    set(rows.iter().flat_map(|row| code(&row[0])).map(str::to_owned))
}

fn members(object: &Json) -> BTreeSet<String> {
    set(object.as_object().unwrap().keys().cloned())
}

#[tokio::test]
async fn the_admin_listener_and_the_access_log_are_as_listed() {
    let client = config::client("app", "");
    let text = config::config("", &["[providers.echo]".into(), client]);
    let keymux = Keymux::start(&text, &[]).await;
    let request = json!({ "model": "echo/x", "messages": [{ "role": "user", "content": "one" }] });
    let token = [("authorization", "Bearer client-app")];
    http::post(keymux.address(), "/v1/chat/completions", &token, &request).await;

    let paths = keymux.admin("/").await.text();
    let paths = paths.trim().strip_prefix("keymux: ").unwrap().split(' ').map(str::to_owned);
    let listed = names("Admin listener").into_iter();
    assert_eq!(set(listed.filter(|name| name.starts_with('/'))), set(paths));

    let keys: Json = serde_json::from_str(&keymux.admin("/keys").await.text()).unwrap();
    assert_eq!(names("What `/keys` reports"), members(&keys[0]));

    let log = keymux.log_with("\"target\":\"access\"").await;
    let line = log.lines().find(|line| line.contains("\"target\":\"access\"")).unwrap();
    let mut line = members(&serde_json::from_str(line).unwrap());
    // Members that this request does not have: a stream was not rescued, echo has no id and no cache.
    line.extend(["rescued", "tokens_cached", "upstream_id"].map(str::to_owned));
    assert_eq!(names("Access log"), line);
}

#[tokio::test]
async fn answers_carry_the_headers_that_are_listed() {
    let keymux = Keymux::start(&config::config("", &["[providers.echo]".into()]), &[]).await;
    let request = json!({ "model": "echo/x", "messages": [{ "role": "user", "content": "one" }] });
    let answer = http::post(keymux.address(), "/v1/chat/completions", &[], &request).await;
    let refusal = http::get(keymux.address(), "/v1/nothing", &[]).await;
    let rows = rows(&section("docs/routing.md", "Headers of an answer"));
    let headers: Vec<_> = rows.iter().map(|row| (code(&row[0])[0], row[1].as_str())).collect();
    assert_eq!(headers.len(), 6, "{headers:?}");
    for (header, when) in headers {
        assert_eq!(refusal.header(header).is_some(), when == "every answer", "{header}");
        let is_on_answer = answer.header(header).is_some();
        assert_eq!(is_on_answer, header != "x-keymux-dropped", "{header}");
    }
}

#[test]
fn the_classes_of_failure_are_those_of_the_program() {
    let rows = rows(&section("docs/failures.md", "Classes of failure"));
    let listed = set(rows.iter().map(|row| code(&row[0])[0].to_owned()));
    assert_eq!(listed, set(classes().map(|class| class.name().to_owned())));
    assert!(read(PAGE).contains("(failures.md#classes-of-failure)"));
}
