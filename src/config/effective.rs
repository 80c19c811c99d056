//! The effective value of every setting with its origin, without secrets.

use std::collections::BTreeMap;

use figment::value::{Dict, Value};
use serde_json::Value as Json;

use super::Setting;
use super::path;
use super::schema::{Node, Shape};
use super::tree::Tree;

/// Returns all settings in the tree. `displayed` contains the values of sources that may be displayed.
pub(super) fn settings(tree: &Tree, displayed: &BTreeMap<String, Json>) -> Vec<Setting> {
    let mut listing = Listing { tree, displayed, settings: Vec::new() };
    listing.table(Node::root(), &tree.root, "");
    listing.settings
}

struct Listing<'t> {
    tree: &'t Tree,
    displayed: &'t BTreeMap<String, Json>,
    settings: Vec<Setting>,
}

impl Listing<'_> {
    fn table(&mut self, node: Node, dict: &Dict, parent: &str) {
        for (name, value) in dict {
            if let Some(node) = node.property(name).or_else(|| node.entries()) {
                self.value(node, value, path::child(parent, name));
            }
        }
    }

    fn value(&mut self, node: Node, value: &Value, path: String) {
        match (node.shape(), value) {
            (Shape::Table, Value::Dict(_, dict)) => self.table(node, dict, &path),
            (Shape::List, Value::Array(_, items))
                if node.items().is_some_and(|item| item.shape() == Shape::Table) =>
            {
                for (index, item) in items.iter().enumerate() {
                    let at = path::item(&path, index);
                    if let (Some(node), Value::Dict(_, dict)) = (node.items(), item) {
                        self.table(node, dict, &at);
                    }
                }
            }
            (Shape::Source, value) => {
                let value = match self.displayed.get(&path) {
                    Some(displayed) => displayed.clone(),
                    None if node.is_secret() || value.as_dict().is_some() => Json::from("not read"),
                    None => json(value),
                };
                self.push(path, value);
            }
            (_, value) => self.push(path, json(value)),
        }
    }

    fn push(&mut self, path: String, value: Json) {
        let origin = self.tree.origin(&path).unwrap_or_else(|| "default".to_owned());
        self.settings.push(Setting { path, value, origin });
    }
}

fn json(value: &Value) -> Json {
    serde_json::to_value(value).unwrap_or(Json::Null)
}
