//! A change of the file: watch -> load -> build -> swap -> report. Nothing is torn down first, so nothing has to be
//! rolled back: a file with an error changes nothing.

use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use serde_json::Value as Json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;

use super::diff::describe_changes;
use super::{Gateway, Live, ReloadOutcome};
use crate::config::watch::Watcher;
use crate::config::{
    self, Config, InputFiles, LoadOptions, Loaded, Problem, Severity, SystemEnvironment,
};
use crate::observe::unix_time;

/// Settings that are read only at the start.
const NEEDS_RESTART: [&str; 4] =
    ["server.listen", "server.max_connections", "server.log", "admin.listen"];

/// Follows the files of a configuration for as long as the program runs.
#[derive(Debug)]
pub struct Reloader {
    live: Arc<Live>,
    options: LoadOptions,
    inputs: InputFiles,
    watcher: Watcher,
    hangup: Signal,
    /// The values of [`NEEDS_RESTART`] at the start.
    started_with: Vec<Vec<Json>>,
}

impl Reloader {
    /// Starts with the files as they were loaded at the start.
    ///
    /// # Errors
    ///
    /// When no handler for SIGHUP can be installed.
    pub fn new(live: Arc<Live>, options: LoadOptions, inputs: InputFiles) -> std::io::Result<Self> {
        let gateway = live.gateway();
        let watcher = Watcher::new(gateway.config.reload, inputs.set.clone());
        let started_with = NEEDS_RESTART.map(|path| values_at(&gateway.config, path)).into();
        let hangup = signal(SignalKind::hangup())?;
        Ok(Self { live, options, inputs, watcher, hangup, started_with })
    }

    /// Applies every change; never ends.
    pub async fn run(mut self) {
        let mut warned = Vec::new();
        loop {
            let by_signal = tokio::select! {
                () = self.watcher.changed() => false,
                _ = self.hangup.recv() => true,
            };
            if self.watcher.warnings() != warned {
                warned = self.watcher.warnings().to_vec();
                for warning in &warned {
                    tracing::warn!("{warning}");
                }
            }
            if by_signal {
                notify_reloading();
            }
            self.reload(by_signal).await;
            if by_signal {
                let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
            }
        }
    }

    async fn reload(&mut self, by_signal: bool) {
        let (options, inputs) = (self.options.clone(), self.inputs.clone());
        let load = spawn_blocking(move || {
            if inputs.hash_now(&SystemEnvironment) == inputs.hash && !by_signal {
                return None;
            }
            Some(config::load(&options, &SystemEnvironment))
        });
        let Ok(Some(loaded)) = load.await else { return };
        // A signal logs the problems of a rejected file again, though it has not changed.
        if loaded.inputs.hash == self.inputs.hash && !(by_signal && self.was_rejected()) {
            if by_signal {
                tracing::info!("reload requested, but no file has changed");
                notify_status("no file has changed");
            }
            return;
        }
        let Loaded { config, problems, inputs } = loaded;
        let current = self.live.gateway();
        match config {
            None => self.reject(&problems),
            Some(config) => {
                let (live, before) = (self.live.clone(), current.clone());
                // A new TLS client reads the system's certificates, which blocks.
                let build =
                    spawn_blocking(move || Gateway::build(config, Some(&before), &live.metrics));
                match build.await {
                    Ok(Ok(next)) => self.apply(&current, next, &problems),
                    Ok(Err(error)) => self.reject(&[build_problem(&error)]),
                    Err(_) => return,
                }
            }
        }
        self.inputs = inputs;
        self.watcher.update(self.live.gateway().config.reload, self.inputs.set.clone());
    }

    fn apply(&self, before: &Gateway, next: Gateway, warnings: &[Problem]) {
        for problem in warnings {
            tracing::warn!("{problem}");
        }
        let changes = describe_changes(&before.config, &next.config);
        let hash = next.config.hash.clone();
        for (path, value) in NEEDS_RESTART.into_iter().zip(&self.started_with) {
            if values_at(&next.config, path) != *value {
                tracing::warn!("{path} has changed; the change takes effect at the next start");
            }
        }
        self.live.swap(next);
        self.live.metrics.record_reload(true);
        self.live.metrics.set_active_config(&hash, unix_time());
        self.set_outcome(ReloadOutcome::Applied(SystemTime::now()));
        tracing::info!(hash, changes, "configuration reloaded");
        notify_status(&format!("configuration {hash}: {changes}"));
    }

    fn reject(&self, problems: &[Problem]) {
        const REJECTED: &str =
            "the changed configuration is rejected; the last valid one stays active";
        self.live.metrics.record_reload(false);
        let errors: Vec<String> = problems
            .iter()
            .filter(|problem| problem.severity == Severity::Error)
            .map(ToString::to_string)
            .collect();
        for error in &errors {
            tracing::error!("{error}");
        }
        tracing::error!(problems = errors.len(), "{REJECTED}");
        notify_status(REJECTED);
        self.set_outcome(ReloadOutcome::Rejected(SystemTime::now(), errors));
    }

    fn was_rejected(&self) -> bool {
        let latest = self.live.last_reload.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(*latest, ReloadOutcome::Rejected(..))
    }

    fn set_outcome(&self, outcome: ReloadOutcome) {
        *self.live.last_reload.lock().unwrap_or_else(PoisonError::into_inner) = outcome;
    }
}

fn build_problem(error: &std::io::Error) -> Problem {
    Problem::without_location(format!("the configuration cannot be used: {error}"))
}

/// Reports the start of a reload to systemd (sd_notify(3), `RELOADING=1` with its time).
fn notify_reloading() {
    if let Ok(now) = sd_notify::NotifyState::monotonic_usec_now() {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Reloading, now]);
    }
}

fn notify_status(text: &str) {
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Status(text)]);
}

/// Returns the values at a path and below it.
fn values_at(config: &Config, path: &str) -> Vec<Json> {
    let is_within = |setting: &&config::Setting| {
        setting.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    config.effective.iter().filter(is_within).map(|setting| setting.value.clone()).collect()
}
