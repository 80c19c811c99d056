//! keymux: one daemon, one TOML file, in front of every LLM provider.

pub mod config;
pub mod provider;
pub mod secret;
pub mod wire;
