//! The files as one tree, and where each setting of it stands.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use figment::value::{Dict, Empty, Tag, Value};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::file_text::Text;
use super::path;
use super::problem::{Problem, Severity};
use super::syntax_errors;

/// Where a setting stands in the files.
#[derive(Clone, Debug)]
pub(super) struct Place {
    file: usize,
    name: Range<usize>,
    value: Range<usize>,
}

/// What a problem points at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mark {
    /// The name before the `=`.
    Name,
    /// What stands behind it; of a table, its header.
    Value,
}

/// A mistake before it is known where its setting stands.
pub(super) struct Finding {
    pub(super) path: String,
    pub(super) mark: Mark,
    pub(super) severity: Severity,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// All files read so far.
pub(super) struct Tree {
    /// The files' texts, the main file first.
    pub(super) texts: Vec<Text>,
    /// What they set, all together.
    pub(super) root: Dict,
    /// `false` when a syntax error leaves open what the rest of a file means.
    pub(super) whole: bool,
    /// Settings that have a problem already: nothing more is said about them or for want of them.
    pub(super) reported: BTreeSet<String>,
    /// Problems with a place.
    pub(super) problems: Vec<Problem>,
    places: HashMap<String, Place>,
    /// Settings that are not from the files, and where they are from.
    overrides: HashMap<String, String>,
}

impl Tree {
    /// No file yet.
    pub(super) fn new() -> Self {
        Self {
            texts: Vec::new(),
            root: Dict::new(),
            whole: true,
            reported: BTreeSet::new(),
            problems: Vec::new(),
            places: HashMap::new(),
            overrides: HashMap::new(),
        }
    }

    /// Reads one more file into the tree. `[[clients]]` and keys add up; anything else that is set
    /// already is a problem.
    pub(super) fn add(&mut self, mut text: Text) {
        let file = self.texts.len();
        let source = text.as_str().to_owned();
        let (table, errors) = DeTable::parse_recoverable(&source);
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            let fault = syntax_errors::fault(error.message(), &source, &span);
            self.whole &= fault.local;
            if text.breaks_at(span.start) {
                let (line, column) = text.position(span.start);
                self.problems.push(Problem {
                    file: text.path.clone(),
                    line,
                    column,
                    path: String::new(),
                    severity: Severity::Error,
                    message: fault.message.to_owned(),
                    help: fault.help.map(str::to_owned),
                    snippet: Some(text.snippet(&span)),
                });
            }
        }
        self.texts.push(text);
        let mut graft = Graft {
            tree: self,
            file,
            scalars: Vec::new(),
            clashes: Vec::new(),
            nested: Vec::new(),
        };
        let mut root = std::mem::take(&mut graft.tree.root);
        graft.table(&mut root, table.into_inner(), &mut Vec::new(), "");
        let Graft { scalars, clashes, nested, .. } = graft;
        self.root = root;
        self.texts[file].hide(scalars);
        for (path, place) in clashes {
            self.clash(path, &place);
        }
        for place in nested {
            let mut problem = self.located(&place, Mark::Name);
            "include".clone_into(&mut problem.path);
            "an included file includes nothing itself".clone_into(&mut problem.message);
            problem.help = Some("name all files in the main file".to_owned());
            self.problems.push(problem);
        }
    }

    fn clash(&mut self, path: String, again: &Place) {
        let first = self.places.get(&path).map(|place| self.position(place, Mark::Name));
        let place = first.map_or(String::new(), |(file, line, _)| format!(" and at {file}:{line}"));
        let message = format!("`{path}` is set twice: here{place}");
        let mut problem = self.located(again, Mark::Name);
        problem.path = path;
        problem.message = message;
        problem.help = Some("set it in one of the files only".to_owned());
        self.problems.push(problem);
    }

    /// The problem at the place of its setting.
    pub(super) fn report(&mut self, finding: Finding) {
        let Finding { path, mark, severity, mut message, help } = finding;
        let mut problem = match (self.overrides.get(&path), self.place(&path)) {
            (Some(origin), _) => {
                message = format!("{message} ({origin})");
                Problem::nowhere()
            }
            (None, Some((place, exact))) => {
                self.located(place, if exact { mark } else { Mark::Value })
            }
            (None, None) => {
                let file = self.texts.first().map(|text| text.path.clone());
                Problem { file: file.unwrap_or_default(), ..Problem::nowhere() }
            }
        };
        problem.path = path;
        problem.severity = severity;
        problem.message = message;
        problem.help = help;
        self.problems.push(problem);
    }

    /// Hides the name of a setting wherever its line is shown.
    pub(super) fn conceal(&mut self, path: &str) {
        if let Some(Place { file, name, .. }) = self.places.get(path).cloned() {
            self.texts[file].hide_too(name);
        }
    }

    /// Remembers that a setting is not (or no longer) from the files.
    pub(super) fn overridden(&mut self, path: String, origin: String) {
        self.overrides.insert(path, origin);
    }

