//! Loads files into a [`Config`], or into the list of all their problems.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use figment::value::Value;

use super::check::check;
use super::effective;
use super::file::File;
use super::file_text::FileText;
use super::input_files::{
    Environment, InputFiles, Reader, absolute_path, describe_io_error, short_hash,
};
use super::overrides;
use super::path;
use super::problem::{Problem, Severity};
use super::schema_check;
use super::tree::{Mark, Tree, UnlocatedProblem};
use super::{Config, Listen};

/// The file to load, and overrides.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// The main file.
    pub file: PathBuf,
    /// Settings from flags as dotted path and value. They win over variables and files.
    pub overrides: Vec<(String, String)>,
}

/// The result of loading.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration, if there is no error.
    pub config: Option<Config>,
    /// Errors and warnings of all files, sorted by file and line.
    pub problems: Vec<Problem>,
    /// The files to watch.
    pub inputs: InputFiles,
}

/// Reads the files and checks everything in them. Keeps no state.
pub fn load(options: &LoadOptions, environment: &dyn Environment) -> Loaded {
    let mut reader = Reader::new(environment);
    let mut tree = Tree::new();
    let complete = read(&options.file, &mut tree, &mut reader);
    let mut config = None;
    if tree.complete {
        overrides::apply(&mut tree, environment.keymux_variables(), &options.overrides);
        schema_check::check_and_fill(&mut tree);
        if complete {
            config = build(&mut tree, &mut reader);
        }
    }
    let Tree { mut problems, .. } = tree;
    problems.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
    problems.dedup();
    let good = problems.iter().all(|problem| problem.severity != Severity::Error);
    Loaded { config: config.filter(|_| good), problems, inputs: reader.finish() }
}

/// Returns the address of the admin listener from files, variables and flags, and ignores all problems of
/// other settings: a health check must find a gateway that continues to serve while its file is being
/// edited. `None` if the address itself is invalid.
pub fn read_admin_address(options: &LoadOptions, environment: &dyn Environment) -> Option<Listen> {
    let mut tree = Tree::new();
    read(&options.file, &mut tree, &mut Reader::new(environment));
    overrides::apply(&mut tree, environment.keymux_variables(), &options.overrides);
    schema_check::check_and_fill(&mut tree);
    let written = tree.root.get("admin")?.find_ref("listen")?.as_str()?;
    if tree.reported.contains("admin.listen") { None } else { Listen::parse(written) }
}

/// Reads the main file and its includes. Returns false if one of them cannot be read: then no setting can
/// be reported as missing.
fn read(file: &Path, tree: &mut Tree, reader: &mut Reader<'_>) -> bool {
    let Some(text) = open(file, tree, reader, None) else {
        tree.complete = false;
        return false;
    };
    tree.add(text);
    let mut complete = true;
    let mut seen = BTreeSet::from([absolute_path(file)]);
    for (path, pattern) in includes(tree) {
        let pattern = file.parent().unwrap_or(Path::new("")).join(pattern);
        let fixed = !pattern.to_string_lossy().contains('*');
        let files = if fixed { vec![pattern] } else { reader.expand(&pattern) };
        for included in files {
            if !seen.insert(absolute_path(&included)) {
                report_repeated_include(
                    &path,
                    absolute_path(&included) == absolute_path(file),
                    &included,
                    tree,
                );
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

/// Reports a file in `include` that was read already.
fn report_repeated_include(path: &str, is_main: bool, file: &Path, tree: &mut Tree) {
    let (message, help) = if is_main {
        let help = "put the included files into their own directory: include = [\"conf.d/*.toml\"]";
        ("this pattern includes the main file itself".to_owned(), help)
    } else {
        (format!("{} is already included", file.display()), "list each file once")
    };
    let (mark, severity, help) = (Mark::Value, Severity::Error, Some(help.to_owned()));
    tree.report(UnlocatedProblem { path: path.to_owned(), mark, severity, message, help });
}

/// Returns the patterns of the main file's `include` with their paths. A wrong type is reported later, with
/// all others.
fn includes(tree: &Tree) -> Vec<(String, String)> {
    let list = tree.root.get("include").and_then(Value::as_array).unwrap_or_default();
    let texts = list.iter().enumerate();
    texts
        .filter_map(|(index, item)| Some((path::item("include", index), item.as_str()?.to_owned())))
        .collect()
}

/// Reads a file; `None` after a problem was reported. `named_by` is the setting that names the file.
fn open(
    file: &Path,
    tree: &mut Tree,
    reader: &mut Reader<'_>,
    named_by: Option<&str>,
) -> Option<FileText> {
    let (message, help, line, column) = match reader.read(file).map(String::from_utf8) {
        Ok(Ok(text)) => {
            let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
            return Some(FileText::new(file.to_owned(), text));
        }
        Ok(Err(error)) => {
            let good = error.utf8_error().valid_up_to();
            let before = String::from_utf8_lossy(&error.as_bytes()[..good]).into_owned();
            let (line, column) = FileText::new(PathBuf::new(), before).position(good);
            ("the file is not UTF-8 text".to_owned(), "save it as UTF-8", line, column)
        }
        Err(error) => {
            let message = format!("the file cannot be read: {}", describe_io_error(&error));
            let help = match error.kind() {
                ErrorKind::PermissionDenied => "the user that runs keymux must be able to read it",
                ErrorKind::FileTooLarge => {
                    "this is probably not a configuration: set the file with --config"
                }
                _ => "set the file with --config",
            };
            (message, help, 0, 0)
        }
    };
    match named_by {
        Some(path) if line == 0 => tree.report(UnlocatedProblem {
            path: path.to_owned(),
            mark: Mark::Value,
            severity: Severity::Error,
            message: format!(
                "{} cannot be read{}",
                file.display(),
                message.trim_start_matches("the file cannot be read")
            ),
            help: Some("only a pattern with a `*` may match no file".to_owned()),
        }),
        _ => tree.problems.push(Problem {
            file: file.to_owned(),
            line,
            column,
            message,
            help: Some(help.to_owned()),
            ..Problem::empty()
        }),
    }
    None
}

fn build(tree: &mut Tree, reader: &mut Reader<'_>) -> Option<Config> {
    let root = Value::from(tree.root.clone());
    let file: File = match root.deserialize() {
        Ok(file) => file,
        Err(error) => {
            // The schema check rejects everything that the types reject. If it ever does not, the text of
            // this error must stay hidden, because it may repeat a value.
            let message = "this setting could not be decoded".to_owned();
            let (mark, severity) = (Mark::Value, Severity::Error);
            tree.report(UnlocatedProblem {
                path: error.path.join("."),
                mark,
                severity,
                message,
                help: None,
            });
            return None;
        }
    };
    let (mut config, displayed) = check(file, tree, reader);
    config.effective = effective::settings(tree, &displayed);
    config.hash = short_hash(tree.texts.iter().map(FileText::as_str));
    Some(config)
}
