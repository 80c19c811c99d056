//! Checks the tree against the schema: unknown names, values of the wrong type or out of range, missing
//! settings. Removes invalid settings, so that the rest can still be checked.

use figment::value::{Dict, Empty, Num, Tag, Value};
use serde_json::Value as Json;

use super::aliases;
use super::path;
use super::problem::Severity;
use super::schema::{Node, Shape};
use super::tree::{Mark, Tree, UnlocatedProblem};

/// Reports and removes everything in the tree that the schema does not allow, then inserts the defaults of
/// absent settings.
pub(super) fn check_and_fill(tree: &mut Tree) {
    let mut root = std::mem::take(&mut tree.root);
    hide_secret_names(tree, Node::root(), &root, "");
    SchemaCheck { tree }.table(Node::root(), &mut root, "");
    insert_defaults(Node::root(), &mut root);
    tree.root = root;
}

/// Returns the known name that is closest to a mistyped one, if one is close enough.
pub(super) fn closest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let lower = name.to_lowercase();
    let allowed = (name.len() / 3).clamp(1, 3);
    known
        .map(|known| (strsim::osa_distance(&lower, &known.to_lowercase()), known))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, known)| known)
}

/// Hides unknown names that may be pasted secrets, before any line is printed.
fn hide_secret_names(tree: &mut Tree, node: Node, dict: &Dict, path: &str) {
    for (name, value) in dict {
        let at = path::child(path, name);
        match (node.property(name).or_else(|| node.entries()), value) {
            (None, _) if !is_safe_to_print(name) => tree.hide_name(&at),
            (Some(node), Value::Dict(_, dict)) => hide_secret_names(tree, node.table(), dict, &at),
            (Some(node), Value::Array(_, items)) => {
                let tables = items
                    .iter()
                    .enumerate()
                    .filter_map(|(index, item)| Some((index, item.as_dict()?)));
                for (index, dict) in tables {
                    if let Some(item_node) = node.items() {
                        hide_secret_names(tree, item_node.table(), dict, &path::item(&at, index));
                    }
                }
            }
            _ => {}
        }
    }
}

/// True if an unknown name looks like the name of a setting.
fn is_safe_to_print(name: &str) -> bool {
    let is_word =
        name.chars().all(|char| char.is_alphabetic() || matches!(char, '_' | '-' | ' ' | '.'));
    let is_mixed_case = name.bytes().any(|byte| byte.is_ascii_uppercase())
        && name.bytes().any(|byte| byte.is_ascii_lowercase());
    name.len() <= 32 && (is_word && !is_mixed_case || name.len() <= 10)
}

/// True if the name is written like an environment variable.
fn is_variable(name: &str) -> bool {
    let capital = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    name.contains('_') && name.bytes().all(capital)
}

struct SchemaCheck<'t> {
    tree: &'t mut Tree,
}

