//! keymux: one daemon, one TOML file, in front of every LLM provider.
//!
//! # The rooms
//!
//! ```text
//! main, cli    arguments, and what the commands print
//! gateway      the running program: connections, requests, attempts, responses, reloads
//! admin        the second listener: health, metrics, the keys, the configuration in force
//! upstream     one attempt against one provider; the only room that opens a secret
//! keys         the keys of a provider: whose turn it is, which are left alone
//! route        the model asked for -> where to try, in order
//! observe      access line, metrics, log: plain values only
//! config       text -> `Config`, with every problem of every file
//! provider     what a kind of provider is: a table
//! format         bytes <-> meaning: no I/O, clock, configuration or logging
//! secret       a credential in memory; share: exact shares by weight
//! ```
//!
//! Who may use whom is a table in `tests/layers.rs`, and no arrow goes back.
//!
//! # A request
//!
//! [`gateway::server`] accepts the connection and runs HTTP on it, with deadlines on what the caller does.
//! `gateway::request::handle` is one request from top to bottom: `address` finds the API and the operation by path and
//! method; `authenticate` finds the client; `body` reads the body under its limit. `request::operation` peeks at the model
//! and the stream flag and parses nothing else; [`config::Config::resolve_model`] and [`route`] turn the model into a plan.
//! `gateway::attempt::run` goes through the plan: [`keys`] chooses a key, [`upstream`] sends the request, until a response
//! has its head and, for a stream, its first event. Nothing reaches the caller before that. Then
//! `gateway::response::relay` is the body: one chunk in, at most one out, while the observer of [`wire`] reads token counts
//! and the end. When the body is dropped, `gateway::record` writes the access line and the counters.
//!
//! ```text
//! gateway/server/     accept -> http -> request/handle
//! gateway/request/    authenticate, body, then models | operation | objects
//! gateway/attempt/    run -> try_key -> send (translated: encode, send, decode)
//! gateway/response/   relay (or rescue, which holds a stream) | error_response
//! ```
//!
//! A provider with the caller's format gets the caller's bytes. For any other ([`provider::Conversion`]),
//! `gateway::attempt::translated` has [`wire::translate`] decode the request into [`wire::ir`] and encode it in the
//! provider's format. `gateway::response::passage` encodes the response in the caller's format, event by event.
//!
//! # A secret
//!
//! The file names where it is; `config` reads it into a [`secret::Secret`], which cannot be printed;
//! `upstream::auth` makes it a header marked sensitive. Everything else knows the key's name.
//!
//! # A change of the file
//!
//! [`gateway::reload`]: watch, compare contents, load, check, build the next gateway beside the current one, swap one
//! pointer, log what changed. A file with an error changes nothing.

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
