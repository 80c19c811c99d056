//! Links between pages, files that a page names, and the length of the first page.

use crate::page::{all, code, for_users, read, root, without_blocks};
use crate::reference::slug;

/// The anchors of the headings of a page.
fn anchors(page: &str) -> Vec<String> {
    let text = without_blocks(&read(page));
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| slug(line.trim_start_matches('#'))).collect()
}

#[test]
fn every_link_between_pages_resolves() {
    let mut seen = 0;
    for page in all() {
        let folder = root().join(&page).parent().unwrap().to_owned();
        let text = without_blocks(&read(&page));
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { root().join(&page) } else { folder.join(file) };
            assert!(target.exists(), "{page} links to {link}");
            if !anchor.is_empty() {
                let anchors = anchors(target.to_str().unwrap());
                assert!(anchors.iter().any(|known| known == anchor), "{page} links to {link}");
            }
            seen += 1;
        }
    }
    assert!(seen >= 50, "{seen}");
}

#[test]
fn headings_of_a_page_have_different_anchors() {
    for page in for_users() {
        let mut anchors = anchors(&page);
        let count = anchors.len();
        anchors.sort();
        anchors.dedup();
        assert_eq!(anchors.len(), count, "{page}");
    }
}

#[test]
fn the_files_that_a_page_names_exist() {
    let folders = ["src/", "tests/", "systemd/", "examples/", "benches/", "docs/"];
    let mut seen = 0;
    for page in for_users() {
        let text = without_blocks(&read(&page));
        let named = code(&text).into_iter().flat_map(|token| token.split(' '));
        let named = named.filter(|token| folders.iter().any(|folder| token.starts_with(folder)));
        for file in named.chain(["config.example.toml", "keymux.schema.json"]) {
            assert!(root().join(file).exists(), "{page} names {file}");
            seen += 1;
        }
    }
    assert!(seen >= 8, "{seen}");
}

#[test]
fn the_index_lists_every_page() {
    let index = read("docs/README.md");
    for page in all().iter().filter_map(|page| page.strip_prefix("docs/")) {
        assert!(page == "README.md" || index.contains(&format!("]({page})")), "{page}");
    }
}

#[test]
fn the_first_page_is_short() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 200, "README.md has {lines} lines: move what is not for everyone to docs/");
}