impl SchemaCheck<'_> {
    /// Checks a value. Returns false if it was reported and must be removed.
    fn value(&mut self, node: Node, value: &mut Value, path: &str) -> bool {
        match (node.shape(), value) {
            (Shape::Text, Value::String(_, text)) => return self.choice(node, text, path),
            (Shape::Source, Value::String(..)) | (Shape::Switch, Value::Bool(..)) => return true,
            (Shape::Integer, Value::Num(_, number)) if is_integer(*number) => {
                return self.range(node, *number, path);
            }
            (Shape::Number, Value::Num(_, number)) => return self.range(node, *number, path),
            (Shape::Table | Shape::Source, Value::Dict(_, dict)) => {
                self.table(node.table(), dict, path);
                return true;
            }
            (Shape::List, Value::Array(_, items)) => return self.list(node, items, path),
            (_, value) => self.wrong_type(node, value, path),
        }
        false
    }

    fn table(&mut self, node: Node, dict: &mut Dict, path: &str) {
        dict.retain(|name, value| {
            let at = path::child(path, name);
            let kept = match node.property(name).or_else(|| node.entries()) {
                Some(node) => self.value(node, value, &at),
                None => self.unknown(node, name, path),
            };
            if !kept {
                self.tree.reported.insert(at);
            }
            kept
        });
        for name in node.required() {
            let at = path::child(path, name);
            if !dict.contains_key(name) && !self.tree.reported.contains(&at) {
                let help = node
                    .property(name)
                    .and_then(Node::example)
                    .map(|example| format!("for example {name} = {}", toml(example)));
                self.report(path, Mark::Value, format!("`{name}` is missing"), help);
                self.tree.reported.insert(at);
            }
        }
    }

    /// Checks a list. An invalid item invalidates the whole list, because removing it would change the paths
    /// of the items after it.
    fn list(&mut self, node: Node, items: &mut [Value], path: &str) -> bool {
        let Some(item_node) = node.items() else { return true };
        let mut is_valid = true;
        for (index, item) in items.iter_mut().enumerate() {
            is_valid &= self.value(item_node, item, &path::item(path, index));
        }
        is_valid
    }

    fn unknown(&mut self, node: Node, name: &str, path: &str) -> bool {
        let known: Vec<&str> = node.properties().map(|(name, _)| name).collect();
        let table = if path.is_empty() { "the file".to_owned() } else { format!("`{path}`") };
        let shown = if is_safe_to_print(name) {
            format!("`{}`", name.escape_debug())
        } else {
            "this name".to_owned()
        };
        let message = format!("{shown} is not a setting of {table}");
        let help = if let Some((setting, help)) = aliases::find(path, name) {
            self.tree.reported.insert(path::child(path, setting));
            Some(help.to_owned())
        } else if let Some(meant) = closest(name, known.iter().copied()) {
            self.tree.reported.insert(path::child(path, meant));
            Some(format!("did you mean `{meant}`?"))
        } else if let Some(table) = find_table_with(node, name, path) {
            Some(format!("it belongs in {table}"))
        } else if is_variable(name) && is_safe_to_print(name) {
            Some(format!(
                "set variables where keymux is started; the `value` of a key refers to one: value = {{ env_var = \"{name}\" }}"
            ))
        } else {
            let all =
                (known.len() <= 12).then(|| format!("the settings are: {}", known.join(", ")));
            all.or_else(|| Some("`keymux schema` lists all settings".to_owned()))
        };
        let at = path::child(path, name);
        self.report(&at, Mark::Name, message, help);
        if let Some(problem) = self.tree.problems.last_mut().filter(|_| !is_safe_to_print(name)) {
            problem.path = [path, "…"].join(if path.is_empty() { "" } else { "." });
        }
        false
    }

    fn choice(&mut self, node: Node, text: &str, path: &str) -> bool {
        let choices = node.choices();
        if choices.is_empty() || choices.contains(&text) {
            return true;
        }
        if let Some((message, help)) = aliases::removed_value(path, text) {
            self.report(path, Mark::Value, message.to_owned(), Some(help.to_owned()));
            return false;
        }
        let help = match closest(text, choices.iter().copied()) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("one of: {}", choices.join(", ")),
        };
        let message = format!("`{}` does not have this value", path::leaf(path));
        self.report(path, Mark::Value, message, Some(help));
        false
    }

    fn range(&mut self, node: Node, number: Num, path: &str) -> bool {
        let value: f64 = Value::from(number).deserialize().unwrap_or(f64::NAN);
        let (least, most) = node.bounds();
        if value.is_finite()
            && least.is_none_or(|least| value >= least)
            && most.is_none_or(|most| value <= most)
        {
            return true;
        }
        let found = match value {
            _ if value.is_nan() => "something that is not a number (nan)",
            _ if value.is_infinite() => "infinity",
            _ if value < 0.0 => "a negative number",
            _ if value == 0.0 => "0",
            _ => "a larger number",
        };
        let wanted = match (least, most) {
            (Some(least), Some(most)) => format!("from {least} to {most}"),
            (Some(least), None) => format!("{least} or more"),
            _ => "finite".to_owned(),
        };
        let message = format!("`{}` must be {wanted}, found {found}", path::leaf(path));
        self.report(path, Mark::Value, message, None);
        false
    }

    fn wrong_type(&mut self, node: Node, value: &Value, path: &str) {
        let wanted = match node.shape() {
            Shape::Text if !node.choices().is_empty() => "one of the words allowed here, in quotes",
            Shape::Text => "text in quotes",
            Shape::Integer => "a whole number",
            Shape::Number => "a number",
            Shape::Switch => "`true` or `false`",
            Shape::List => "a list",
            Shape::Table => "a table",
            Shape::Source => "text in quotes or a table such as { env_var = \"NAME\" }",
        };
        let found = match value {
            Value::String(..) | Value::Char(..) => "text",
            Value::Bool(..) => "`true` or `false`",
            Value::Num(_, number) if is_integer(*number) => "a whole number",
            Value::Num(..) => "a number with a fraction",
            Value::Empty(_, Empty::None) => "a number that is too large",
            Value::Empty(_, Empty::Unit) => "a date or a time",
            Value::Dict(..) => "a table",
            Value::Array(..) => "a list",
        };
        let leaf = path::leaf(path);
        let message = format!("`{leaf}` must be {wanted}, found {found}");
        let quoted = value.as_str().is_some() && self.tree.file_of(path).is_some();
        let help = match node.shape() {
            Shape::Integer | Shape::Number if quoted => {
                Some(format!("write a number without quotes: {leaf} = 1"))
            }
            Shape::Switch if quoted => {
                Some(format!("write true or false without quotes: {leaf} = true"))
            }
            _ => right_form(node, path),
        };
        self.report(path, Mark::Value, message, help);
    }

    fn report(&mut self, path: &str, mark: Mark, message: String, help: Option<String>) {
        let path = path.to_owned();
        self.tree.report(UnlocatedProblem { path, mark, severity: Severity::Error, message, help });
    }
}

