//! Overrides of settings in the files: `KEYMUX_SECTION__FIELD` variables, and flags, which win over them.

use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::path;
use super::problem::Severity;
use super::schema::{Node, Shape};
use super::schema_check::closest;
use super::tree::{Mark, Tree, UnlocatedProblem};

/// Applies variables and flags to the settings of the tree, and reports invalid ones.
pub(super) fn apply(tree: &mut Tree, vars: Vec<(String, String)>, flags: &[(String, String)]) {
    let files = Layer { name: FILES.to_owned(), settings: std::mem::take(&mut tree.root) };
    let mut figment = Figment::from(&files);
    let mut vars = vars;
    vars.sort();
    for (variable, value) in vars {
        let Some(name) = variable.strip_prefix("KEYMUX_").filter(|name| name.contains("__")) else {
            continue;
        };
        let origin = format!("environment variable {variable}");
        let names: Vec<&str> = name.split("__").collect();
        figment = merge(tree, figment, &files.settings, &Override { origin, names, value: &value });
    }
    for (setting, value) in flags {
        let origin = format!("flag for {setting}");
        let names: Vec<&str> = setting.split('.').collect();
        figment = merge(tree, figment, &files.settings, &Override { origin, names, value });
    }
    tree.root = match figment.find_value("") {
        Ok(Value::Dict(_, dict)) => dict,
        // Our layers return their settings and cannot fail.
        _ => files.settings,
    };
    let root = std::mem::take(&mut tree.root);
    record_origins(tree, &figment, &root, "");
    tree.root = root;
}

const FILES: &str = "files";

struct Override<'a> {
    origin: String,
    names: Vec<&'a str>,
    value: &'a str,
}

struct Layer {
    name: String,
    settings: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> figment::error::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.settings.clone()))
    }
}

fn merge(tree: &mut Tree, figment: Figment, files: &Dict, over: &Override<'_>) -> Figment {
    match find_setting(files, over) {
        Ok((names, node)) => {
            let mut value = parse(node, over.value);
            for name in names.into_iter().rev() {
                value = Value::from(Map::from([(name, value)]));
            }
            let settings = value.into_dict().unwrap_or_default();
            figment.merge(Layer { name: over.origin.clone(), settings })
        }
        Err((path, message, help)) => {
            tree.set_origin(path.clone(), over.origin.clone());
            let severity = Severity::Error;
            tree.report(UnlocatedProblem { path, mark: Mark::Name, severity, message, help });
            figment
        }
    }
}

/// Path, message and help.
type InvalidOverride = (String, String, Option<String>);

/// Finds the setting that an override names. Returns its names in the tree, and its schema.
fn find_setting(files: &Dict, over: &Override<'_>) -> Result<(Vec<String>, Node), InvalidOverride> {
    let mut node = Node::root();
    let mut present = Some(files);
    let mut names: Vec<String> = Vec::new();
    let mut at = String::new();
    for written in &over.names {
        let table = node.table();
        let invalid = |message: String, help: Option<String>| {
            Err((path::child(&at, &written.to_lowercase()), message, help))
        };
        if matches!(table.shape(), Shape::List) {
            let message = format!("`{at}` is a list, which only the file can set");
            return invalid(message, None);
        }
        let known: Vec<&str> = match table.entries() {
            Some(_) => {
                present.into_iter().flat_map(|dict| dict.keys().map(String::as_str)).collect()
            }
            None => table.properties().map(|(name, _)| name).collect(),
        };
        let mut matching = known.iter().filter(|name| matches_name(name, written));
        let (Some(name), other) = (matching.next(), matching.next()) else {
            let what = if at.is_empty() { "the file".to_owned() } else { format!("`{at}`") };
            let name = written.to_lowercase();
            let message = if table.entries().is_some() {
                format!("the files have no `{name}` in {what} to override")
            } else {
                format!("`{name}` is not a setting of {what}")
            };
            let help = closest(&name, known.iter().copied());
            return invalid(message, help.map(|name| format!("did you mean `{name}`?")));
        };
        if other.is_some() {
            let message = format!("`{}` matches several names in `{at}`", written.to_lowercase());
            return invalid(message, None);
        }
        let next = table.property(name).or_else(|| table.entries());
        let Some(next) = next else { return invalid("this is not a setting".to_owned(), None) };
        at = path::child(&at, name);
        present = present.and_then(|dict| dict.get(*name)).and_then(Value::as_dict);
        names.push((*name).to_owned());
        node = next;
    }
    let shape = node.shape();
    if shape == Shape::Table
        || (shape == Shape::List && node.items().is_some_and(|items| items.shape() == Shape::Table))
    {
        let message = format!("`{at}` is not a single setting");
        return Err((at, message, Some("set one of the settings in it".to_owned())));
    }
    Ok((names, node))
}

/// Compares a name with the name in a variable, which is upper case and has `_` for `-`.
fn matches_name(name: &str, written: &str) -> bool {
    name.len() == written.len()
        && name.bytes().zip(written.bytes()).all(|(name, written)| {
            name.eq_ignore_ascii_case(&written) || (name == b'-' && written == b'_')
        })
}

/// Keeps the text for a setting of type text; otherwise figment parses it as it parses variables.
fn parse(node: Node, text: &str) -> Value {
    match node.shape() {
        Shape::Text | Shape::Source => Value::from(text),
        _ => text.parse().unwrap_or_else(|never| match never {}),
    }
}

/// Records the origin of each setting that is not from the files.
fn record_origins(tree: &mut Tree, figment: &Figment, dict: &Dict, at: &str) {
    for (name, value) in dict {
        let path = path::child(at, name);
        if let Value::Dict(_, dict) = value {
            record_origins(tree, figment, dict, &path);
        } else if let Some(layer) = figment.get_metadata(value.tag())
            && layer.name != FILES
        {
            tree.set_origin(path, layer.name.clone().into_owned());
        }
    }
}
