//! The JSON Schema of the file, and access to its nodes.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::transform_subschemas;
use serde_json::{Map, Value as Json};

use super::file::File;
use crate::provider::Kind;

/// Returns the schema as text for editors (`keymux schema`).
pub fn json_schema() -> String {
    let mut text = serde_json::to_string_pretty(document()).unwrap_or_default();
    text.push('\n');
    text
}

/// Returns the names of all settings and of all kinds. Nothing else is printed of a file that cannot be
/// parsed.
pub(super) fn printable_names() -> &'static BTreeSet<String> {
    static NAMES: OnceLock<BTreeSet<String>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let mut names: BTreeSet<String> = Kind::all().map(|kind| kind.name().to_owned()).collect();
        collect_names(document(), &mut names);
        names
    })
}

fn collect_names(schema: &Json, names: &mut BTreeSet<String>) {
    match schema {
        Json::Object(map) => {
            if let Some(Json::Object(properties)) = map.get("properties") {
                names.extend(properties.keys().cloned());
            }
            map.values().for_each(|value| collect_names(value, names));
        }
        Json::Array(items) => items.iter().for_each(|item| collect_names(item, names)),
        _ => {}
    }
}

fn document() -> &'static Json {
    static DOCUMENT: OnceLock<Json> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        SchemaSettings::draft2020_12()
            .with_transform(without_null)
            .with_transform(without_defaults)
            .into_generator()
            .into_root_schema_for::<File>()
            .to_value()
    })
}

/// Removes `null`, which TOML does not have: an unset setting is absent.
fn without_null(schema: &mut Schema) {
    if let Some(Json::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Json::Array(variants)) = schema.get_mut("anyOf") {
        variants.retain(|variant| variant.get("type").is_none_or(|name| name != "null"));
        if let [Json::Object(only)] = variants.as_slice() {
            let only = only.clone();
            schema.remove("anyOf");
            for (keyword, value) in only {
                schema.insert(keyword, value);
            }
        }
    }
    transform_subschemas(&mut without_null, schema);
}

/// Removes settings with a default from `required`.
fn without_defaults(schema: &mut Schema) {
    let optional = |name: &Json| {
        let name = name.as_str().unwrap_or_default();
        schema.get("properties").and_then(|all| all.get(name)?.get("default")).is_some()
    };
    if let Some(Json::Array(required)) = schema.get("required") {
        let required: Vec<Json> = required.iter().filter(|name| !optional(name)).cloned().collect();
        if required.is_empty() {
            schema.remove("required");
        } else {
            schema.insert("required".to_owned(), required.into());
        }
    }
    transform_subschemas(&mut without_defaults, schema);
}

/// The schema of one setting.
#[derive(Clone, Copy)]
pub(super) struct Node {
    /// Keynames at the setting itself.
    own: &'static Map<String, Json>,
    /// Keywords of the target of its `$ref`; without a `$ref` the same as `own`.
    shared: &'static Map<String, Json>,
}

/// The type of a setting's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// Text.
    Text,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// `true` or `false`.
    Switch,
    /// `[…]`
    List,
    /// `{…}` or `[…]` headers.
    Table,
    /// Text, or a table that names the source of the text.
    Source,
}

impl Node {
    /// Returns the schema of the whole file.
    pub(super) fn root() -> Self {
        static EMPTY: OnceLock<Map<String, Json>> = OnceLock::new();
        Self::new(document()).unwrap_or_else(|| {
            let empty = EMPTY.get_or_init(Map::new);
            Self { own: empty, shared: empty }
        })
    }

    fn new(schema: &'static Json) -> Option<Self> {
        let own = schema.as_object()?;
        let shared = match own.get("$ref").and_then(Json::as_str) {
            Some(target) => document().pointer(target.strip_prefix('#')?)?.as_object()?,
            None => own,
        };
        Some(Self { own, shared })
    }

    fn keyword(self, name: &str) -> Option<&'static Json> {
        self.own.get(name).or_else(|| self.shared.get(name))
    }

    /// Returns the type of the setting's value.
    pub(super) fn shape(self) -> Shape {
        match self.keyword("type").and_then(Json::as_str) {
            Some("string") => Shape::Text,
            Some("integer") => Shape::Integer,
            Some("number") => Shape::Number,
            Some("boolean") => Shape::Switch,
            Some("array") => Shape::List,
            Some(_) => Shape::Table,
            None => Shape::Source,
        }
    }

    /// Returns the table form of a [`Shape::Source`], otherwise the node itself.
    pub(super) fn table(self) -> Self {
        let variants = self.keyword("oneOf").and_then(Json::as_array);
        variants
            .and_then(|variants| {
                variants
                    .iter()
                    .filter_map(Self::new)
                    .find(|variant| variant.shape() == Shape::Table)
            })
            .unwrap_or(self)
    }

    /// Returns the settings of a table by name, in the order of the types.
    pub(super) fn properties(self) -> impl Iterator<Item = (&'static str, Node)> {
        let properties = self.keyword("properties").and_then(Json::as_object);
        properties
            .into_iter()
            .flatten()
            .filter_map(|(name, schema)| Some((name.as_str(), Self::new(schema)?)))
    }

    /// Returns the setting with that name in a table.
    pub(super) fn property(self, name: &str) -> Option<Self> {
        Self::new(self.keyword("properties")?.get(name)?)
    }

    /// Returns the schema of the entries of a table whose names the user chooses.
    pub(super) fn entries(self) -> Option<Self> {
        self.keyword("additionalProperties").and_then(Self::new)
    }

    /// Returns the schema of the items of a list.
    pub(super) fn items(self) -> Option<Self> {
        self.keyword("items").and_then(Self::new)
    }

    /// Returns the value of an absent setting.
    pub(super) fn default(self) -> Option<&'static Json> {
        self.own.get("default")
    }

    /// Returns the names of settings that a table must have.
    pub(super) fn required(self) -> impl Iterator<Item = &'static str> {
        self.texts("required")
    }

    /// Returns the allowed texts; empty if any text is allowed.
    pub(super) fn choices(self) -> Vec<&'static str> {
        self.texts("enum").collect()
    }

    fn texts(self, keyword: &str) -> impl Iterator<Item = &'static str> {
        self.keyword(keyword)
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
    }

    /// Returns an example of a valid value.
    pub(super) fn example(self) -> Option<&'static Json> {
        self.keyword("examples").and_then(Json::as_array)?.first()
    }

    /// Returns the minimum and the maximum of a number.
    pub(super) fn bounds(self) -> (Option<f64>, Option<f64>) {
        let number = |name| self.keyword(name).and_then(Json::as_f64);
        let type_maximum = (self.keyword("format").and_then(Json::as_str) == Some("uint32"))
            .then_some(f64::from(u32::MAX));
        (number("minimum"), number("maximum").or(type_maximum))
    }

    /// True if the value must never be displayed.
    pub(super) fn is_secret(self) -> bool {
        self.keyword("writeOnly") == Some(&Json::Bool(true))
    }
}
