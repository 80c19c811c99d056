//! How the keys fare, as the requests of this process have seen them.

use std::time::Instant;

use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::keys::{Member, Seen};
use crate::wire::failure::Class;

/// All keys, in the order of the file.
pub(super) fn list(gateway: &Gateway) -> Value {
    let now = Instant::now();
    gateway.members().map(|member| told(member, now)).collect()
}

fn told(member: &Member, now: Instant) -> Value {
    let Member { key, health } = member;
    let last = health.last();
    let cooling = health.cooling(now);
    let state = match last {
        _ if !key.enabled => "disabled",
        _ if cooling.is_some() => "cooling",
        Some(seen) if is_taken(seen) => "ok",
        // Nothing was seen yet; or a failure, and nothing since then.
        _ => "unknown",
    };
    let last = last.map(|seen| {
        let at = humantime::format_rfc3339_seconds(seen.at).to_string();
        json!({ "class": seen.failure.map_or("ok", Class::name), "at": at })
    });
    let why = cooling.and_then(|_| health.why()).map(Class::name);
    // A part of a second is a second: at 0 it is over.
    let left = cooling.map(|left| left.as_millis().div_ceil(1000));
    json!({
        "provider": &*key.provider,
        "key": &*key.name,
        "enabled": key.enabled,
        "state": state,
        "last": last,
        "cooling_for_seconds": left,
        "why": why,
    })
}

/// Whether the provider took the key, whatever it thought of the request.
fn is_taken(seen: Seen) -> bool {
    matches!(seen.failure, None | Some(Class::Caller | Class::ContextTooLong))
}
