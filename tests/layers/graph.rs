//! Which file uses which: paths resolved to the files that define what they name, through `pub use`.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, Token};

type Path = Vec<String>;

/// The files of `src` and the arrows between them. Code of tests gives no arrows.
#[derive(Debug)]
pub(super) struct Graph {
    /// From a file to the files that it uses, with the line of the first use.
    pub(super) arrows: BTreeMap<String, BTreeMap<String, usize>>,
}

/// What is read of one file.
#[derive(Debug, Default)]
struct File {
    /// Each path that is used, its segments from the root of the crate, and its line.
    uses: Vec<(Path, usize)>,
    /// Names re-exported by `pub use`, and the path of each. `*` re-exports all of a module.
    exports: Vec<(String, Path)>,
}

impl Graph {
    pub(super) fn of(sources: &[Source]) -> Graph {
        let modules: BTreeMap<Path, &Source> =
            sources.iter().map(|source| (path(&source.module()), source)).collect();
        let files: BTreeMap<Path, File> = modules
            .iter()
            .filter(|(_, source)| !is_test(source))
            .map(|(module, source)| (module.clone(), read(module, source, &modules)))
            .collect();
        let mut arrows: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
        for (module, file) in &files {
            let from = &modules[module].path;
            for (used, line) in &file.uses {
                let Some(target) = resolve(used, &files, 0) else { continue };
                if target != *module {
                    let to = modules[&target].path.clone();
                    arrows.entry(from.clone()).or_default().entry(to).or_insert(*line);
                }
            }
        }
        Graph { arrows }
    }

    /// Import cycles, each as the list of its files. A file and the files in the folder of its name are one
    /// thing, so arrows between them do not count.
    pub(super) fn cycles(&self) -> Vec<Vec<String>> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        for file in self.arrows.keys() {
            self.visit(file, &mut seen, &mut order);
        }
        let mut backward: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (from, to) in self.counted() {
            backward.entry(to).or_default().push(from);
        }
        let (mut cycles, mut taken) = (Vec::new(), BTreeSet::new());
        for root in order.iter().rev() {
            let mut members = Vec::new();
            let mut rest = vec![root.as_str()];
            while let Some(file) = rest.pop() {
                if taken.insert(file.to_owned()) {
                    members.push(file.to_owned());
                    rest.extend(backward.get(file).into_iter().flatten());
                }
            }
            if members.len() > 1 {
                members.sort();
                cycles.push(members);
            }
        }
        cycles
    }

    fn visit(&self, file: &str, seen: &mut BTreeSet<String>, order: &mut Vec<String>) {
        if !seen.insert(file.to_owned()) {
            return;
        }
        for to in self.arrows.get(file).into_iter().flat_map(BTreeMap::keys) {
            if !is_family(file, to) {
                self.visit(to, seen, order);
            }
        }
        order.push(file.to_owned());
    }

    fn counted(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.arrows.iter().flat_map(|(from, to)| to.keys().map(move |to| (from, to)));
        all.filter(|(from, to)| !is_family(from, to)).map(|(from, to)| (from.as_str(), to.as_str()))
    }
}

/// Returns true if one file is in the folder of the other.
fn is_family(a: &str, b: &str) -> bool {
    let folder = |file: &str| {
        let file = file.strip_suffix(".rs").unwrap_or(file);
        format!("{}/", file.strip_suffix("/mod").unwrap_or(file))
    };
    folder(a).starts_with(&folder(b)) || folder(b).starts_with(&folder(a))
}

fn is_test(source: &Source) -> bool {
    source.path.ends_with("/tests.rs") || source.path.contains("/tests/")
}

fn path(names: &[&str]) -> Path {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// The module of the file that defines what a path names.
fn resolve(used: &Path, files: &BTreeMap<Path, File>, depth: usize) -> Option<Path> {
    let length = (0..=used.len()).rev().find(|&length| files.contains_key(&used[..length]))?;
    let (module, rest) = used.split_at(length);
    let Some(name) = rest.first() else { return Some(module.to_vec()) };
    // Re-exports of re-exports are followed, but not for ever.
    let exported = files[module].exports.iter().filter(|_| depth < 8);
    for (exported, target) in exported {
        if exported == name {
            let target = [target.as_slice(), &rest[1..]].concat();
            return resolve(&target, files, depth + 1);
        }
    }
    (!module.is_empty()).then(|| module.to_vec())
}

/// Reads the paths of a file, and what it re-exports.
fn read(module: &Path, source: &Source, modules: &BTreeMap<Path, &Source>) -> File {
    let tokens = without_tests(&source.tokens);
    let mut file = File::default();
    let mut at = 0;
    while at < tokens.len() {
        let is_use = tokens[at].text == "use";
        let start = if is_use { at + 1 } else { at };
        let is_path = is_use
            || matches!(tokens[at].text.as_str(), "crate" | "super" | "self" | "keymux")
                && !(at > 0 && tokens[at - 1].text == ":");
        if !is_path {
            at += 1;
            continue;
        }
        let line = tokens[at].line;
        let mut leaves = Vec::new();
        let next = tree(&tokens, start, &mut Vec::new(), &mut leaves);
        for leaf in leaves {
            let Some(full) = absolute(&leaf.path, module, modules) else { continue };
            if is_use && is_public(&tokens, at) {
                file.exports.push((leaf.name, full));
            } else {
                file.uses.push((full, line));
            }
        }
        at = next.max(at + 1);
    }
    file
}

struct Leaf {
    path: Path,
    name: String,
}

/// Reads a path, with groups: `a::{b, c::d as e}`. Returns the index after it.
fn tree(tokens: &[Token], start: usize, prefix: &mut Path, leaves: &mut Vec<Leaf>) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let (mut at, depth) = (start, prefix.len());
    loop {
        if text(at) == "{" {
            at += 1;
            while !matches!(text(at), "}" | "") {
                at = tree(tokens, at, &mut prefix.clone(), leaves);
                at += usize::from(text(at) == ",");
            }
            at += 1;
            break;
        }
        prefix.push(text(at).to_owned());
        at += 1;
        if text(at) == ":" && text(at + 1) == ":" && is_segment(text(at + 2)) {
            at += 2;
            continue;
        }
        let mut path = prefix.clone();
        if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
            path.pop();
        }
        let mut name = path.last().cloned().unwrap_or_default();
        if text(at) == "as" {
            text(at + 1).clone_into(&mut name);
            at += 2;
        }
        leaves.push(Leaf { path, name });
        break;
    }
    prefix.truncate(depth);
    at
}

