//! How the keys fare, as the requests of this process have seen them; and whether their providers take
//! them, when somebody asks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use serde_json::{Value, json};

use crate::config::Key;
use crate::gateway::{Gateway, check};
use crate::gateway::check::Checked;
use crate::keys::{Member, Reason, Rest, Seen, Standing};
use crate::secret::Fingerprint;
use crate::wire::failure::class::Class;

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

fn told(member: &Member, checks: &Checks, now: Instant) -> Value {
    let Member { key, health, places, rates, learned, .. } = member;
    let last = health.last();
    let (_, models) = health.told(now);
    // No model has an empty name, and no request has fewer tokens.
    let own = member.standing("", 1, now);
    let state = match (own, last) {
        _ if !key.enabled => "disabled",
        (
            Standing::Busy(_) | Standing::Cooling { why: Reason::Requests | Reason::Tokens, .. },
            _,
        ) => "limited",
        (Standing::Cooling { .. }, _) => "cooling",
        (Standing::Due(_) | Standing::Probing { .. }, _) => "half-open",
        (Standing::Free, Some(seen)) if is_taken(seen) => "ok",
        // Nothing was seen yet; or a failure, and nothing since then.
        (Standing::Free, _) => "unknown",
    };
    let last = last.map(|seen| {
        let at = humantime::format_rfc3339_seconds(seen.at).to_string();
        json!({ "class": seen.failure.map_or("ok", Class::name), "at": at })
    });
    let used = rates.used(now);
    let models: Vec<Value> = models.into_iter().map(|(name, own)| of_model(&name, own)).collect();
    json!({
        "provider": &*key.provider,
        "key": &*key.name,
        "enabled": key.enabled,
        "state": state,
        "last": last,
        "cooling_for_seconds": left(own),
        "why": own.why().map(Reason::name),
        "models": models,
        "in_flight": places.taken(),
        "limits": {
            "max_concurrent": places.limit(),
            "rpm": key.rpm,
            "tpm": key.tpm,
            "quota_group": key.quota_group,
        },
        "last_minute": { "requests": used.requests, "tokens": used.tokens },
        "told": learned.told(now).iter().map(remaining).collect::<Vec<_>>(),
        "checked": checks.of(key),
    })
}

/// A model that the key is left alone with.
fn of_model(name: &str, own: Standing) -> Value {
    json!({
        "model": name,
        "state": if left(own).is_some() { "cooling" } else { "half-open" },
        "cooling_for_seconds": left(own),
        "why": own.why().map(Reason::name),
    })
}

/// What the provider has said is left.
fn remaining(rest: &Rest) -> Value {
    json!({
        "model": rest.model,
        "of": rest.of,
        "remaining": rest.remaining,
        "limit": rest.limit,
        "resets_in_seconds": rest.reset.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX),
    })
}

/// In seconds; a part of one is a second: at 0 it is over.
fn left(standing: Standing) -> Option<u64> {
    match standing {
        Standing::Cooling { left, .. } => u64::try_from(left.as_millis().div_ceil(1000)).ok(),
        _ => None,
    }
}

/// Whether the provider took the key, whatever it thought of the request.
fn is_taken(seen: Seen) -> bool {
    matches!(seen.failure, None | Some(Class::Caller | Class::ContextTooLong))
}
