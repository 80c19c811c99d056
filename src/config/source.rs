//! Where a value comes from, as it is written: `"…"`, or a table such as `{ env_var = "…" }`.
//!
//! Read by hand: an untagged enum would lose track of where a setting stands.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

/// Where a value comes from.
pub(super) enum Source {
    /// `"…"`
    Literal(String),
    /// `{ env_var = "…" }` and its like.
    Table(SourceTable),
}

/// The table form of a [`Source`].
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SourceTable {
    pub(super) value: Option<String>,
    pub(super) env_var: Option<String>,
    pub(super) file: Option<String>,
    pub(super) credential: Option<String>,
    pub(super) from_env: Option<bool>,
}

/// A [`Source`] whose value is never shown.
pub(super) struct SecretSource(pub(super) Source);

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SourceVisitor)
    }
}

impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Source::deserialize(deserializer).map(Self)
    }
}

struct SourceVisitor;

impl<'de> Visitor<'de> for SourceVisitor {
    type Value = Source;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a table")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Source, E> {
        Ok(Source::Literal(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Source, A::Error> {
        SourceTable::deserialize(MapAccessDeserializer::new(map)).map(Source::Table)
    }
}

impl JsonSchema for Source {
    fn schema_name() -> Cow<'static, str> {
        "Source".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        source_schema(false)
    }
}

impl JsonSchema for SecretSource {
    fn schema_name() -> Cow<'static, str> {
        "SecretSource".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        source_schema(true)
    }
}

fn source_schema(secret: bool) -> Schema {
    let mut schema = json_schema!({
        "description": "The value itself, or a table that says where it comes from.",
        "examples": [{ "env_var": "NAME" }],
        "oneOf": [
            { "type": "string" },
            {
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "value": { "type": "string", "description": "The value itself." },
                    "env_var": { "type": "string", "description": "The name of an environment variable." },
                    "file": { "type": "string", "description": "The path of a file that holds the value, relative to the file that names it; one newline at its end is cut." },
                    "credential": { "type": "string", "description": "The name of a systemd credential: a file of that name in $CREDENTIALS_DIRECTORY." },
                    "from_env": { "type": "boolean", "description": "Says which is in force when both `env_var` and `value` are written." },
                },
            },
        ],
    });
    if secret {
        schema.insert("writeOnly".to_owned(), true.into());
    }
    schema
}
