//! All files as one tree of settings, with the location of each setting.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use figment::value::{Dict, Empty, Tag, Value};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::file_text::FileText;
use super::path;
use super::problem::{Problem, Severity};
use super::syntax_errors;

/// The location of a setting in the files.
#[derive(Clone, Debug)]
pub(super) struct Location {
    file: usize,
    name: Range<usize>,
    value: Range<usize>,
}

/// The part of a setting that a problem points at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mark {
    /// The name before the `=`.
    Name,
    /// The value after the `=`; for a table, its header.
    Value,
}

/// A problem whose location is looked up when it is reported.
pub(super) struct UnlocatedProblem {
    pub(super) path: String,
    pub(super) mark: Mark,
    pub(super) severity: Severity,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// All files that were read so far.
pub(super) struct Tree {
    /// The texts of the files, the main file first.
    pub(super) texts: Vec<FileText>,
    /// The settings of all files.
    pub(super) root: Dict,
    /// False if a syntax error makes the rest of a file ambiguous.
    pub(super) complete: bool,
    /// Settings that were reported already. No further problem is reported about them or their absence.
    pub(super) reported: BTreeSet<String>,
    /// All problems so far.
    pub(super) problems: Vec<Problem>,
    locations: HashMap<String, Location>,
    /// The origin of settings that are not from the files.
    overrides: HashMap<String, String>,
}

impl Tree {
    /// Returns a tree without files.
    pub(super) fn new() -> Self {
        Self {
            texts: Vec::new(),
            root: Dict::new(),
            complete: true,
            reported: BTreeSet::new(),
            problems: Vec::new(),
            locations: HashMap::new(),
            overrides: HashMap::new(),
        }
    }

    /// Adds a file. Lists of clients and keys are joined; any other setting that exists already is a
    /// problem.
    pub(super) fn add(&mut self, mut text: FileText) {
        let file = self.texts.len();
        let source = text.as_str().to_owned();
        let (table, errors) = DeTable::parse_recoverable(&source);
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            let error = syntax_errors::explain(error.message(), &source, &span);
            self.complete &= error.is_local;
            if text.add_broken_line(span.start) {
                let (line, column) = text.position(span.start);
                self.problems.push(Problem {
                    file: text.path.clone(),
                    line,
                    column,
                    path: String::new(),
                    severity: Severity::Error,
                    message: error.message.to_owned(),
                    help: error.help.map(str::to_owned),
                    snippet: Some(text.snippet(&span)),
                });
            }
        }
        self.texts.push(text);
        let mut merge = FileMerge {
            tree: self,
            file,
            scalars: Vec::new(),
            duplicates: Vec::new(),
            nested_includes: Vec::new(),
        };
        let mut root = std::mem::take(&mut merge.tree.root);
        merge.table(&mut root, table.into_inner(), &mut Vec::new(), "");
        let FileMerge { scalars, duplicates, nested_includes, .. } = merge;
        self.root = root;
        self.texts[file].hide_values(scalars);
        for (path, location) in duplicates {
            self.report_duplicate(path, &location);
        }
        for location in nested_includes {
            let mut problem = self.located(&location, Mark::Name);
            "include".clone_into(&mut problem.path);
            "an included file must not have an `include`".clone_into(&mut problem.message);
            problem.help = Some("list all files in the main file".to_owned());
            self.problems.push(problem);
        }
    }

    fn report_duplicate(&mut self, path: String, second: &Location) {
        let first = self.locations.get(&path).map(|location| self.position(location, Mark::Name));
        let first = first.map_or(String::new(), |(file, line, _)| format!(" and at {file}:{line}"));
        let message = format!("`{path}` is set twice: here{first}");
        let mut problem = self.located(second, Mark::Name);
        problem.path = path;
        problem.message = message;
        problem.help = Some("set it in one file only".to_owned());
        self.problems.push(problem);
    }

    /// Records a problem at the location of its setting.
    pub(super) fn report(&mut self, finding: UnlocatedProblem) {
        let UnlocatedProblem { path, mark, severity, mut message, help } = finding;
        let mut problem = match (self.overrides.get(&path), self.location(&path)) {
            (Some(origin), _) => {
                message = format!("{message} ({origin})");
                Problem::empty()
            }
            (None, Some((location, exact))) => {
                self.located(location, if exact { mark } else { Mark::Value })
            }
            (None, None) => {
                let file = self.texts.first().map(|text| text.path.clone());
                Problem { file: file.unwrap_or_default(), ..Problem::empty() }
            }
        };
        problem.path = path;
        problem.severity = severity;
        problem.message = message;
        problem.help = help;
        self.problems.push(problem);
    }

    /// Hides the name of a setting wherever its line is printed.
    pub(super) fn hide_name(&mut self, path: &str) {
        if let Some(Location { file, name, .. }) = self.locations.get(path).cloned() {
            self.texts[file].hide(name);
        }
    }

    /// Records that the value of a setting comes from a variable or a flag.
    pub(super) fn set_origin(&mut self, path: String, origin: String) {
        self.overrides.insert(path, origin);
    }

    /// Returns the origin of a setting for display; `None` for a default.
    pub(super) fn origin(&self, path: &str) -> Option<String> {
        self.overrides.get(path).cloned().or_else(|| {
            let (file, line, _) = self.position(self.locations.get(path)?, Mark::Name);
            Some(format!("{file}:{line}"))
        })
    }

