//! How the keys fare, as the requests of this process have seen them; and whether their providers take
//! them, when somebody asks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use serde_json::{Value, json};

use crate::config::Key;
use crate::gateway::Gateway;
use crate::gateway::check::{self, Checked};
use crate::keys::{KeyState, LastResult, PooledKey, Reason, ReportedLimit};
use crate::secret::Fingerprint;
use crate::wire::failure::Class;

/// What the latest check has found.
#[derive(Default)]
pub(super) struct Checks {
    running: tokio::sync::Mutex<()>,
    found: Mutex<HashMap<Identity, Vec<Value>>>,
}

/// A key that a reload has not made another.
type Identity = (Arc<str>, Arc<str>, Fingerprint);

impl Checks {
    /// Asks about every key; `false`: another check is under way.
    pub(super) async fn run(&self, gateway: Arc<Gateway>) -> bool {
        let Ok(_running) = self.running.try_lock() else { return false };
        let mut found: HashMap<Identity, Vec<Value>> = HashMap::new();
        for Checked { key, region, report } in check::check(gateway).await {
            let at = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
            let mut told = json!(report);
            told["at"] = at.into();
            if let Some(region) = region {
                told["region"] = region.into();
            }
            found.entry(identity(&key)).or_default().push(told);
        }
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = found;
        true
    }

    fn of(&self, key: &Key) -> Option<Vec<Value>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).get(&identity(key)).cloned()
    }
}

fn identity(key: &Key) -> Identity {
    (key.provider.clone(), key.name.clone(), key.fingerprint)
}

/// All keys, in the order of the file.
pub(super) fn list(gateway: &Gateway, checks: &Checks) -> Value {
    let now = Instant::now();
    gateway.keys().map(|member| told(member, checks, now)).collect()
}

fn told(member: &PooledKey, checks: &Checks, now: Instant) -> Value {
    let PooledKey { key, health, concurrency, rate_limit, reported_limits, .. } = member;
    let last = health.last();
    let (_, models) = health.states(now);
    // No model has an empty name, and no request has fewer tokens.
    let own = member.state("", 1, now);
    let state = match (own, last) {
        _ if !key.enabled => "disabled",
        (
            KeyState::Busy(_)
            | KeyState::CoolingDown { reason: Reason::RequestRate | Reason::TokenRate, .. },
            _,
        ) => "limited",
        (KeyState::CoolingDown { .. }, _) => "cooling",
        (KeyState::ProbeDue(_) | KeyState::Probing { .. }, _) => "half-open",
        (KeyState::Available, Some(seen)) if is_taken(seen) => "ok",
        // Nothing was seen yet; or a failure, and nothing since then.
        (KeyState::Available, _) => "unknown",
    };
    let last = last.map(|seen| {
        let at = humantime::format_rfc3339_seconds(seen.at).to_string();
        json!({ "class": seen.failure.map_or("ok", Class::name), "at": at })
    });
    let used = rate_limit.usage(now);
    let models: Vec<Value> = models.into_iter().map(|(name, own)| of_model(&name, own)).collect();
    json!({
        "provider": &*key.provider,
        "key": &*key.name,
        "enabled": key.enabled,
        "state": state,
        "last_result": last,
        "cooldown_remaining_seconds": left(own),
        "reason": own.reason().map(Reason::name),
        "models": models,
        "in_flight": concurrency.in_use(),
        "limits": {
            "max_concurrent": concurrency.limit(),
            "rpm": key.rpm,
            "tpm": key.tpm,
            "quota_group": key.quota_group,
        },
        "last_minute": { "requests": used.requests, "tokens": used.tokens },
        "rate_limits": reported_limits.current(now).iter().map(remaining).collect::<Vec<_>>(),
        "checks": checks.of(key),
    })
}

/// A model that the key is left alone with.
fn of_model(name: &str, own: KeyState) -> Value {
    json!({
        "model": name,
        "state": if left(own).is_some() { "cooling" } else { "half-open" },
        "cooldown_remaining_seconds": left(own),
        "reason": own.reason().map(Reason::name),
    })
}

/// What the provider has said is left.
fn remaining(rest: &ReportedLimit) -> Value {
    json!({
        "model": rest.model,
        "kind": rest.kind,
        "remaining": rest.remaining,
        "limit": rest.limit,
        "resets_in_seconds": rest.reset.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX),
    })
}

/// In seconds; a part of one is a second: at 0 it is over.
fn left(standing: KeyState) -> Option<u64> {
    match standing {
        KeyState::CoolingDown { remaining: left, .. } => {
            u64::try_from(left.as_millis().div_ceil(1000)).ok()
        }
        _ => None,
    }
}

/// Whether the provider took the key, whatever it thought of the request.
fn is_taken(seen: LastResult) -> bool {
    matches!(seen.failure, None | Some(Class::Caller | Class::ContextTooLong))
}
