//! `/keys`: the state of each key as this process has observed it, and the results of the latest check.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use crate::config::Key;

use crate::gateway::check::Checked;
use crate::gateway::{Gateway, check};
use crate::keys::{KeyState, LastResult, PooledKey, Reason, ReportedLimit};
use crate::secret::Fingerprint;
use crate::wire::failure::class::Class;

/// The results of the latest check.
#[derive(Default)]
pub(super) struct Checks {
    running: tokio::sync::Mutex<()>,
    results: Mutex<HashMap<Identity, Vec<Value>>>,
}

/// Provider, name and credential: a key that has all three is the same after a reload.
type Identity = (Arc<str>, Arc<str>, Fingerprint);

impl Checks {
    /// Checks every key at its provider. Returns false if another check is running.
    pub(super) async fn run(&self, gateway: Arc<Gateway>) -> bool {
        let Ok(_running) = self.running.try_lock() else { return false };
        let mut results: HashMap<Identity, Vec<Value>> = HashMap::new();
        for Checked { key, region, report } in check::check(gateway).await {
            let mut result = json!(report);
            result["at"] = rfc3339(SystemTime::now()).into();
            if let Some(region) = region {
                result["region"] = region.into();
            }
            results.entry(identity(&key)).or_default().push(result);
        }
        *self.results.lock().unwrap_or_else(PoisonError::into_inner) = results;
        true
    }

    fn results(&self, key: &Key) -> Option<Vec<Value>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner).get(&identity(key)).cloned()
    }
}

fn identity(key: &Key) -> Identity {
    (key.provider.clone(), key.name.clone(), key.fingerprint)
}

/// Returns all keys, in the order of the file.
pub(super) fn list(gateway: &Gateway, checks: &Checks) -> Value {
    let now = Instant::now();
    gateway.keys().map(|key| key_json(key, checks, now)).collect()
}

fn key_json(pooled: &PooledKey, checks: &Checks, now: Instant) -> Value {
    let PooledKey { key, health, concurrency, rate_limit, reported_limits, .. } = pooled;
    let last_result = health.last_result();
    let (_, models) = health.states(now);
    // The state of the key itself: no model has an empty name, and no request has fewer tokens.
    let state = pooled.state("", 1, now);
    let usage = rate_limit.usage(now);
    let models: Vec<Value> = models.iter().map(|(name, state)| model_json(name, *state)).collect();
    let rate_limits = reported_limits.current(now);
    json!({
        "provider": &*key.provider,
        "key": &*key.name,
        "enabled": key.enabled,
        "state": if key.enabled { state_name(state, last_result) } else { "disabled" },
        "last_result": last_result.map(|LastResult { failure, at }| {
            json!({ "class": failure.map_or("ok", Class::name), "at": rfc3339(at) })
        }),
        "cooldown_remaining_seconds": cooldown_seconds(state),
        "reason": state.reason().map(Reason::name),
        "models": models,
        "in_flight": concurrency.in_use(),
        "limits": {
            "max_concurrent": concurrency.limit(),
            "rpm": key.rpm,
            "tpm": key.tpm,
            "quota_group": key.quota_group,
        },
        "last_minute": { "requests": usage.requests, "tokens": usage.tokens },
        "rate_limits": rate_limits.iter().map(rate_limit_json).collect::<Vec<_>>(),
        "checks": checks.results(key),
    })
}

fn state_name(state: KeyState, last_result: Option<LastResult>) -> &'static str {
    match state {
        KeyState::Busy(_)
        | KeyState::CoolingDown { reason: Reason::RequestRate | Reason::TokenRate, .. } => {
            "limited"
        }
        KeyState::CoolingDown { .. } => "cooling",
        KeyState::ProbeDue(_) | KeyState::Probing { .. } => "half-open",
        KeyState::Available if last_result.is_some_and(is_accepted) => "ok",
        // No request yet, or none since a failure.
        KeyState::Available => "unknown",
    }
}

/// Describes a model with which the key is not available.
fn model_json(name: &str, state: KeyState) -> Value {
    let remaining = cooldown_seconds(state);
    json!({
        "model": name,
        "state": if remaining.is_some() { "cooling" } else { "half-open" },
        "cooldown_remaining_seconds": remaining,
        "reason": state.reason().map(Reason::name),
    })
}

fn rate_limit_json(reported: &ReportedLimit) -> Value {
    json!({
        "model": reported.model,
        "kind": reported.kind,
        "remaining": reported.remaining,
        "limit": reported.limit,
        "resets_in_seconds": seconds(reported.reset),
    })
}

fn cooldown_seconds(state: KeyState) -> Option<u64> {
    match state {
        KeyState::CoolingDown { remaining, .. } => Some(seconds(remaining)),
        _ => None,
    }
}

/// Rounds up, so that 0 means that the time is over.
fn seconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis().div_ceil(1000)).unwrap_or(u64::MAX)
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Returns true if the provider accepted the key, even if it rejected the request.
fn is_accepted(result: LastResult) -> bool {
    matches!(result.failure, None | Some(Class::Caller | Class::ContextTooLong))
}
