//! From files to [`Config`], or to the list of everything that is wrong with them.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use figment::value::Value;

use super::check::{address, check, reason};
use super::effective;
use super::file::File;
use super::file_text::Text;
use super::input_files::{Environment, InputFiles, Reader, short_hash, whole};
use super::overrides;
use super::path;
use super::problem::{Problem, Severity};
use super::schema_check;
use super::tree::{Finding, Mark, Tree};
use super::{Config, Listen};

/// What to load.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// The main file.
    pub file: PathBuf,
    /// Settings from flags, by their dotted paths. They win over variables and files.
    pub overrides: Vec<(String, String)>,
}

/// What came of loading.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration, when there is no error.
    pub config: Option<Config>,
    /// Errors and warnings of all files, in the order of files and lines.
    pub problems: Vec<Problem>,
    /// What to watch.
    pub inputs: InputFiles,
}

/// Reads the files and checks everything in them. Nothing is kept but what is returned.
pub fn load(options: &LoadOptions, around: &dyn Environment) -> Loaded {
    let mut reader = Reader::new(around);
    let mut tree = Tree::new();
    let complete = read(&options.file, &mut tree, &mut reader);
    let mut config = None;
    if tree.whole {
        overrides::lay(&mut tree, around.keymux_variables(), &options.overrides);
        schema_check::settle(&mut tree);
        if complete {
            config = build(&mut tree, &mut reader);
        }
    }
    let Tree { mut problems, .. } = tree;
    problems.sort_by(|a, b| a.order().cmp(&b.order()));
    problems.dedup();
    let good = problems.iter().all(|problem| problem.severity != Severity::Error);
    Loaded { config: config.filter(|_| good), problems, inputs: reader.finish() }
}

/// Where the admin listener stands according to files, variables and flags, whatever else is wrong
/// with them: a health check must find a program that serves on while its file is being edited. What
/// cannot be read or made sense of is passed over. `None`: the address itself is the problem.
pub fn read_admin_address(options: &LoadOptions, around: &dyn Environment) -> Option<Listen> {
    let mut tree = Tree::new();
    read(&options.file, &mut tree, &mut Reader::new(around));
    overrides::lay(&mut tree, around.keymux_variables(), &options.overrides);
    schema_check::settle(&mut tree);
    let written = tree.root.get("admin")?.find_ref("listen")?.as_str()?;
    if tree.reported.contains("admin.listen") { None } else { address(written) }
}

/// Reads the main file and what it includes. `false`: one of them is not there, so that nothing can be
/// said for want of a setting.
fn read(file: &Path, tree: &mut Tree, reader: &mut Reader<'_>) -> bool {
    let Some(text) = open(file, tree, reader, None) else {
        tree.whole = false;
        return false;
    };
    tree.add(text);
    let mut complete = true;
    let mut seen = BTreeSet::from([whole(file)]);
    for (path, pattern) in includes(tree) {
        let pattern = file.parent().unwrap_or(Path::new("")).join(pattern);
        let fixed = !pattern.to_string_lossy().contains('*');
        let files = if fixed { vec![pattern] } else { reader.expand(&pattern) };
        for included in files {
            if !seen.insert(whole(&included)) {
                again(&path, whole(&included) == whole(file), &included, tree);
                continue;
            }
            match open(&included, tree, reader, Some(&path)) {
                Some(text) => tree.add(text),
                None => complete = false,
            }
        }
    }
    complete
}

/// Reports that a file stands in `include` that is read already.
fn again(path: &str, itself: bool, file: &Path, tree: &mut Tree) {
    let (message, help) = if itself {
        let help =
            "put the other files into a directory of their own: include = [\"conf.d/*.toml\"]";
        ("this includes the file itself".to_owned(), help)
    } else {
        (format!("{} is included already", file.display()), "name each file once")
    };
    let (mark, severity, help) = (Mark::Value, Severity::Error, Some(help.to_owned()));
    tree.report(Finding { path: path.to_owned(), mark, severity, message, help });
}

/// The patterns of the main file's `include` with their paths. A wrong type is reported later, with
/// all the others.
fn includes(tree: &Tree) -> Vec<(String, String)> {
    let list = tree.root.get("include").and_then(Value::as_array).unwrap_or_default();
    let texts = list.iter().enumerate();
    texts
        .filter_map(|(place, item)| Some((path::item("include", place), item.as_str()?.to_owned())))
        .collect()
}

/// The text of a file, or nothing after saying why. `named` is the setting that names the file.
fn open(
    file: &Path,
    tree: &mut Tree,
    reader: &mut Reader<'_>,
    named: Option<&str>,
) -> Option<Text> {
    let (message, help, line, column) = match reader.read(file).map(String::from_utf8) {
        Ok(Ok(text)) => {
            let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
            return Some(Text::new(file.to_owned(), text));
        }
        Ok(Err(error)) => {
            let good = error.utf8_error().valid_up_to();
            let before = String::from_utf8_lossy(&error.as_bytes()[..good]).into_owned();
            let (line, column) = Text::new(PathBuf::new(), before).position(good);
            ("the file is not UTF-8 text".to_owned(), "save it as UTF-8", line, column)
        }
        Err(error) => {
            let message = format!("the file cannot be read: {}", reason(&error));
            let help = match error.kind() {
                ErrorKind::PermissionDenied => {
                    "the user that keymux runs as must be able to read it"
                }
                ErrorKind::FileTooLarge => "that is no configuration: name the file with --config",
                _ => "name the file with --config",
            };
            (message, help, 0, 0)
        }
    };
    match named {
        Some(path) if line == 0 => tree.report(Finding {
            path: path.to_owned(),
            mark: Mark::Value,
            severity: Severity::Error,
            message: format!(
                "{} cannot be read{}",
                file.display(),
                message.trim_start_matches("the file cannot be read")
            ),
            help: Some("a name with a `*` may match nothing; any other must exist".to_owned()),
        }),
        _ => tree.problems.push(Problem {
            file: file.to_owned(),
            line,
            column,
            message,
            help: Some(help.to_owned()),
            ..Problem::nowhere()
        }),
    }
    None
}

fn build(tree: &mut Tree, reader: &mut Reader<'_>) -> Option<Config> {
    let root = Value::from(tree.root.clone());
    let file: File = match root.deserialize() {
        Ok(file) => file,
        Err(error) => {
            // The walk over the schema lets nothing through that the types refuse; were it to, the
            // text of this error must stay hidden, because it may repeat a value.
            let message = "this setting could not be read".to_owned();
            let (mark, severity) = (Mark::Value, Severity::Error);
            tree.report(Finding {
                path: error.path.join("."),
                mark,
                severity,
                message,
                help: None,
            });
            return None;
        }
    };
    let (mut config, shown) = check(file, tree, reader);
    config.effective = effective::settings(tree, &shown);
    config.hash = short_hash(tree.texts.iter().map(Text::as_str));
    Some(config)
}
