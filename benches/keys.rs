//! The cost of routing a request: resolving the model name, choosing a key, taking a turn.
//!
//! `cargo bench --bench keys`

#![allow(clippy::unwrap_used, reason = "the inputs are fixed")]

use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use keymux::config::{self, Config, LoadOptions, SystemEnvironment};
use keymux::keys::{AffinityKeys, KeyRequest, Pool, TriedKeys};
use keymux::share::TurnCounter;

/// The settings of the keys besides name and weight.
#[derive(Clone, Copy)]
enum Rules {
    None,
    /// Ten `models` and two `blacklisted_models` patterns; the requested model matches the last of the ten.
    Patterns,
    /// Every second key names three clients; the client of the request is the last of them.
    Clients,
}

impl Rules {
    fn settings(self, index: usize) -> &'static str {
        match self {
            Rules::Patterns => {
                "models = [\"o1*\", \"o3*\", \"o4-*\", \"gpt-3.5*\", \"gpt-4-*\", \"gpt-4.1*\", \"gpt-5*\", \
                 \"text-embedding-*\", \"*-tts\", \"gpt-4o*\"]\n\
                 blacklisted_models = [\"*-realtime*\", \"*-audio-preview*\"]\n"
            }
            Rules::Clients if index.is_multiple_of(2) => {
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

/// Returns the pool of a provider with this many keys, of weights 1 to 5.
fn pool(keys: usize, rules: Rules) -> Pool {
    let mut text = String::new();
    for client in ["search", "support", "research"] {
        writeln!(text, "[[clients]]\nname = \"{client}\"\nkey = \"client-key-{client}\"").unwrap();
    }
    for index in 0..keys {
        let (weight, rules) = (1 + index % 5, rules.settings(index));
        writeln!(
            text,
            "[[providers.openai.keys]]\nname = \"k{index}\"\nvalue = \"provider-key-{index}\"\n\
             weight = {weight}\n{rules}"
        )
        .unwrap();
    }
    Pool::new(&load(&text).providers[0], None)
}

fn key_choice(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("choose a key");
    for (name, rules) in [
        ("no rules", Rules::None),
        ("12 patterns per key", Rules::Patterns),
        ("half of the keys name the client", Rules::Clients),
    ] {
        for keys in [2, 10, 100] {
            let (pool, now) = (pool(keys, rules), Instant::now());
            group.bench_function(BenchmarkId::new(name, keys), |bencher| {
                bencher.iter(|| {
                    let mut tried = TriedKeys::default();
                    let request =
                        KeyRequest { client: Some("research"), model: "gpt-4o-mini", tokens: 1000 };
                    let (request, granted) = (black_box(request), &mut None);
                    pool.choose(request, &mut tried, granted, now, &AffinityKeys::default).unwrap()
                });
            });
        }
    }
}

fn turns(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("take a turn");
    for weights in [2_u8, 10, 100] {
        let shares: Vec<f64> = (0..weights).map(|index| f64::from(1 + index % 5)).collect();
        let turns = TurnCounter::default();
        group.bench_function(BenchmarkId::from_parameter(weights), |bencher| {
            bencher.iter(|| turns.next().pick(black_box(&shares).iter().copied()).unwrap());
        });
    }
}

/// Returns a large configuration: 20 providers with 4 keys of 6 models each, one provider for any model, and
/// 50 routes.
fn large_config() -> Config {
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

fn model_resolution(criterion: &mut Criterion) {
    let config = large_config();
    let mut group = criterion.benchmark_group("resolve a model");
    for (name, model) in [
        ("a route", "route-33"),
        ("provider and model", "p13/model-13-2"),
        ("a bare name in models", "model-13-2"),
        ("a bare name that matches a pattern", "family-13-large"),
        ("a bare name for the provider of any model", "gpt-4o-mini"),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| config.resolve_model(black_box(model)).unwrap());
        });
    }
}

criterion_group!(benches, key_choice, turns, model_resolution);
criterion_main!(benches);
