//! The written form of a value source: `"…"`, or a table such as `{ env_var = "…" }`.
//!
//! Deserialized by hand: an untagged enum would lose the location of a setting.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

/// The source of a value.
pub(super) enum Source {
    /// `"…"`
    Literal(String),
    /// `{ env_var = "…" }` and similar tables.
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

/// A [`Source`] whose value is never displayed.
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
        "description": "The value itself, or a table that names its source, such as { env_var = \"NAME\" } or { file = \"/run/secrets/name\" }.",
        "examples": [{ "env_var": "NAME" }],
        "oneOf": [
            { "type": "string" },
            {
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "value": { "type": "string", "description": "The value itself." },
                    "env_var": { "type": "string", "description": "The name of an environment variable of the keymux process." },
                    "file": { "type": "string", "description": "The path of a file that contains the value. A relative path starts at the directory of this configuration file. One newline at the end of the file is removed. The file is read again when it changes." },
                    "credential": { "type": "string", "description": "The name of a systemd credential (LoadCredential=, SetCredential=): the file with that name in $CREDENTIALS_DIRECTORY." },
                    "from_env": { "type": "boolean", "description": "Selects the source if both `env_var` and `value` are set: true for `env_var`, false for `value`." },
                },
            },
        ],
    });
    if secret {
        schema.insert("writeOnly".to_owned(), true.into());
    }
    schema
}