    /// Where the setting is from, in words; `None`: it is a default.
    pub(super) fn origin(&self, path: &str) -> Option<String> {
        self.overrides.get(path).cloned().or_else(|| {
            let (file, line, _) = self.position(self.places.get(path)?, Mark::Name);
            Some(format!("{file}:{line}"))
        })
    }

    /// The file that the setting stands in.
    pub(super) fn file_of(&self, path: &str) -> Option<&Text> {
        if self.overrides.contains_key(path) {
            return None;
        }
        self.texts.get(self.place(path)?.0.file)
    }

    /// The place of the setting, or of the nearest one around it; and whether it is its own.
    fn place(&self, path: &str) -> Option<(&Place, bool)> {
        let mut around = path;
        loop {
            if let Some(place) = self.places.get(around) {
                return Some((place, around == path));
            }
            if around.is_empty() {
                return None;
            }
            around = path::parent(around);
        }
    }

    fn position(&self, place: &Place, mark: Mark) -> (String, usize, usize) {
        let text = &self.texts[place.file];
        let (line, column) = text.position(place.span(mark).start);
        (text.path.display().to_string(), line, column)
    }

    fn located(&self, place: &Place, mark: Mark) -> Problem {
        let text = &self.texts[place.file];
        let span = place.span(mark);
        let (line, column) = text.position(span.start);
        let snippet = Some(text.snippet(span));
        Problem { file: text.path.clone(), line, column, snippet, ..Problem::nowhere() }
    }
}

impl Place {
    fn span(&self, mark: Mark) -> &Range<usize> {
        match mark {
            Mark::Name => &self.name,
            Mark::Value => &self.value,
        }
    }
}

/// One file on its way into the tree.
struct Graft<'t> {
    tree: &'t mut Tree,
    file: usize,
    scalars: Vec<Range<usize>>,
    clashes: Vec<(String, Place)>,
    nested: Vec<Place>,
}

/// No setting's path: what stands in a refused value must be hidden, but has no place in the tree.
const ELSEWHERE: &str = "\0";

impl Graft<'_> {
    fn table(&mut self, into: &mut Dict, table: DeTable<'_>, names: &mut Vec<String>, at: &str) {
        for (name, value) in table {
            let place = Place { file: self.file, name: name.span(), value: value.span() };
            let name: DeString<'_> = name.into_inner();
            let path = path::child(at, &name);
            names.push(name.clone().into_owned());
            self.entry(into, &name, value, place, names, path);
            names.pop();
        }
    }

    fn entry(
        &mut self,
        into: &mut Dict,
        name: &str,
        value: Spanned<DeValue<'_>>,
        place: Place,
        names: &mut Vec<String>,
        path: String,
    ) {
        let text = &self.tree.texts[self.file];
        let table = value.get_ref().is_table();
        if text.is_broken(&place.name) || (!table && text.is_broken(&place.value)) {
            self.tree.reported.insert(path);
            return;
        }
        if self.file > 0 && path == "include" {
            self.value(value.into_inner(), &place.value, names, ELSEWHERE);
            self.nested.push(place);
            return;
        }
        match (into.get_mut(name), value.into_inner()) {
            (None, value) => {
                self.tree.places.insert(path.clone(), place.clone());
                let value = self.value(value, &place.value, names, &path);
                into.insert(name.to_owned(), value);
            }
            (Some(Value::Dict(_, dict)), DeValue::Table(table)) => {
                self.table(dict, table, names, &path);
            }
            (Some(Value::Array(_, list)), DeValue::Array(items)) if adds_up(names) => {
                for item in items {
                    let value = self.item(item, list.len(), names, &path);
                    list.push(value);
                }
            }
            (Some(_), value) => {
                self.value(value, &place.value, names, ELSEWHERE);
                self.clashes.push((path, place));
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
                let list = items.map(|(place, item)| self.item(item, place, names, path));
                Value::Array(Tag::Default, list.collect())
            }
            scalar => {
                self.scalars.push(span.clone());
                plain(&scalar)
            }
        }
    }

    fn item(
        &mut self,
        item: Spanned<DeValue<'_>>,
        place: usize,
        names: &mut Vec<String>,
        list: &str,
    ) -> Value {
        let path = path::item(list, place);
        let span = item.span();
        let place = Place { file: self.file, name: span.clone(), value: span.clone() };
        self.tree.places.entry(path.clone()).or_insert(place);
        self.value(item.into_inner(), &span, names, &path)
    }
}

/// Whether lists of that name from several files are joined.
fn adds_up(names: &[String]) -> bool {
    match names {
        [name] => name == "clients",
        [first, _, last] => first == "providers" && last == "keys",
        _ => false,
    }
}

/// A value that is neither list nor table. No setting takes a date, and figment has none: it becomes
/// an empty value, and so does a number that does not fit.
fn plain(value: &DeValue<'_>) -> Value {
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
