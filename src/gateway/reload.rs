//! A change of the file: watch -> load -> build -> swap -> tell. Nothing is torn down first, so
//! nothing has to be rolled back: a file with a mistake changes nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;

use super::{Gateway, Live};
use crate::config::watch::{Watched, Watcher};
use crate::config::{self, Config, Host, Inputs, Loaded, Options, Problem, Severity};

/// Settings that are read once, at the start.
const NEEDS_RESTART: [&str; 4] =
    ["server.listen", "server.max_connections", "server.log", "admin.listen"];

/// How the latest change of the file fared.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is in force since then.
    Taken(SystemTime),
    /// It was refused then, and the one before is in force.
    Rejected(SystemTime, Vec<String>),
}

impl Default for Outcome {
    fn default() -> Self {
        Outcome::Taken(SystemTime::now())
    }
}

/// Follows the files of a configuration for as long as the program runs.
#[derive(Debug)]
pub struct Reloader {
    live: Arc<Live>,
    options: Options,
    inputs: Inputs,
    watcher: Watcher,
    hangup: Signal,
}

impl Reloader {
    /// Begins with the files as they were loaded at the start.
    pub fn new(live: Arc<Live>, options: Options, inputs: Inputs) -> std::io::Result<Self> {
        let reload = live.gateway().config.reload;
        let watcher = Watcher::new(reload, watched(&inputs));
        Ok(Self { live, options, inputs, watcher, hangup: signal(SignalKind::hangup())? })
    }

    /// Takes every change; never ends.
    pub async fn run(mut self) {
        let mut warned = Vec::new();
        loop {
            let asked = tokio::select! {
                () = self.watcher.changed() => false,
                _ = self.hangup.recv() => true,
            };
            if self.watcher.warnings() != warned {
                warned = self.watcher.warnings().to_vec();
                for warning in &warned {
                    tracing::warn!("{warning}");
                }
            }
            if asked {
                reloading();
            }
            self.take(asked).await;
            if asked {
                let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
            }
        }
    }

    async fn take(&mut self, asked: bool) {
        let (options, inputs) = (self.options.clone(), self.inputs.clone());
        let read = spawn_blocking(move || {
            if inputs.hash_now(&Host) == inputs.hash && !asked {
                return None;
            }
            Some(config::load(&options, &Host))
        });
        let Ok(Some(loaded)) = read.await else { return };
        if loaded.inputs.hash == self.inputs.hash {
            if asked {
                tracing::info!("asked to reload, but no file has changed");
                status("no file has changed");
            }
            return;
        }
        let Loaded { config, problems, inputs } = loaded;
        let kept = self.live.gateway();
        match config {
            None => self.reject(problems),
            Some(config) => {
                let (live, before) = (self.live.clone(), kept.clone());
                // A new TLS client reads the system's certificates: not on the runtime's threads.
                let built =
                    spawn_blocking(move || Gateway::build(config, Some(&before), &live.metrics));
                match built.await {
                    Ok(Ok(next)) => self.swap(&kept, next, &problems),
                    Ok(Err(error)) => self.reject(vec![unbuilt(&error)]),
                    Err(_) => return,
                }
            }
        }
        self.inputs = inputs;
        self.watcher.watch(self.live.gateway().config.reload, watched(&self.inputs));
    }

    fn swap(&self, before: &Gateway, next: Gateway, warnings: &[Problem]) {
        for problem in warnings {
            tracing::warn!("{problem}");
        }
        let told = changes(&before.config, &next.config);
        for path in needs_restart(&before.config, &next.config) {
            tracing::warn!("{path} has changed; that takes effect at the next start");
        }
        let hash = next.config.hash.clone();
        self.live.metrics.reload(true);
        self.live.metrics.config(&hash, unix_time());
        self.live.swap(next);
        self.note(Outcome::Taken(SystemTime::now()));
        tracing::info!(hash, changes = told, "configuration reloaded");
        status(&format!("configuration {hash}: {told}"));
    }

