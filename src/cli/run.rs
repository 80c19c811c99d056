//! `keymux run`: from the file to a program that serves, and to its end.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use listenfd::ListenFd;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;

use super::{BAD_CONFIG, Said, load};
use crate::admin;
use crate::config::{self, Config, InputFiles, Listen, LoadOptions, LogFormat};
use crate::gateway::contain::report_panics;
use crate::gateway::reload::Reloader;
use crate::gateway::serve::{self, Listener, Phase};
use crate::gateway::{Gateway, Live};
use crate::observe::log::{Format, Log};
use crate::observe::metrics::Metrics;
use crate::observe::unix_time;

/// Lets the system dump the program's memory, and debuggers of its own user look into it, when it is set.
const DUMPABLE: &str = "KEYMUX_DUMPABLE";
/// How long answers that are cut may take to end; each connection has a limit of its own below this.
const CUT: Duration = Duration::from_secs(3);

pub(super) fn run(options: LoadOptions) -> Said {
    if std::env::var_os(DUMPABLE).is_none_or(|set| set.is_empty()) {
        // Before a secret is read. It fails nowhere that has the call.
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
    let loaded = load(&options);
    let Some(config) = loaded.config else {
        return Said::failed(config::problem::report(&loaded.problems, false), BAD_CONFIG);
    };
    let log = match start_log(&config) {
        Ok(log) => log,
        Err(error) => return Said::failed(format!("keymux: {error}\n"), BAD_CONFIG),
    };
    report_panics();
    for problem in &loaded.problems {
        tracing::warn!("{problem}");
    }
    raise_open_files(&config);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Said::failed(format!("keymux: {error}\n"), 1),
    };
    let ended = runtime.block_on(serve_until_stopped(options, config, loaded.inputs, log.clone()));
    log.finish();
    match ended {
        Ok(()) => Said::default(),
        Err(error) => Said::failed(format!("keymux: {error}\n"), 1),
    }
}

/// Most systems start programs with a limit far below the one that they may set themselves.
fn raise_open_files(config: &Config) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum || limit.maximum.is_none() {
        // systemd's own limit is final where the unit's filter forbids the call.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
    // A connection of a caller's and one to a provider; and some for files, and for the admin listener.
    let wanted = config.server.max_connections as u64 * 2 + 100;
    if let Some(allowed) = getrlimit(Resource::Nofile).current.filter(|allowed| *allowed < wanted) {
        tracing::warn!(
            allowed,
            wanted,
            "the limit of open files is low for server.max_connections: callers may have to wait"
        );
    }
}

/// `KEYMUX_LOG`, else `RUST_LOG`, else the file.
fn start_log(config: &Config) -> Result<Log, String> {
    let format = match config.server.log.format {
        LogFormat::Auto => Format::of_stdout(),
        LogFormat::Json => Format::Json,
        LogFormat::Text => Format::Text,
    };
    let asked = ["KEYMUX_LOG", "RUST_LOG"].into_iter().find_map(|name| {
        let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
        Some((name, value))
    });
    let (name, filter) =
        asked.unwrap_or_else(|| ("server.log.level", config.server.log.level.clone()));
    Log::start(&filter, format).map_err(|error| format!("{name}: {error}"))
}

async fn serve_until_stopped(
    options: LoadOptions,
    config: Config,
    inputs: InputFiles,
    log: Log,
) -> io::Result<()> {
    let metrics = Arc::new(Metrics::default());
    let hash = config.hash.clone();
    let gateway = Gateway::build(config, None, &metrics)?;
    let mut handed = ListenFd::from_env();
    let (server, admin) = (&gateway.config.server.listen, &gateway.config.admin.listen);
    let listener = bind("server", server, &mut handed)?;
    let admin_listener = bind("admin", admin, &mut handed)?;
    let welcome = welcome(&gateway.config);
    metrics.config(&hash, unix_time());

    let mut stop = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let live = Arc::new(Live::new(gateway, metrics, log));
    let reloader = Reloader::new(live.clone(), options, inputs)?;
    let (phase, follow) = watch::channel(Phase::Running);
    let serving = tokio::spawn(serve::run(live.clone(), listener, follow));
    tokio::spawn(admin::run(live.clone(), admin_listener));
    tokio::spawn(reloader.run());

    tracing::info!(version = env!("CARGO_PKG_VERSION"), config = hash, "{welcome}");
    let _ = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&welcome)]);
    tokio::spawn(watchdog());

    tokio::select! {
        _ = stop.recv() => {}
        _ = interrupt.recv() => {}
    }
    let drain = live.gateway().config.server.drain_timeout;
    tracing::info!(?drain, "stopping: no new connections, running answers may finish");
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    live.stop();
    phase.send_replace(Phase::Draining);
    tokio::pin!(serving);
    tokio::select! {
        _ = &mut serving => return Ok(()),
        () = tokio::time::sleep(drain) => tracing::warn!("drain time is over; cutting what still runs"),
        _ = stop.recv() => tracing::warn!("asked again to stop; cutting what still runs"),
        _ = interrupt.recv() => tracing::warn!("asked again to stop; cutting what still runs"),
    }
    live.cut();
    phase.send_replace(Phase::Cut);
    let _ = timeout(CUT, serving).await;
    Ok(())
}

