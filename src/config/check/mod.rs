//! The written form to [`Config`]: every mistake that is not one of form, all in one run.
//!
//! Each function here takes a part of the file apart without `..`, reports what is wrong with it, and
//! goes on with a stand-in. The stand-ins never get out: one error, and there is no `Config`.

mod clients;
mod cloud;
mod keys;
mod providers;
mod resolve_source;
mod routes;
mod server;
mod values;

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::Config;
use super::file::File;
use super::input_files::Reader;
use super::path::leaf;
use super::problem::Severity;
use super::tree::{Finding, Mark, Tree};

pub(super) use resolve_source::reason;
pub(super) use server::address;

/// Everything a check needs to look at and to write to.
pub(super) struct Check<'c, 'a> {
    tree: &'c mut Tree,
    reader: &'c mut Reader<'a>,
    /// What may be shown of values that came from a source, by their paths.
    shown: BTreeMap<String, Json>,
}

/// The configuration as far as it makes sense, and what may be shown of its resolved values. It is of
/// use only when no error was reported.
pub(super) fn check(
    file: File,
    tree: &mut Tree,
    reader: &mut Reader<'_>,
) -> (Config, BTreeMap<String, Json>) {
    let File { include: _, server, admin, reload, retry, clients, providers, routes } = file;
    let mut check = Check { tree, reader, shown: BTreeMap::new() };
    let clients = check.clients(clients);
    let server = check.server(server, clients.is_empty());
    let admin = check.admin(admin, &server.listen);
    let reload = check.reload(reload);
    let retry = server::retry(&retry);
    let providers = check.providers(providers, &clients);
    let routes = check.routes(routes, &providers);
    let (effective, hash) = (Vec::new(), String::new());
    let config =
        Config { server, admin, reload, retry, clients, providers, routes, effective, hash };
    (config, check.shown)
}

impl Check<'_, '_> {
    fn error<'h>(
        &mut self,
        path: &str,
        message: impl Into<String>,
        help: impl Into<Option<&'h str>>,
    ) {
        self.report(path, Mark::Value, Severity::Error, message.into(), help.into());
    }

    /// An error about the name of a setting and not about its value.
    fn misplaced<'h>(
        &mut self,
        path: &str,
        message: impl Into<String>,
        help: impl Into<Option<&'h str>>,
    ) {
        self.report(path, Mark::Name, Severity::Error, message.into(), help.into());
    }

    fn warning<'h>(
        &mut self,
        path: &str,
        message: impl Into<String>,
        help: impl Into<Option<&'h str>>,
    ) {
        self.report(path, Mark::Value, Severity::Warning, message.into(), help.into());
    }

    fn report(
        &mut self,
        path: &str,
        mark: Mark,
        severity: Severity,
        message: String,
        help: Option<&str>,
    ) {
        let help = help.map(str::to_owned);
        self.tree.report(Finding { path: path.to_owned(), mark, severity, message, help });
    }

    /// Whether something at or under this path was reported already, so that its absence says nothing.
    fn doubtful(&self, path: &str) -> bool {
        self.tree.reported.range(path.to_owned()..).take_while(|at| at.starts_with(path)).any(
            |at| {
                let rest = &at[path.len()..];
                rest.is_empty() || rest.starts_with(['.', '['])
            },
        )
    }

    /// Whether one of these settings was reported at or under the path, or all that is there. What the
    /// setting would say is then unknown, and so is what hangs on it.
    fn doubtful_of(&self, path: &str, settings: &[&str]) -> bool {
        self.tree.reported.range(path.to_owned()..).take_while(|at| at.starts_with(path)).any(
            |at| {
                let rest = &at[path.len()..];
                let name = leaf(rest).split('[').next().unwrap_or_default();
                rest.is_empty() || (rest.starts_with(['.', '[']) && settings.contains(&name))
            },
        )
    }

    /// Where the setting stands, to be named in a problem of another one.
    fn place(&self, path: &str) -> String {
        self.tree.origin(path).map_or(String::new(), |origin| format!(" ({origin})"))
    }
}
