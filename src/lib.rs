//! keymux: one daemon, one TOML file, in front of every LLM provider.
//!
//! # The rooms
//!
//! ```text
//! main, cli    arguments, and what the commands print
//! gateway      the running program: connections, requests, answers, reloads
//! admin        the second listener: health, metrics, the keys, the configuration in force
//! upstream     one attempt against one provider; the only room that opens a secret
//! keys         the keys of a provider: whose turn it is, which are left alone
//! route        the model asked for -> where to try, in order
//! observe      access line, metrics, log: plain values only
//! config       text -> `Config`, with every problem of every file
//! provider     what a kind of provider is: a table
//! wire         bytes <-> meaning: no I/O, clock, configuration or logging
//! secret       a credential in memory; share: exact shares by weight
//! ```
//!
//! Who may use whom is a table in `tests/layers.rs`, and no arrow goes back.
//!
//! # A request
//!
//! [`gateway::serve`] accepts the connection, with deadlines on what the caller does. `gateway::handle`
//! is the request from top to bottom: path and method say what is asked for; the caller's key says who
//! asks; the body is read under its limit; [`wire::peek`] finds the model and nothing else;
//! [`config::Config::resolve_model`] and [`route`] make it a plan; `gateway::attempt` walks the plan, asking
//! [`keys`] for a key and [`upstream`] for an answer, until one has its head and, for a stream, its
//! first event. Only then does the caller hear anything. From there `gateway::relay` is the body:
//! one chunk in, at most one out, while [`wire::listen`] hears tokens and the end go by. When the body
//! is dropped, `gateway::record` writes the access line and the counters.
//!
//! A provider that has the caller's format gets the caller's bytes. For one that has not
//! ([`provider::Conversion`]), `gateway::attempt::foreign` has [`wire::translate`] read the request into
//! [`wire::ir`] and write it in the provider's format, and the relay writes the answer in the caller's,
//! event by event.
//!
//! # A secret
//!
//! The file names where it is; `config` reads it into a [`secret::Secret`], which cannot be printed;
//! `upstream::auth` makes it a header marked sensitive. Everything else knows the key's name.
//!
//! # A change of the file
//!
//! [`gateway::reload`]: watch, compare contents, load, check, build the next gateway beside the one in
//! force, swap one pointer, say what changed. A file with a mistake changes nothing.

pub mod admin;
pub mod cli;
pub mod config;
pub mod gateway;
pub mod keys;
pub mod observe;
pub mod provider;
pub mod route;
pub mod secret;
pub mod share;
pub mod upstream;
pub mod wire;
