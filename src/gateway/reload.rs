//! A change of the file: watch -> load -> build -> swap -> tell. Nothing is torn down first, so
//! nothing has to be rolled back: a file with a mistake changes nothing.

use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use serde_json::Value as Json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;

use super::changes::changes;
use super::{Gateway, Live};
use crate::config::watch::Watcher;
use crate::config::{
    self, Config, InputFiles, LoadOptions, Loaded, Problem, Severity, SystemEnvironment,
};
use crate::observe::unix_time;

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
    options: LoadOptions,
    inputs: InputFiles,
    watcher: Watcher,
    hangup: Signal,
    /// The settings of [`NEEDS_RESTART`] as the program runs with them.
    started: Vec<Vec<Json>>,
}

impl Reloader {
    /// Begins with the files as they were loaded at the start.
    pub fn new(live: Arc<Live>, options: LoadOptions, inputs: InputFiles) -> std::io::Result<Self> {
        let gateway = live.gateway();
        let watcher = Watcher::new(gateway.config.reload, inputs.set.clone());
        let started = NEEDS_RESTART.map(|path| values(&gateway.config, path)).into();
        Ok(Self { live, options, inputs, watcher, hangup: signal(SignalKind::hangup())?, started })
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
            if inputs.hash_now(&SystemEnvironment) == inputs.hash && !asked {
                return None;
            }
            Some(config::load(&options, &SystemEnvironment))
        });
        let Ok(Some(loaded)) = read.await else { return };
        // Whoever asks about a file that stays refused is told again what is wrong with it.
        if loaded.inputs.hash == self.inputs.hash && !(asked && self.refused()) {
            if asked {
                tracing::info!("asked to reload, but no file has changed");
                status("no file has changed");
            }
            return;
        }
        let Loaded { config, problems, inputs } = loaded;
        let kept = self.live.gateway();
        match config {
            None => self.reject(&problems),
            Some(config) => {
                let (live, before) = (self.live.clone(), kept.clone());
                // A new TLS client reads the system's certificates: not on the runtime's threads.
                let built =
                    spawn_blocking(move || Gateway::build(config, Some(&before), &live.metrics));
                match built.await {
                    Ok(Ok(next)) => self.swap(&kept, next, &problems),
                    Ok(Err(error)) => self.reject(&[unbuilt(&error)]),
                    Err(_) => return,
                }
            }
        }
        self.inputs = inputs;
        self.watcher.update(self.live.gateway().config.reload, self.inputs.set.clone());
    }

    fn swap(&self, before: &Gateway, next: Gateway, warnings: &[Problem]) {
        for problem in warnings {
            tracing::warn!("{problem}");
        }
        let told = changes(&before.config, &next.config);
        let hash = next.config.hash.clone();
        for (path, started) in NEEDS_RESTART.into_iter().zip(&self.started) {
            if values(&next.config, path) != *started {
                tracing::warn!(
                    "{path} has changed since the start; that takes effect at the next start"
                );
            }
        }
        self.live.swap(next);
        self.live.metrics.reload(true);
        self.live.metrics.config(&hash, unix_time());
        self.note(Outcome::Taken(SystemTime::now()));
        tracing::info!(hash, changes = told, "configuration reloaded");
        status(&format!("configuration {hash}: {told}"));
    }

    fn reject(&self, problems: &[Problem]) {
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

    fn refused(&self) -> bool {
        let latest = self.live.reloaded.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(*latest, Outcome::Rejected(..))
    }

    fn note(&self, outcome: Outcome) {
        *self.live.reloaded.lock().unwrap_or_else(PoisonError::into_inner) = outcome;
    }
}

fn unbuilt(error: &std::io::Error) -> Problem {
    Problem::without_location(format!("the configuration cannot be used: {error}"))
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

/// The values at a path and below it.
fn values(config: &Config, path: &str) -> Vec<Json> {
    let within = |setting: &&config::Setting| {
        setting.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    config.effective.iter().filter(within).map(|setting| setting.value.clone()).collect()
}