    fn reject(&self, problems: Vec<Problem>) {
        self.live.metrics.reload(false);
        let words: Vec<String> = problems
            .iter()
            .filter(|problem| problem.severity == Severity::Error)
            .map(ToString::to_string)
            .collect();
        for problem in &words {
            tracing::error!("{problem}");
        }
        tracing::error!(
            problems = words.len(),
            "the changed configuration is refused; the last good one stays in force"
        );
        status("the changed configuration is refused; the last good one stays in force");
        self.note(Outcome::Rejected(SystemTime::now(), words));
    }

    fn note(&self, outcome: Outcome) {
        *self.live.reloaded.lock().unwrap_or_else(PoisonError::into_inner) = outcome;
    }
}

fn watched(inputs: &Inputs) -> Watched {
    Watched { files: inputs.files.clone(), patterns: inputs.patterns.clone() }
}

fn unbuilt(error: &std::io::Error) -> Problem {
    Problem::without_place(format!("the configuration cannot be used: {error}"))
}

/// Tells systemd that a reload has begun (sd_notify(3), `RELOADING=1` with its time).
fn reloading() {
    if let Ok(now) = sd_notify::NotifyState::monotonic_usec_now() {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Reloading, now]);
    }
}

fn status(text: &str) {
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Status(text)]);
}

fn unix_time() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What is different, in words: keys, clients and routes by name, other settings by path.
fn changes(before: &Config, after: &Config) -> String {
    let (old, new) = (named(before), named(after));
    let mut words = Vec::new();
    for (name, digest) in &new {
        match old.get(name) {
            None => words.push(format!("{name} added")),
            Some(other) if other != digest => words.push(format!("{name} changed")),
            Some(_) => {}
        }
    }
    words
        .extend(old.keys().filter(|name| !new.contains_key(*name)).map(|n| format!("{n} removed")));
    if words.is_empty() { "nothing that is used".to_owned() } else { words.join(", ") }
}

/// Everything that has a name, with a text that differs when it does. Secrets stand in it as
/// fingerprints, which stay inside.
fn named(config: &Config) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for setting in &config.effective {
        let name = owner(config, &setting.path);
        let text: &mut String = out.entry(name).or_default();
        text.push_str(&setting.path);
        text.push_str(&setting.value.to_string());
    }
    out
}

/// The thing that a setting belongs to: `key openai/team-a` for
/// `providers.openai.keys[0].weight`, the path itself for a setting that stands alone.
fn owner(config: &Config, path: &str) -> String {
    if let Some(at) = path.strip_prefix("clients[").and_then(index) {
        if let Some(client) = config.clients.get(at) {
            return format!("client {}", client.name);
        }
    }
    for provider in &config.providers {
        let Some(rest) = path
            .strip_prefix("providers.")
            .and_then(|rest| rest.strip_prefix(&*provider.name))
            .and_then(|rest| rest.strip_prefix('.'))
        else {
            continue;
        };
        if let Some(key) =
            rest.strip_prefix("keys[").and_then(index).and_then(|at| provider.keys.get(at))
        {
            return format!("key {}/{}", provider.name, key.name);
        }
        return format!("provider {}", provider.name);
    }
    for route in &config.routes {
        if path
            .strip_prefix("routes.")
            .is_some_and(|rest| rest.starts_with(&format!("{}.", route.name)))
        {
            return format!("route {}", route.name);
        }
    }
    path.to_owned()
}

fn index(rest: &str) -> Option<usize> {
    rest.split_once(']')?.0.parse().ok()
}

fn needs_restart<'c>(before: &'c Config, after: &'c Config) -> Vec<&'c str> {
    let value = |config: &'c Config, path: &str| -> Vec<&'c serde_json::Value> {
        let within = |setting: &&config::Setting| {
            setting.path.strip_prefix(path).is_some_and(|r| r.is_empty() || r.starts_with('.'))
        };
        config.effective.iter().filter(within).map(|setting| &setting.value).collect()
    };
    NEEDS_RESTART.into_iter().filter(|path| value(before, path) != value(after, path)).collect()
}
