//! This program as the provider or as the floor.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use crate::{Result, floor, mock};

/// Plays `mock MILLISECONDS` or `floor ADDRESS` until it is killed.
pub(crate) fn play(role: &str, of: &str) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // Of the kind that keymux runs on, with the one worker that it starts on one core.
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    match role {
        "mock" => runtime.block_on(mock::run(Duration::from_millis(of.parse()?))),
        _ => runtime.block_on(floor::run(of.parse()?)),
    }
}

/// A listener, after saying on standard output where it stands.
pub(crate) async fn listen() -> Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
    Ok(listener)
}
