//! The JSON Schema of the file, and how it is walked.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::transform_subschemas;
use serde_json::{Map, Value as Json};

use super::file::File;
use crate::provider::Kind;

/// The schema as editors read it (`keymux schema`).
pub fn json_schema() -> String {
    let mut text = serde_json::to_string_pretty(document()).unwrap_or_default();
    text.push('\n');
    text
}

/// Every name that may stand before a `=` or in a header, and the names of the kinds. Nothing else
/// is shown of a file that cannot be parsed.
pub(super) fn words() -> &'static BTreeSet<String> {
    static WORDS: OnceLock<BTreeSet<String>> = OnceLock::new();
    WORDS.get_or_init(|| {
        let mut words: BTreeSet<String> = Kind::all().map(|kind| kind.name().to_owned()).collect();
        gather(document(), &mut words);
        words
    })
}

fn gather(schema: &Json, words: &mut BTreeSet<String>) {
    match schema {
        Json::Object(map) => {
            if let Some(Json::Object(properties)) = map.get("properties") {
                words.extend(properties.keys().cloned());
            }
            map.values().for_each(|value| gather(value, words));
        }
        Json::Array(items) => items.iter().for_each(|item| gather(item, words)),
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

/// TOML has no null: an absent setting is absent.
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

/// A setting with a default may be absent.
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
    /// Keywords at the setting itself.
    own: &'static Map<String, Json>,
    /// What its `$ref` points to, or the same again.
    shared: &'static Map<String, Json>,
}

/// What a setting holds.
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
    /// Text, or a table that says where it comes from.
    Source,
}

impl Node {
    /// The schema of the whole file.
    pub(super) fn root() -> Self {
        static EMPTY: OnceLock<Map<String, Json>> = OnceLock::new();
        Self::of(document()).unwrap_or_else(|| {
            let empty = EMPTY.get_or_init(Map::new);
            Self { own: empty, shared: empty }
        })
    }

    fn of(schema: &'static Json) -> Option<Self> {
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

    /// What the setting holds.
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

    /// The table form of a [`Shape::Source`], the node itself otherwise.
    pub(super) fn table(self) -> Self {
        let variants = self.keyword("oneOf").and_then(Json::as_array);
        variants
            .and_then(|variants| {
                variants.iter().filter_map(Self::of).find(|variant| variant.shape() == Shape::Table)
            })
            .unwrap_or(self)
    }

    /// The settings of a table by their names, in the order of the types.
    pub(super) fn properties(self) -> impl Iterator<Item = (&'static str, Node)> {
        let properties = self.keyword("properties").and_then(Json::as_object);
        properties
            .into_iter()
            .flatten()
            .filter_map(|(name, schema)| Some((name.as_str(), Self::of(schema)?)))
    }

    /// The setting of that name in a table.
    pub(super) fn property(self, name: &str) -> Option<Self> {
        Self::of(self.keyword("properties")?.get(name)?)
    }

    /// What stands under the names of a table whose names are the user's.
    pub(super) fn entries(self) -> Option<Self> {
        self.keyword("additionalProperties").and_then(Self::of)
    }

    /// What a list holds.
    pub(super) fn items(self) -> Option<Self> {
        self.keyword("items").and_then(Self::of)
    }

    /// What stands in for an absent setting.
    pub(super) fn default(self) -> Option<&'static Json> {
        self.own.get("default")
    }

    /// Names that a table must hold.
    pub(super) fn required(self) -> impl Iterator<Item = &'static str> {
        self.texts("required")
    }

    /// The only texts allowed, when there is such a list.
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

    /// A right value.
    pub(super) fn example(self) -> Option<&'static Json> {
        self.keyword("examples").and_then(Json::as_array)?.first()
    }

    /// The smallest and largest number allowed.
    pub(super) fn bounds(self) -> (Option<f64>, Option<f64>) {
        let number = |name| self.keyword(name).and_then(Json::as_f64);
        let widest = (self.keyword("format").and_then(Json::as_str) == Some("uint32"))
            .then_some(f64::from(u32::MAX));
        (number("minimum"), number("maximum").or(widest))
    }

    /// Whether the value must never be shown.
    pub(super) fn secret(self) -> bool {
        self.keyword("writeOnly") == Some(&Json::Bool(true))
    }
}
