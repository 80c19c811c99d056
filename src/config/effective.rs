//! Every setting as it is in force, with where it is from and without secrets.

use std::collections::BTreeMap;

use figment::value::{Dict, Value};
use serde_json::Value as Json;

use super::Setting;
use super::path;
use super::schema::{Node, Shape};
use super::tree::Tree;

/// All settings in the tree. `shown` says what may be seen of values that came from a source.
pub(super) fn settings(tree: &Tree, shown: &BTreeMap<String, Json>) -> Vec<Setting> {
    let mut listing = Listing { tree, shown, settings: Vec::new() };
    listing.table(Node::root(), &tree.root, "");
    listing.settings
}

struct Listing<'t> {
    tree: &'t Tree,
    shown: &'t BTreeMap<String, Json>,
    settings: Vec<Setting>,
}

impl Listing<'_> {
    fn table(&mut self, node: Node, dict: &Dict, at: &str) {
        for (name, value) in dict {
            if let Some(node) = node.property(name).or_else(|| node.entries()) {
                self.value(node, value, path::child(at, name));
            }
        }
    }

    fn value(&mut self, node: Node, value: &Value, path: String) {
        match (node.shape(), value) {
            (Shape::Table, Value::Dict(_, dict)) => self.table(node, dict, &path),
            (Shape::List, Value::Array(_, items))
                if node.items().is_some_and(|of| of.shape() == Shape::Table) =>
            {
                for (place, item) in items.iter().enumerate() {
                    let at = path::item(&path, place);
                    if let (Some(of), Value::Dict(_, dict)) = (node.items(), item) {
                        self.table(of, dict, &at);
                    }
                }
            }
            (Shape::Source, value) => {
                let value = match self.shown.get(&path) {
                    Some(shown) => shown.clone(),
                    None if node.secret() || value.as_dict().is_some() => Json::from("not read"),
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