    /// Returns the file that contains the setting.
    pub(super) fn file_of(&self, path: &str) -> Option<&FileText> {
        if self.overrides.contains_key(path) {
            return None;
        }
        self.texts.get(self.location(path)?.0.file)
    }

    /// Returns the location of the setting, or of the nearest setting that contains it; and true if it is exact.
    fn location(&self, path: &str) -> Option<(&Location, bool)> {
        let mut ancestor = path;
        loop {
            if let Some(location) = self.locations.get(ancestor) {
                return Some((location, ancestor == path));
            }
            if ancestor.is_empty() {
                return None;
            }
            ancestor = path::parent(ancestor);
        }
    }

    fn position(&self, location: &Location, mark: Mark) -> (String, usize, usize) {
        let text = &self.texts[location.file];
        let (line, column) = text.position(location.span(mark).start);
        (text.path.display().to_string(), line, column)
    }

    fn located(&self, location: &Location, mark: Mark) -> Problem {
        let text = &self.texts[location.file];
        let span = location.span(mark);
        let (line, column) = text.position(span.start);
        let snippet = Some(text.snippet(span));
        Problem { file: text.path.clone(), line, column, snippet, ..Problem::empty() }
    }
}

impl Location {
    fn span(&self, mark: Mark) -> &Range<usize> {
        match mark {
            Mark::Name => &self.name,
            Mark::Value => &self.value,
        }
    }
}

/// Merges one file into the tree.
struct FileMerge<'t> {
    tree: &'t mut Tree,
    file: usize,
    scalars: Vec<Range<usize>>,
    duplicates: Vec<(String, Location)>,
    nested_includes: Vec<Location>,
}

/// The path of no setting: a rejected value must be hidden, but has no location in the tree.
const REJECTED: &str = "\0";

impl FileMerge<'_> {
    fn table(
        &mut self,
        into: &mut Dict,
        table: DeTable<'_>,
        names: &mut Vec<String>,
        parent: &str,
    ) {
        for (name, value) in table {
            let location = Location { file: self.file, name: name.span(), value: value.span() };
            let name: DeString<'_> = name.into_inner();
            let path = path::child(parent, &name);
            names.push(name.clone().into_owned());
            self.entry(into, &name, value, location, names, path);
            names.pop();
        }
    }

    fn entry(
        &mut self,
        into: &mut Dict,
        name: &str,
        value: Spanned<DeValue<'_>>,
        location: Location,
        names: &mut Vec<String>,
        path: String,
    ) {
        let text = &self.tree.texts[self.file];
        let is_table = value.get_ref().is_table();
        if text.is_broken(&location.name) || (!is_table && text.is_broken(&location.value)) {
            self.tree.reported.insert(path);
            return;
        }
        if self.file > 0 && path == "include" {
            self.value(value.into_inner(), &location.value, names, REJECTED);
            self.nested_includes.push(location);
            return;
        }
        match (into.get_mut(name), value.into_inner()) {
            (None, value) => {
                self.tree.locations.insert(path.clone(), location.clone());
                let value = self.value(value, &location.value, names, &path);
                into.insert(name.to_owned(), value);
            }
            (Some(Value::Dict(_, dict)), DeValue::Table(table)) => {
                self.table(dict, table, names, &path);
            }
            (Some(Value::Array(_, list)), DeValue::Array(items)) if is_joined(names) => {
                for item in items {
                    let value = self.item(item, list.len(), names, &path);
                    list.push(value);
                }
            }
            (Some(_), value) => {
                self.value(value, &location.value, names, REJECTED);
                self.duplicates.push((path, location));
            }
        }
    }

    fn value(
        &mut self,
        value: DeValue<'_>,
        span: &Range<usize>,
        names: &mut Vec<String>,
        path: &str,
    ) -> Value {
        match value {
            DeValue::Table(table) => {
                let mut dict = Dict::new();
                self.table(&mut dict, table, names, path);
                Value::Dict(Tag::Default, dict)
            }
            DeValue::Array(items) => {
                let items = items.into_iter().enumerate();
                let list = items.map(|(index, item)| self.item(item, index, names, path));
                Value::Array(Tag::Default, list.collect())
            }
            scalar => {
                self.scalars.push(span.clone());
                convert(&scalar)
            }
        }
    }

    fn item(
        &mut self,
        item: Spanned<DeValue<'_>>,
        index: usize,
        names: &mut Vec<String>,
        list: &str,
    ) -> Value {
        let path = path::item(list, index);
        let span = item.span();
        let location = Location { file: self.file, name: span.clone(), value: span.clone() };
        self.tree.locations.entry(path.clone()).or_insert(location);
        self.value(item.into_inner(), &span, names, &path)
    }
}

/// True if lists with this path from several files are joined.
fn is_joined(names: &[String]) -> bool {
    match names {
        [name] => name == "clients",
        [first, _, last] => first == "providers" && last == "keys",
        _ => false,
    }
}

/// Converts a value that is neither list nor table. No setting is a date, and figment has none: a date
/// becomes an empty value, and so does a number that is too large.
fn convert(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Boolean(switch) => Value::from(*switch),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Value::Empty(Tag::Default, Empty::None), Value::from),
        DeValue::Float(number) => number
            .as_str()
            .parse::<f64>()
            .map_or(Value::Empty(Tag::Default, Empty::None), Value::from),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            Value::Empty(Tag::Default, Empty::Unit)
        }
    }
}
