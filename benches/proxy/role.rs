//! This program as the provider or as the floor.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::HttpService;
use hyper_util::rt::TokioIo;
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use crate::{Error, Result, floor, mock};

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

/// Accepts for ever, after saying on standard output where.
pub(crate) async fn serve<S>(service: impl Fn() -> S) -> Result<()>
where
    S: HttpService<Incoming, Error: Into<Error>, Future: Send> + Send + 'static,
    S::ResBody: Body<Data = Bytes, Error: Into<Error>> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service());
        // What goes wrong here is seen by the callers, who compare whole answers.
        tokio::spawn(async move { drop(connection.await) });
    }
}
