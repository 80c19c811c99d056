//! The accept loop: takes connections under `server.max_connections` until the stop signal, then drains them.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::http::{HttpSettings, serve};
use super::limits::{ConnectionTimeouts, Phase};
use super::listener::{AcceptErrors, Listener};
use super::socket::{Duplex, Socket};
use crate::gateway::Live;

/// Accepts connections until `phase` leaves [`Phase::Running`], then waits for all connections to end.
pub async fn run(live: Arc<Live>, listener: Listener, mut phase: watch::Receiver<Phase>) {
    let limit = live.gateway().config.server.max_connections;
    let permits = Arc::new(Semaphore::new(limit));
    let settings = Arc::new(HttpSettings::new(live.clone(), phase.clone()));
    let mut errors = AcceptErrors::default();
    loop {
        let accepted = tokio::select! {
            _ = phase.wait_for(|phase| *phase != Phase::Running) => break,
            accepted = accept(&listener, &permits) => accepted,
        };
        match accepted {
            Ok((socket, permit)) => {
                let (live, settings, phase) = (live.clone(), settings.clone(), phase.clone());
                tokio::spawn(async move {
                    let _count = ConnectionCount::new(&live);
                    serve_socket(&live, socket, &settings, phase).await;
                    drop(permit);
                });
            }
            Err(error) => errors.back_off(&error).await,
        }
    }
    drop(listener);
    // All permits are back when the last connection has ended.
    let all = u32::try_from(limit).unwrap_or(u32::MAX);
    let _ = permits.acquire_many(all).await;
}

/// Counts a connection in the metrics for as long as it lives.
struct ConnectionCount<'l>(&'l Live);

impl<'l> ConnectionCount<'l> {
    fn new(live: &'l Live) -> Self {
        live.metrics.connections.inc();
        Self(live)
    }
}

impl Drop for ConnectionCount<'_> {
    fn drop(&mut self) {
        self.0.metrics.connections.dec();
    }
}

async fn accept(
    listener: &Listener,
    permits: &Arc<Semaphore>,
) -> io::Result<(Socket, OwnedSemaphorePermit)> {
    let permit = permits.clone().acquire_owned().await.map_err(io::Error::other)?;
    Ok((listener.accept().await?, permit))
}

async fn serve_socket(
    live: &Arc<Live>,
    socket: Socket,
    settings: &HttpSettings,
    mut phase: watch::Receiver<Phase>,
) {
    let timeouts = {
        // Dropped at once: a long-lived connection must not keep an old configuration alive.
        let gateway = live.gateway();
        let server = &gateway.config.server;
        ConnectionTimeouts { head: server.head_timeout, write: server.write_timeout }
    };
    let due = Instant::now() + timeouts.head;
    let readable = timeout_at(due, poll_fn(|cx| socket.poll_readable(cx)));
    tokio::select! {
        readable = readable => if !matches!(readable, Ok(Ok(()))) { return },
        _ = phase.wait_for(|phase| *phase != Phase::Running) => return,
    }
    // Boxed, so a caller that has sent nothing yet costs a tenth of the others.
    match live.gateway().tls.clone() {
        None => Box::pin(serve(live, socket, timeouts, due, settings, phase)).await,
        Some(config) => {
            let handshake = Box::pin(TlsAcceptor::from(config).accept(socket));
            if let Ok(Ok(stream)) = timeout_at(due, handshake).await {
                let due = Instant::now() + timeouts.head;
                Box::pin(serve(live, stream, timeouts, due, settings, phase)).await;
            }
        }
    }
}
