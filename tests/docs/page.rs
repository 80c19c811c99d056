//! The pages, and how a table, a code block or a generated part is found in one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Every page, as a path from the root of the project.
pub(crate) fn all() -> Vec<String> {
    let mut pages: Vec<String> =
        ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benches/README.md"]
            .map(Into::into)
            .into();
    let folder = fs::read_dir(root().join("docs")).unwrap();
    pages.extend(
        folder.map(|entry| format!("docs/{}", entry.unwrap().file_name().to_str().unwrap())),
    );
    pages.sort();
    pages
}

/// The pages for users: README.md and `docs/`.
pub(crate) fn for_users() -> Vec<String> {
    all().into_iter().filter(|page| page == "README.md" || page.starts_with("docs/")).collect()
}

/// The folder that holds Cargo.toml.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a page, or of any other file of the project.
pub(crate) fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Returns the text under a heading without its fenced blocks, down to the next heading of the same or a higher level.
pub(crate) fn section(page: &str, heading: &str) -> String {
    let text = without_blocks(&read(page));
    let level = |line: &str| line.bytes().take_while(|byte| *byte == b'#').count();
    let mut lines = text.lines().skip_while(|line| line.trim_start_matches('#').trim() != heading);
    let own = level(lines.next().unwrap_or_else(|| panic!("{page} has no heading {heading:?}")));
    let inside = lines.take_while(|line| !(1..=own).contains(&level(line)));
    inside.collect::<Vec<_>>().join("\n")
}

/// Returns the cells of every table row of a text, without the header rows.
pub(crate) fn rows(text: &str) -> Vec<Vec<String>> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let table = lines.iter().enumerate().filter(|(_, line)| line.starts_with("| "));
    table
        .filter(|(at, _)| !lines.get(at + 1).is_some_and(|next| next.starts_with("|---")))
        .map(|(_, line)| {
            line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()
        })
        .collect()
}

/// Returns the pieces of a text between backticks.
pub(crate) fn code(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Returns the fenced blocks of a language, without their indentation.
pub(crate) fn blocks(page: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for line in read(page).lines() {
        let bare = line.trim_start();
        match &mut open {
            Some(_) if bare == "```" => blocks.extend(open.take().map(|(_, text)| text)),
            Some((indent, text)) => {
                text.push_str(line.get(*indent..).unwrap_or_default());
                text.push('\n');
            }
            None if bare.strip_prefix("```") == Some(language) => {
                open = Some((line.len() - bare.len(), String::new()));
            }
            None => {}
        }
    }
    blocks
}

/// Returns a text without its fenced blocks.
pub(crate) fn without_blocks(text: &str) -> String {
    let mut inside = false;
    let prose = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    });
    prose.collect::<Vec<_>>().join("\n")
}

/// Asserts that a generated part of a page is up to date; with `KEYMUX_WRITE_DOCS=1`, writes it.
/// The part is between the lines `<!-- generated: NAME -->` and `<!-- end: NAME -->`.
pub(crate) fn assert_generated(page: &str, name: &str, expected: &str) {
    // Two tests may write parts of one page.
    static WRITING: Mutex<()> = Mutex::new(());
    let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let (begin, end) = (format!("<!-- generated: {name} -->\n"), format!("<!-- end: {name} -->"));
    let text = read(page);
    let missing = || panic!("{page} lacks {begin:?} or {end:?}");
    let (before, rest) = text.split_once(&begin).unwrap_or_else(missing);
    let (found, after) = rest.split_once(&end).unwrap_or_else(missing);
    let expected = format!("\n{}\n\n", expected.trim());
    if found == expected {
        return;
    }
    assert!(
        std::env::var_os("KEYMUX_WRITE_DOCS").is_some(),
        "{page}: the part `{name}` is stale; run `KEYMUX_WRITE_DOCS=1 cargo test --test docs`"
    );
    fs::write(root().join(page), [before, &begin, &expected, &end, after].concat()).unwrap();
}

/// Returns a table row.
pub(crate) fn row<Cell: AsRef<str>>(cells: impl IntoIterator<Item = Cell>) -> String {
    let cells: Vec<_> = cells.into_iter().map(|cell| cell.as_ref().to_owned()).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// Returns the header of a table and the line below it.
pub(crate) fn header<Cell: AsRef<str>>(cells: impl IntoIterator<Item = Cell>) -> String {
    let titles = row(cells);
    let columns = titles.matches(" | ").count() + 1;
    format!("{titles}|{}\n", "---|".repeat(columns))
}

/// Asserts for each row that the page contains the words, and that the file, or a file of the folder,
/// contains the source that they depend on.
pub(crate) fn assert_sources(page: &str, rows: &[(&str, &str, &str)]) {
    let text = read(page).split_whitespace().collect::<Vec<_>>().join(" ");
    for (words, place, source) in rows {
        assert!(text.contains(words), "{page} no longer contains {words:?}: change this test too");
        let is_found = contains(&root().join(place), source);
        assert!(is_found, "{page} has {words:?}, but {place} has no {source:?}");
    }
}

fn contains(place: &Path, source: &str) -> bool {
    match fs::read_dir(place) {
        Ok(entries) => entries.map(Result::unwrap).any(|entry| contains(&entry.path(), source)),
        Err(_) => fs::read_to_string(place).unwrap().contains(source),
    }
}
