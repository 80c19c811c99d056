//! The configuration: from the text of the files to a [`Config`], the form that the rest of keymux uses.
//!
//! ```text
//! files, environment, flags
//!   load.rs              reads the files, follows `include`, calls the steps below in order
//!   input_files.rs       the files that were read, and whether they have changed; access to the system
//!   tree.rs              all files as one tree, with the location of each setting
//!   syntax_errors.rs     TOML syntax errors in our own words
//!   overrides.rs         environment variables and flags over the files, with figment
//!   schema_check.rs      the tree against the schema: unknown names, wrong types, missing settings; defaults
//!   aliases.rs           names of our settings in other programs
//!   file.rs              the written form (serde + schemars): fields only; source.rs: its value sources
//!   schema.rs            the JSON Schema of the written form
//!   check/               written form -> Config, and all remaining problems
//!   settings.rs          Config, server, clients, routes; listen.rs: addresses of listeners
//!   providers.rs         providers and keys; cloud.rs: cloud keys; endpoint.rs: base addresses
//!   model_resolution.rs  which provider a requested model means
//!   effective.rs         every setting with its origin, without secrets
//!   problem.rs           how a problem is printed; file_text.rs: its line with the values hidden
//!   watch.rs             reports that the content of the files may have changed
//! ```
//!
//! In a [`Config`] all names are resolved, all numbers bounded and all defaults filled in.

mod aliases;
mod check;
mod cloud;
mod effective;
mod endpoint;
mod file;
mod file_text;
mod input_files;
mod listen;
mod load;
mod model_resolution;
mod overrides;
mod path;
pub mod pattern;
pub mod problem;
mod providers;
pub mod schema;
mod schema_check;
mod settings;
mod source;
mod syntax_errors;
mod tree;
pub mod watch;

pub use cloud::{
    ApiVersion, AwsAuth, AwsCredentials, Azure, AzureAuth, Bedrock, Bucket, Cloud, EntraAuth,
    EntraCredential, GoogleAuth, Region, Vertex,
};
pub use endpoint::Endpoint;
pub use input_files::{Environment, FileSet, InputFiles, SystemEnvironment};
pub use listen::Listen;
pub use load::{LoadOptions, Loaded, load, read_admin_address};
pub use model_resolution::{ModelNotFound, ResolvedModel};
pub use pattern::Pattern;
pub use problem::{Problem, Severity};
pub use providers::{Affinity, Key, Provider, Proxy, Timeouts, Transport};
pub use settings::{
    Admin, Client, ClientAwsKey, Config, Log, LogFormat, Reload, Rescue, Retry, Route, RouteTarget,
    RouteTimeouts, Server, ServerAuth, Setting, Tls, WatchMode,
};
