//! The written form to a [`Config`], and every problem that the schema cannot find, all in one run.
//!
//! Each function takes one part of the file apart without `..`, reports what is wrong with it, and
//! continues with a placeholder. Placeholders never leave this module: with one error there is no `Config`.

mod clients;
mod cloud;
mod key_parts;
mod keys;
mod providers;
mod report;
mod resolve_source;
mod routes;
mod server;
mod values;

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::Config;
use super::file::File;
use super::input_files::Reader;
use super::tree::Tree;
use report::Check;

/// Checks the written form. Returns the configuration as far as it is known, and by path the values of
/// sources that may be displayed. The result is usable only if no error was reported.
pub(super) fn check(
    file: File,
    tree: &mut Tree,
    reader: &mut Reader<'_>,
) -> (Config, BTreeMap<String, Json>) {
    let File { include: _, server, admin, reload, retry, clients, providers, routes } = file;
    let mut check = Check::new(tree, reader);
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
    (config, check.displayed)
}
