//! README.md and `docs/`, held to the program: tables, names, numbers, links and examples.
//!
//! ```text
//! page.rs         reads the pages; writes the generated parts with KEYMUX_WRITE_DOCS=1
//! links.rs        links, files that are named, the length of README.md
//! reference.rs    the reference of all settings, from the schema
//! providers.rs    kinds, paths, embeddings, stored objects
//! translation.rs  what each format receives and supports
//! operating.rs    metrics, access log, admin listener, commands
//! examples.rs     TOML and shell blocks, settings and variables that are named
//! numbers.rs      limits and times, by the source that has them
//! ```

#![allow(clippy::unwrap_used, clippy::panic, reason = "so a test fails")]
#![allow(clippy::format_push_string, reason = "tables of a few hundred rows")]

#[path = "../common/mod.rs"]
mod common;
mod examples;
mod links;
mod numbers;
mod operating;
mod page;
mod providers;
mod reference;
mod translation;

use std::collections::BTreeSet;

fn set<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    items.into_iter().collect()
}