fn is_segment(text: &str) -> bool {
    text == "{" || text == "*" || text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn is_public(tokens: &[Token], at: usize) -> bool {
    at > 0 && (tokens[at - 1].text == "pub" || tokens[at - 1].text == ")")
}

/// The segments from the root; `None`: of another crate.
fn absolute(path: &Path, module: &Path, modules: &BTreeMap<Path, &Source>) -> Option<Path> {
    let first = path.first()?.as_str();
    let supers = path.iter().take_while(|segment| *segment == "super").count();
    let full = match first {
        "crate" | "keymux" => path[1..].to_vec(),
        "self" => [module.as_slice(), &path[1..]].concat(),
        "super" => {
            let up = module.len().checked_sub(supers)?;
            [&module[..up], &path[supers..]].concat()
        }
        // A module of this file's own.
        _ => {
            let full = [module.as_slice(), path].concat();
            (1..=path.len())
                .any(|length| modules.contains_key(&full[..module.len() + length]))
                .then_some(full)?
        }
    };
    Some(full)
}

/// The tokens without items under `#[cfg(test)]`.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    const TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let is_test = (0..TEST.len())
            .all(|step| tokens.get(at + step).is_some_and(|token| token.text == TEST[step]));
        if !is_test {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        // The item ends with its first `;` outside of braces, or with the brace that closes it.
        let mut depth = 0_usize;
        at += TEST.len();
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token.text.as_str() {
                "{" => depth += 1,
                "}" => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        break;
                    }
                }
                ";" if depth == 0 => break,
                _ => {}
            }
        }
    }
    kept
}

mod reading {
    use super::*;

    fn graph(files: &[(&str, &str)]) -> Graph {
        let sources: Vec<_> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
        Graph::of(&sources)
    }

    fn arrows(files: &[(&str, &str)]) -> Vec<String> {
        let graph = graph(files);
        let all = graph.arrows.iter();
        all.flat_map(|(from, to)| to.keys().map(move |to| format!("{from} -> {to}"))).collect()
    }

    #[test]
    fn a_path_leads_to_the_file_that_defines_its_item() {
        let files = [
            ("src/a/mod.rs", "mod b; mod c; pub use b::Thing; pub use self::c::{D, Other as E};"),
            ("src/a/b.rs", "pub struct Thing; use super::c::D;"),
            ("src/a/c.rs", ""),
            ("src/x.rs", "use crate::a::{E, Thing}; fn f() { crate::a::c::D::new() }"),
        ];
        assert_eq!(
            arrows(&files),
            ["src/a/b.rs -> src/a/c.rs", "src/x.rs -> src/a/b.rs", "src/x.rs -> src/a/c.rs",]
        );
    }

    #[test]
    fn code_of_tests_gives_no_arrow() {
        let files = [
            (
                "src/a.rs",
                "fn f() {}\n#[cfg(test)]\nmod tests { use crate::b::X; }\n#[cfg(test)] use crate::b;",
            ),
            ("src/b.rs", ""),
            ("src/b/tests.rs", "use crate::a::X;"),
        ];
        assert!(arrows(&files).is_empty());
    }

    #[test]
    fn a_cycle_between_siblings_is_found_also_through_a_re_export() {
        let files = [
            ("src/a/mod.rs", "pub use self::b::B;"),
            ("src/a/b.rs", "use super::c::C;"),
            ("src/a/c.rs", "use crate::a::B;"),
        ];
        assert_eq!(graph(&files).cycles(), [["src/a/b.rs", "src/a/c.rs"]]);
    }

    #[test]
    fn a_file_and_its_own_folder_are_no_cycle() {
        let files =
            [("src/a/mod.rs", "use self::b::f; pub struct A;"), ("src/a/b.rs", "use super::A;")];
        assert!(graph(&files).cycles().is_empty());
    }
}
