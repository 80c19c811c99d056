//! The reference of docs/configuration.md: written from the schema of the file, so that a setting is
//! described in one place, beside its type.

use keymux::config::schema;
use serde_json::Value as Json;

use crate::page::{assert_generated, header, row};

const PAGE: &str = "docs/configuration.md";

#[test]
fn the_reference_is_the_schema() {
    let document: Json = serde_json::from_str(&schema::json_schema()).unwrap();
    let mut reference = Reference { document: &document, text: String::new() };
    reference.table("", &document);
    assert_generated(PAGE, "reference", &reference.text);
}

struct Reference<'a> {
    document: &'a Json,
    text: String,
}

/// A table that a setting leads to: its heading and its schema.
struct Below<'a> {
    heading: String,
    schema: &'a Json,
}

impl<'a> Reference<'a> {
    /// Writes the table of one level of the file, then the tables below it.
    fn table(&mut self, path: &str, schema: &'a Json) {
        let title = if path.is_empty() { "Top level".to_owned() } else { format!("`{path}`") };
        self.text.push_str(&format!("### {title}\n\n"));
        if let (false, Some(about)) = (path.is_empty(), schema["description"].as_str()) {
            self.text.push_str(&format!("{about}\n\n"));
        }
        self.text.push_str(&header(["setting", "value", "default", "meaning"]));
        let required: Vec<_> = schema["required"].as_array().into_iter().flatten().collect();
        let mut below = Vec::new();
        for (name, own) in schema["properties"].as_object().unwrap() {
            let is_required = required.iter().any(|known| *known == name);
            let found = self.below(path, name, own);
            let value = match &found {
                Some(below) => format!("[`{}`](#{})", below.heading, slug(&below.heading)),
                None => self.value(own),
            };
            let default = if is_required { "required".to_owned() } else { default(own) };
            let meaning = self.keyword(own, "description").and_then(Json::as_str).unwrap_or("");
            let meaning = format!("{meaning}{}", self.example(own, &default));
            self.text.push_str(&row([&format!("`{name}`"), &value, &default, meaning.trim()]));
            below.extend(found);
        }
        self.text.push('\n');
        for Below { heading, schema } in below {
            self.table(&heading, schema);
        }
    }

    /// Returns the table that a setting leads to, unless the setting is a value.
    fn below(&self, path: &str, name: &str, own: &'a Json) -> Option<Below<'a>> {
        let (brackets, schema) = match own["type"].as_str() {
            Some("array") => (2, self.resolve(&own["items"])),
            Some("object") => (1, self.resolve(&own["additionalProperties"])),
            _ => (1, self.resolve(own)),
        };
        schema["properties"].as_object()?;
        let inner = path.trim_matches(['[', ']']);
        let mut dotted = if inner.is_empty() { name.to_owned() } else { format!("{inner}.{name}") };
        if own["type"] == "object" {
            dotted.push_str(".NAME");
        }
        let heading = format!("{}{dotted}{}", "[".repeat(brackets), "]".repeat(brackets));
        Some(Below { heading, schema })
    }

    fn resolve(&self, schema: &'a Json) -> &'a Json {
        let pointer = schema["$ref"].as_str().and_then(|target| target.strip_prefix('#'));
        pointer.map_or(schema, |pointer| self.document.pointer(pointer).unwrap())
    }

    /// A keyword of a setting, or of the type that it refers to.
    fn keyword(&self, own: &'a Json, name: &str) -> Option<&'a Json> {
        own.get(name).or_else(|| self.resolve(own).get(name))
    }

    /// The form of a value.
    fn value(&self, own: &'a Json) -> String {
        if self.keyword(own, "oneOf").is_some() {
            let is_secret = self.keyword(own, "writeOnly") == Some(&Json::Bool(true));
            return if is_secret { "[secret](#sources)" } else { "[source](#sources)" }.to_owned();
        }
        if let Some(choices) = own["enum"].as_array() {
            let choices = choices.iter().filter_map(Json::as_str);
            return choices.map(|one| format!("`\"{one}\"`")).collect::<Vec<_>>().join(" ");
        }
        let pattern = own["pattern"].as_str().unwrap_or_default();
        match self.keyword(own, "type").and_then(Json::as_str).unwrap() {
            "string" if pattern.contains("(ms|s|m|h)") => "duration".to_owned(),
            "string" if pattern.contains("KiB") => "size".to_owned(),
            "string" => "text".to_owned(),
            "boolean" => "`true` `false`".to_owned(),
            "integer" | "number" => bounds(own),
            "array" => format!("list of {}", self.value(&own["items"])),
            "object" => format!("table of {}", self.value(&own["additionalProperties"])),
            other => panic!("a type of value that the reference has no words for: {other}"),
        }
    }

    /// An example of a value, where neither the default nor its form shows one.
    fn example(&self, own: &'a Json, default: &str) -> String {
        let shown = !default.is_empty() && default != "required";
        let by_form = ["duration", "size"].contains(&&*self.value_or_table(own));
        let example = own["examples"].as_array().and_then(|examples| examples.first());
        match example {
            Some(example) if !shown && !by_form => format!(" For example `{}`.", toml(example)),
            _ => String::new(),
        }
    }

    fn value_or_table(&self, own: &'a Json) -> String {
        self.below("", "x", own).map_or_else(|| self.value(own), |below| below.heading)
    }
}

fn bounds(own: &Json) -> String {
    let kind = if own["type"] == "integer" { "whole number" } else { "number" };
    match (own["minimum"].as_f64(), own["maximum"].as_f64()) {
        (Some(least), Some(most)) => format!("{kind}, {least} to {most}"),
        (Some(least), None) => format!("{kind}, at least {least}"),
        _ => kind.to_owned(),
    }
}

/// A default as TOML; empty where the setting is absent or empty by default.
fn default(own: &Json) -> String {
    match &own["default"] {
        Json::Null => String::new(),
        Json::Array(items) if items.is_empty() => String::new(),
        Json::Object(members) if members.is_empty() => String::new(),
        value => format!("`{}`", toml(value)),
    }
}

/// A value as TOML.
fn toml(value: &Json) -> String {
    match value {
        Json::Array(items) => {
            format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", "))
        }
        Json::Object(members) => {
            let member = |(name, value)| format!("{name} = {}", toml(value));
            format!("{{ {} }}", members.iter().map(member).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// The anchor of a heading, as GitHub makes it.
pub(crate) fn slug(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|char| char.is_alphanumeric() || " -_".contains(*char));
    kept.map(|char| if char == ' ' { '-' } else { char }).collect()
}
