//! What it costs to know where a request goes: the model's name looked up, a key chosen, a turn given.
//!
//! `cargo bench --bench keys`

#![allow(clippy::unwrap_used, reason = "the inputs are fixed")]

use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use keymux::config::{self, Config, LoadOptions, SystemEnvironment};
use keymux::keys::{Pool, Ties, Tried, Want};
use keymux::share::TurnCounter;

/// What the keys of a pool have in their tables besides name and weight.
#[derive(Clone, Copy)]
enum Rules {
    None,
    /// Ten patterns to allow and two to deny; the model asked for is under the last of the ten.
    Patterns,
    /// Every second key names three clients, of which the caller is the last.
    Clients,
}

impl Rules {
    fn of_key(self, place: usize) -> &'static str {
        match self {
            Rules::Patterns => {
                "models = [\"o1*\", \"o3*\", \"o4-*\", \"gpt-3.5*\", \"gpt-4-*\", \"gpt-4.1*\", \"gpt-5*\", \
                 \"text-embedding-*\", \"*-tts\", \"gpt-4o*\"]\n\
                 blacklisted_models = [\"*-realtime*\", \"*-audio-preview*\"]\n"
            }
            Rules::Clients if place.is_multiple_of(2) => {
                "clients = [\"search\", \"support\", \"research\"]\n"
            }
            Rules::Clients | Rules::None => "",
        }
    }
}

fn load(text: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keymux.toml");
    fs::write(&file, text).unwrap();
    let loaded = config::load(&LoadOptions { file, overrides: Vec::new() }, &SystemEnvironment);
    assert!(loaded.config.is_some(), "{}", config::problem::report(&loaded.problems, false));
    loaded.config.unwrap()
}

/// The pool of a provider with this many keys, of weights 1 to 5.
fn pool(keys: usize, rules: Rules) -> Pool {
    let mut text = String::new();
    for client in ["search", "support", "research"] {
        writeln!(text, "[[clients]]\nname = \"{client}\"\nkey = \"client-key-{client}\"").unwrap();
    }
    for place in 0..keys {
        let (weight, rules) = (1 + place % 5, rules.of_key(place));
        writeln!(
            text,
            "[[providers.openai.keys]]\nname = \"k{place}\"\nvalue = \"provider-key-{place}\"\n\
             weight = {weight}\n{rules}"
        )
        .unwrap();
    }
    Pool::new(&load(&text).providers[0], None)
}

fn choices(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("choose a key");
    for (said, rules) in [
        ("no rules", Rules::None),
        ("12 patterns a key", Rules::Patterns),
        ("half of the keys for the client", Rules::Clients),
    ] {
        for keys in [2, 10, 100] {
            let (pool, now) = (pool(keys, rules), Instant::now());
            group.bench_function(BenchmarkId::new(said, keys), |bencher| {
                bencher.iter(|| {
                    let mut tried = Tried::default();
                    let want =
                        Want { client: Some("research"), model: "gpt-4o-mini", tokens: 1000 };
                    let (want, given) = (black_box(want), &mut None);
                    pool.choose(want, &mut tried, given, now, &Ties::default).unwrap()
                });
            });
        }
    }
}

fn turns(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("give a turn");
    for weights in [2_u8, 10, 100] {
        let shares: Vec<f64> = (0..weights).map(|place| f64::from(1 + place % 5)).collect();
        let turns = TurnCounter::default();
        group.bench_function(BenchmarkId::from_parameter(weights), |bencher| {
            bencher.iter(|| turns.next().pick(black_box(&shares).iter().copied()).unwrap());
        });
    }
}

/// A file of some size: 20 providers with 4 keys of 6 models each, one more that takes any model, and
/// 50 routes.
fn organization() -> Config {
    let mut text = String::new();
    for provider in 0..20 {
        writeln!(
            text,
            "[providers.p{provider:02}]\nkind = \"openai-compatible\"\nbase_url = \"https://p{provider}.example/v1\""
        )
        .unwrap();
        let models: Vec<String> =
            (0..5).map(|model| format!("\"model-{provider}-{model}\"")).collect();
        let models = models.join(", ");
        for key in 0..4 {
            writeln!(
                text,
                "[[providers.p{provider:02}.keys]]\nname = \"k{key}\"\nvalue = \"provider-key-{provider}-{key}\"\n\
                 models = [{models}, \"family-{provider}-*\"]"
            )
            .unwrap();
        }
    }
    text.push_str("[[providers.openai.keys]]\nname = \"any\"\nvalue = \"provider-key-any\"\n");
    for route in 0..50 {
        let provider = route % 20;
        writeln!(
            text,
            "[routes.route-{route}]\n\
             targets = [{{ model = \"p{provider:02}/model-{provider}-0\" }}, {{ model = \"openai/gpt-4o\" }}]"
        )
        .unwrap();
    }
    load(&text)
}

fn lookups(criterion: &mut Criterion) {
    let config = organization();
    let mut group = criterion.benchmark_group("look a model up");
    for (said, model) in [
        ("a route", "route-33"),
        ("provider and model", "p13/model-13-2"),
        ("a bare name that is listed", "model-13-2"),
        ("a bare name under a pattern", "family-13-large"),
        ("a bare name that is left to the provider of any", "gpt-4o-mini"),
    ] {
        group.bench_function(said, |bencher| {
            bencher.iter(|| config.resolve_model(black_box(model)).unwrap());
        });
    }
}

criterion_group!(benches, choices, turns, lookups);
criterion_main!(benches);
