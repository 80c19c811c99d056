//! keymux: one daemon, one TOML file, in front of every LLM provider.
//!
//! # The rooms
//!
//! ```text
//! main, cli    arguments, and the output of the commands
//! admin        the second listener: health, metrics, keys, the active configuration
//! gateway      the running program: connections, requests, attempts, responses, reloads
//! upstream     one attempt against one provider; the only room that opens a secret
//! keys         the keys of a provider: weighted choice, cooldowns, limits; the clock is passed in
//! route        a model name -> the targets to try, in order
//! config       text -> `Config`, or every problem at its place
//! observe      access line, metrics, log: plain values only
//! provider     kinds of providers, as data
//! wire         bytes and their meaning: no I/O, clock, configuration or logging
//! secret       a credential in memory
//! share        exact shares by weight
//! ```
//!
//! A room uses only rooms below it. `tests/layers.rs` holds the table, the order of the rooms within `wire` and
//! `gateway`, and refuses import cycles among files.
//!
//! # A request
//!
//! ```text
//! gateway/server/     accept -> http -> request/handle
//! gateway/request/    authenticate, body, then models | operation | objects
//! gateway/attempt/    run -> try_key -> send (translated: decode, fit, encode, send, decode, encode)
//! gateway/response/   relay (or rescue, which holds a stream) | error_response
//! gateway/record      writes the access line and the counters when the body is dropped
//! ```
//!
//! [`gateway::server`] accepts the connection and runs HTTP on it, with deadlines on what the caller does. Each
//! request loads the current [`gateway::Gateway`] once, so a reload cannot change the rules half way.
//! `gateway::request::handle` is one request from top to bottom: [`wire::api::routes`] finds the API and the
//! operation by path and method; `authenticate` finds the client; `body` reads the body under its limit.
//! [`wire::inspect::model`] finds the model and the stream flag and parses nothing else;
//! [`config::Config`] and [`route`] turn the model into targets. `gateway::attempt::run` tries one after the other:
//! [`keys`] chooses a key, [`upstream`] sends the request, until a response has its head and, for a stream, its first
//! event. Nothing reaches the caller before that. Then `gateway::response::relay` is the body: one chunk in, at most
//! one out, while [`wire::inspect::observer`] reads token counts and the end.
//!
//! A provider with the caller's format gets the caller's bytes, with the model replaced. For any other,
//! `gateway::attempt::translated` has [`wire::translate`] decode the request into [`wire::ir`], fit it to the target
//! and encode it; `gateway::response::passage` encodes the response in the caller's format, event by event.
//!
//! # A secret
//!
//! The file names a source; `config` resolves it into a [`secret::Secret`], which cannot be printed;
//! `upstream::auth` makes it a header marked sensitive. Everything else knows the key's name.
//!
//! # A change of the file
//!
//! [`gateway::reload`]: watch, compare contents, load, check, build the next gateway beside the current one, swap one
//! pointer, log what changed. A file with a problem changes nothing.

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