/// Returns an example of how a setting is written.
fn right_form(node: Node, path: &str) -> Option<String> {
    let (leaf, choices) = (path::leaf(path), node.choices());
    let tables = node.items().is_some_and(|of| of.shape() == Shape::Table);
    match (node.shape(), node.example()) {
        _ if !choices.is_empty() => Some(format!("one of: {}", choices.join(", "))),
        (Shape::List, None) if tables => {
            Some(format!("write a header for each of them: [[{path}]]"))
        }
        (Shape::List, None) => Some(format!("for example {leaf} = [\"one\", \"two\"]")),
        (Shape::Table, example) if leaf.ends_with(']') => {
            let list = path::parent(path);
            let braces = example.map_or_else(|| "a table in braces".to_owned(), toml);
            Some(format!("write {braces} for each of them, or a header [[{list}]]"))
        }
        (Shape::Table, _) => {
            let setting = node.properties().find_map(|(name, node)| {
                Some(format!("{name} = {}", toml(node.example().or(node.default())?)))
            });
            let setting = setting.unwrap_or_else(|| "name = …".to_owned());
            Some(format!("for example {leaf} = {{ {setting} }}, or use a header [{path}]"))
        }
        (_, Some(example)) if !leaf.ends_with(']') => {
            Some(format!("for example {leaf} = {}", toml(example)))
        }
        _ => None,
    }
}

/// Returns the header of a table directly under this one that has the setting.
fn find_table_with(node: Node, name: &str, path: &str) -> Option<String> {
    node.properties().find_map(|(table, under)| {
        let at = path::child(path, table);
        let direct = under.shape() == Shape::Table && under.property(name).is_some();
        let listed = under.items().is_some_and(|items| items.property(name).is_some());
        if direct { Some(format!("[{at}]")) } else { listed.then(|| format!("[[{at}]]")) }
    })
}

fn is_integer(number: Num) -> bool {
    !matches!(number, Num::F32(_) | Num::F64(_))
}

/// Formats an example as TOML.
fn toml(value: &Json) -> String {
    match value {
        Json::Array(items) => {
            format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", "))
        }
        Json::Object(map) => {
            let pairs = map.iter().map(|(name, value)| format!("{name} = {}", toml(value)));
            format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
        }
        scalar => scalar.to_string(),
    }
}

/// Inserts the defaults of absent settings.
fn insert_defaults(node: Node, dict: &mut Dict) {
    for (name, under) in node.properties() {
        if let Some(default) = under.default().filter(|_| !dict.contains_key(name)) {
            dict.insert(name.to_owned(), plain(default));
        }
    }
    for (name, value) in dict.iter_mut() {
        let Some(under) = node.property(name).or_else(|| node.entries()) else { continue };
        match value {
            Value::Dict(_, dict) => insert_defaults(under.table(), dict),
            Value::Array(_, items) => {
                let Some(of) = under.items() else { continue };
                items
                    .iter_mut()
                    .filter_map(|item| match item {
                        Value::Dict(_, dict) => Some(dict),
                        _ => None,
                    })
                    .for_each(|dict| insert_defaults(of, dict));
            }
            _ => {}
        }
    }
}

fn plain(json: &Json) -> Value {
    Value::serialize(json).unwrap_or(Value::Empty(Tag::Default, Empty::None))
}
