//! The parts that a key is checked in: its provider, its `value`, and the table of its kind.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::resolve_source::Resolved;
use crate::config::{Client, Cloud, Endpoint};
use crate::provider::Kind;

/// What the check of a key needs from its provider.
pub(super) struct ProviderContext<'a> {
    pub(super) provider: &'a Arc<str>,
    /// `None`: it was reported, so the kind is unknown.
    pub(super) kind: Option<Kind>,
    pub(super) endpoint: &'a Arc<Endpoint>,
    /// True if the file sets `base_url`.
    pub(super) has_base_url: bool,
    pub(super) clients: &'a [Client],
}

/// The `value` of a key.
pub(super) enum KeyValue<'v> {
    /// The key has none.
    Absent,
    /// It was reported, so everything that depends on it is unknown.
    Unknown,
    /// A plain credential.
    Plain(&'v Resolved),
    /// A JSON text, or a text that begins like one.
    Json(&'v Resolved),
}

impl<'v> KeyValue<'v> {
    pub(super) fn new(resolved: Option<&'v Resolved>, is_written: bool) -> Self {
        match resolved {
            Some(value) if value.text.inspect_text(|text| text.trim_start().starts_with('{')) => {
                Self::Json(value)
            }
            Some(value) => Self::Plain(value),
            None if is_written => Self::Unknown,
            None => Self::Absent,
        }
    }
}

/// What the `*_key_config` of a kind contributes to a key.
#[derive(Default)]
pub(super) struct KindSettings {
    pub(super) endpoint: Option<Endpoint>,
    pub(super) deployments: BTreeMap<String, String>,
    /// The only model that the key serves.
    pub(super) model: Option<String>,
    /// The settings and credentials of a cloud key, including its `value`.
    pub(super) cloud: Cloud,
    /// Where the credentials come from, for display.
    pub(super) source: Option<String>,
    /// Text of all settings that distinguish this key from others, for its fingerprint.
    pub(super) identity: String,
}