/// Tells systemd that the program lives, at twice the pace that it asks for (sd_watchdog_enabled(3)). Each
/// time a task is run to its end first, which takes a worker that is free to run requests too.
async fn watchdog() {
    let Some(period) = sd_notify::watchdog_enabled().filter(|period| !period.is_zero()) else {
        return;
    };
    let mut pace = tokio::time::interval(period / 2);
    loop {
        pace.tick().await;
        if tokio::spawn(tokio::task::yield_now()).await.is_ok() {
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        }
    }
}

fn bind(what: &str, listen: &Listen, handed: &mut ListenFd) -> io::Result<Listener> {
    Listener::bind(listen, handed).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot listen at {} ({what}.listen): {}", said(listen), why(&error, listen)),
        )
    })
}

/// Why a listener cannot stand, where it can be said better than the system does.
fn why(error: &io::Error, listen: &Listen) -> String {
    let low = matches!(listen, Listen::Tcp(address) if address.port() < 1024);
    let words = match error.kind() {
        io::ErrorKind::AddrInUse => "the address is in use, perhaps by another keymux",
        io::ErrorKind::AddrNotAvailable => "this machine does not have the address",
        io::ErrorKind::NotFound => "there is no such directory",
        io::ErrorKind::PermissionDenied if low => {
            "permission denied; a port below 1024 is best opened by systemd (keymux.socket)"
        }
        io::ErrorKind::PermissionDenied => "permission denied",
        _ => return error.to_string(),
    };
    words.to_owned()
}

/// An address as the file writes it.
pub(super) fn said(listen: &Listen) -> String {
    match listen {
        Listen::Tcp(address) => address.to_string(),
        Listen::Unix(path) => format!("unix:{}", path.display()),
        Listen::Systemd(None) => "systemd".to_owned(),
        Listen::Systemd(Some(name)) => format!("systemd:{name}"),
    }
}

/// Where it listens, and a line to try it with.
fn welcome(config: &Config) -> String {
    let scheme = if config.server.tls.is_some() { "https" } else { "http" };
    let mut out = format!("keymux listens at {}", said(&config.server.listen));
    let (Some(model), Listen::Tcp(address)) = (a_model(config), &config.server.listen) else {
        return out;
    };
    let key = if config.clients.is_empty() { "" } else { " -H 'Authorization: Bearer CLIENT_KEY'" };
    let _ = write!(
        out,
        "; try: curl {scheme}://{address}/v1/chat/completions{key} -H 'Content-Type: application/json' \
         -d '{{\"model\":\"{model}\",\"messages\":[{{\"role\":\"user\",\"content\":\"Hello there\"}}]}}'"
    );
    out
}

/// A model to try, an echo's before any other: it needs no network.
fn a_model(config: &Config) -> Option<String> {
    let echo = config.providers.iter().find(|p| p.kind == crate::provider::Kind::Echo);
    let named = || {
        let provider = config.providers.first()?;
        let mut models = provider.keys.iter().filter_map(|key| key.models.as_ref()).flatten();
        let model = models.find_map(config::Pattern::exact)?;
        Some(format!("{}/{model}", provider.name))
    };
    echo.map(|provider| format!("{}/echo", provider.name)).or_else(named)
}
