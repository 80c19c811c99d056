//! `keymux run`: starts the gateway, and stops it on a signal.

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

use super::{BAD_CONFIG, CommandOutput, load};
use crate::admin;
use crate::config::{self, Config, InputFiles, Listen, LoadOptions, LogFormat};
use crate::gateway::catch_panic::log_panics;
use crate::gateway::reload::Reloader;
use crate::gateway::server::{self, Listener, Phase};
use crate::gateway::{Gateway, Live};
use crate::observe::log::{Format, Log};
use crate::observe::metrics::Metrics;
use crate::observe::unix_time;

/// If set, the system may dump the memory of the process, and debuggers of the same user may attach.
const DUMPABLE: &str = "KEYMUX_DUMPABLE";
/// How long connections may take to close after they were cut; the limit of each connection is lower.
const CUT_TIMEOUT: Duration = Duration::from_secs(3);

pub(super) fn run(options: LoadOptions) -> CommandOutput {
    if std::env::var_os(DUMPABLE).is_none_or(|set| set.is_empty()) {
        // Before a secret is read. The call cannot fail on systems that have it.
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
    let loaded = load(&options);
    let Some(config) = loaded.config else {
        return CommandOutput::failed(config::problem::report(&loaded.problems, false), BAD_CONFIG);
    };
    let log = match start_log(&config) {
        Ok(log) => log,
        Err(error) => return CommandOutput::failed(format!("keymux: {error}\n"), BAD_CONFIG),
    };
    log_panics();
    for problem in &loaded.problems {
        tracing::warn!("{problem}");
    }
    raise_open_file_limit(&config);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return CommandOutput::failed(format!("keymux: {error}\n"), 1),
    };
    let ended = runtime.block_on(serve_until_stopped(options, config, loaded.inputs, log.clone()));
    log.finish();
    match ended {
        Ok(()) => CommandOutput::default(),
        Err(error) => CommandOutput::failed(format!("keymux: {error}\n"), 1),
    }
}

/// Raises the limit of open files. Most systems start programs far below the maximum they may set.
fn raise_open_file_limit(config: &Config) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum || limit.maximum.is_none() {
        // If the filter of the systemd unit forbids the call, systemd's limit applies.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
    // One connection from a client and one to a provider; and some for files and the admin listener.
    let wanted = config.server.max_connections as u64 * 2 + 100;
    if let Some(allowed) = getrlimit(Resource::Nofile).current.filter(|allowed| *allowed < wanted) {
        tracing::warn!(
            allowed,
            wanted,
            "the limit of open files is too low for server.max_connections: connections may have to wait"
        );
    }
}

/// Starts the log with the filter from `KEYMUX_LOG`, else `RUST_LOG`, else the file.
fn start_log(config: &Config) -> Result<Log, String> {
    let format = match config.server.log.format {
        LogFormat::Auto => Format::of_stdout(),
        LogFormat::Json => Format::Json,
        LogFormat::Text => Format::Text,
    };
    let from_environment = ["KEYMUX_LOG", "RUST_LOG"].into_iter().find_map(|name| {
        let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
        Some((name, value))
    });
    let (name, filter) =
        from_environment.unwrap_or_else(|| ("server.log.level", config.server.log.level.clone()));
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
    let mut passed_sockets = ListenFd::from_env();
    let (server, admin) = (&gateway.config.server.listen, &gateway.config.admin.listen);
    let listener = bind("server", server, &mut passed_sockets)?;
    let admin_listener = bind("admin", admin, &mut passed_sockets)?;
    let welcome = welcome_line(&gateway.config);
    metrics.set_active_config(&hash, unix_time());

    let mut stop = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let live = Arc::new(Live::new(gateway, metrics, log));
    let reloader = Reloader::new(live.clone(), options, inputs)?;
    let (phase, follow) = watch::channel(Phase::Running);
    let serving = tokio::spawn(server::run(live.clone(), listener, follow));
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
    tracing::info!(?drain, "stopping: no new connections, running requests may finish");
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    live.stop();
    phase.send_replace(Phase::Draining);
    tokio::pin!(serving);
    tokio::select! {
        _ = &mut serving => return Ok(()),
        () = tokio::time::sleep(drain) => tracing::warn!("drain_timeout is over: cutting running requests"),
        _ = stop.recv() => tracing::warn!("second stop signal: cutting running requests"),
        _ = interrupt.recv() => tracing::warn!("second stop signal: cutting running requests"),
    }
    live.cut();
    phase.send_replace(Phase::Cut);
    let _ = timeout(CUT_TIMEOUT, serving).await;
    Ok(())
}

/// Notifies systemd's watchdog, twice in each period that it requires (sd_watchdog_enabled(3)). Before each
/// notification a task must complete, which proves that a worker is free to run requests.
async fn watchdog() {
    let Some(period) = sd_notify::watchdog_enabled().filter(|period| !period.is_zero()) else {
        return;
    };
    let mut interval = tokio::time::interval(period / 2);
    loop {
        interval.tick().await;
        if tokio::spawn(tokio::task::yield_now()).await.is_ok() {
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        }
    }
}

fn bind(what: &str, listen: &Listen, passed_sockets: &mut ListenFd) -> io::Result<Listener> {
    Listener::bind(listen, passed_sockets).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot listen on {listen} ({what}.listen): {}", explain(&error, listen)),
        )
    })
}

/// Describes the error of a listener, more clearly than the system if possible.
fn explain(error: &io::Error, listen: &Listen) -> String {
    let is_privileged = matches!(listen, Listen::Tcp(address) if address.port() < 1024);
    let reason = match error.kind() {
        io::ErrorKind::AddrInUse => "the address is in use, perhaps by another keymux",
        io::ErrorKind::AddrNotAvailable => "this machine does not have the address",
        io::ErrorKind::NotFound => "there is no such directory",
        io::ErrorKind::PermissionDenied if is_privileged => {
            "permission denied; a port below 1024 is best opened by systemd (keymux.socket)"
        }
        io::ErrorKind::PermissionDenied => "permission denied",
        _ => return error.to_string(),
    };
    reason.to_owned()
}

/// Returns a line with the address of the listener, and a command to try it.
fn welcome_line(config: &Config) -> String {
    let scheme = if config.server.tls.is_some() { "https" } else { "http" };
    let mut out = format!("keymux listens on {}", config.server.listen);
    let (Some(model), Listen::Tcp(address)) = (example_model(config), &config.server.listen) else {
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

/// Returns a model to try, preferably of an echo provider, which needs no network.
fn example_model(config: &Config) -> Option<String> {
    let echo = config.providers.iter().find(|p| p.kind == crate::provider::Kind::Echo);
    let listed = || {
        let provider = config.providers.first()?;
        let mut models = provider.keys.iter().filter_map(|key| key.models.as_ref()).flatten();
        let model = models.find_map(config::Pattern::exact)?;
        Some(format!("{}/{model}", provider.name))
    };
    echo.map(|provider| format!("{}/echo", provider.name)).or_else(listed)
}
