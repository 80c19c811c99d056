//! `[server]`, `[admin]`, `[reload]` and `[retry]`.

use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tracing_subscriber::EnvFilter;

use super::Check;
use super::resolve_source::Lines;
use crate::config::schema_check::closest;
use crate::config::{
    Admin, Listen, Log, LogFormat, Reload, Retry, Server, ServerAuth, Tls, WatchMode, file,
};
use crate::secret::{Secret, sha256};

impl Check<'_, '_> {
    pub(super) fn server(&mut self, written: file::Server, open: bool) -> Server {
        let file::Server {
            listen,
            max_body,
            drain_timeout,
            tls,
            auth,
            head_timeout,
            body_timeout,
            write_timeout,
            max_connections,
            queue_timeout,
            log,
        } = written;
        let listen = self.listen("server.listen", &listen);
        let auth = match auth {
            file::Auth::Clients => ServerAuth::Clients,
            file::Auth::None => ServerAuth::None,
        };
        let guarded = !open
            || auth == ServerAuth::None
            || self.doubtful_of("clients", &[])
            || self.doubtful("server.auth");
        if let Some(listen) = listen.as_ref().filter(|listen| !guarded && !near(listen)) {
            let message = format!(
                "without `[[clients]]`, keymux is open to everybody who reaches {}",
                named(listen)
            );
            self.error("server.listen", message, "add a client with a key, listen on 127.0.0.1, or say auth = \"none\" if that is meant");
        }
        Server {
            listen: listen.unwrap_or(NOWHERE),
            max_body: self.size("server.max_body", &max_body),
            drain_timeout: self.period("server.drain_timeout", &drain_timeout),
            tls: tls.and_then(|tls| self.tls(&tls)),
            auth,
            head_timeout: self.some_period("server.head_timeout", &head_timeout),
            body_timeout: self.some_period("server.body_timeout", &body_timeout),
            write_timeout: self.some_period("server.write_timeout", &write_timeout),
            max_connections: usize::try_from(max_connections).unwrap_or(usize::MAX),
            queue_timeout: self.period("server.queue_timeout", &queue_timeout),
            log: self.log(log),
        }
    }

    pub(super) fn admin(&mut self, written: file::Admin, server: &Listen) -> Admin {
        let file::Admin { listen, token } = written;
        let listen = self.listen("admin.listen", &listen);
        if let Some(listen) = &listen {
            if listen == server && !any_port(listen) && !self.doubtful("server.listen") {
                self.error(
                    "admin.listen",
                    "the admin listener stands where programs call",
                    "give it an address of its own",
                );
            }
            if token.is_none() && !self.doubtful("admin.token") && !near(listen) {
                let message = format!(
                    "without `token`, the admin listener is open to everybody who reaches {}",
                    named(listen)
                );
                self.error(
                    "admin.listen",
                    message,
                    "write token = { env_var = \"…\" }, or listen on 127.0.0.1",
                );
            }
        }
        let token = token.and_then(|token| self.secret("admin.token", &token, Lines::One));
        let digest = token.as_ref().map(|token| sha256(token.text.as_bytes()));
        let token = token.map(|token| Secret::new(token.text));
        Admin { listen: listen.unwrap_or(NOWHERE), token_sha256: digest, token }
    }

    pub(super) fn reload(&mut self, written: file::Reload) -> Reload {
        let file::Reload { watch, poll_interval, settle } = written;
        let watch = match watch {
            file::WatchMode::Auto => WatchMode::Auto,
            file::WatchMode::Poll => WatchMode::Poll,
            file::WatchMode::Off => WatchMode::Off,
        };
        let poll_interval = self.some_period("reload.poll_interval", &poll_interval);
        Reload { watch, poll_interval, settle: self.period("reload.settle", &settle) }
    }

    fn listen(&mut self, path: &str, written: &str) -> Option<Listen> {
        let listen = address(written);
        if listen.is_some() {
            return listen;
        }
        self.tree.reported.insert(path.to_owned());
        if written.starts_with("unix:") {
            self.error(
                path,
                "the path of a unix socket must begin with `/`",
                "for example \"unix:/run/keymux/keymux.sock\"",
            );
            return None;
        }
        let port = written.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
        let help = match (port, written.rsplit_once(':').map(|(host, _)| host)) {
            (Some(port), Some("localhost")) => format!("write \"127.0.0.1:{port}\""),
            (Some(port), Some("" | "*")) => format!("write \"0.0.0.0:{port}\" or \"[::]:{port}\" for every interface"),
            _ => "for example \"127.0.0.1:8787\", \"[::]:8787\", \"unix:/run/keymux/keymux.sock\" or \"systemd\"".to_owned(),
        };
        self.error(
            path,
            "`listen` must be an IP address and a port, a unix socket or a systemd socket",
            help.as_str(),
        );
        None
    }

    fn tls(&mut self, written: &file::Tls) -> Option<Tls> {
        let file::Tls { cert, key, client_ca } = written;
        let cert = cert.as_ref().and_then(|cert| self.contents("server.tls.cert", cert));
        let key = key.as_ref().and_then(|key| self.contents("server.tls.key", key));
        let client_ca = client_ca.as_ref().and_then(|ca| self.contents("server.tls.client_ca", ca));
        let client_ca =
            client_ca.and_then(|ca| self.certificates("server.tls.client_ca", ca.as_bytes()));
        let (cert, key) = (cert?, key?);
        let chained = self.certificates("server.tls.cert", cert.as_bytes());
        let Ok(private) = PrivateKeyDer::from_pem_slice(key.as_bytes()) else {
            self.error(
                "server.tls.key",
                "this holds no private key in PEM form",
                "it begins with -----BEGIN PRIVATE KEY----- and is not encrypted",
            );
            return None;
        };
        let (cert, key) = (chained?, private);
        let provider = aws_lc_rs::default_provider();
        match CertifiedKey::from_der(cert.clone(), key.clone_key(), &provider) {
            Ok(_) => Some(Tls { cert, key, client_ca }),
            Err(rustls::Error::InconsistentKeys(_)) => {
                self.error("server.tls.key", "this key does not belong to the certificate", None);
                None
            }
            Err(_) => {
                self.error(
                    "server.tls",
                    "this certificate and key cannot be used",
                    "RSA, ECDSA and Ed25519 keys can",
                );
                None
            }
        }
    }

    /// The certificates in a PEM text; none at all is an error.
    pub(super) fn certificates(
        &mut self,
        path: &str,
        pem: &[u8],
    ) -> Option<Vec<CertificateDer<'static>>> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        match chain {
            Ok(chain) if !chain.is_empty() => return Some(chain),
            _ => self.error(
                path,
                "this holds no certificate in PEM form",
                "it begins with -----BEGIN CERTIFICATE-----",
            ),
        }
        None
    }

    fn log(&mut self, written: file::Log) -> Log {
        const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
        let file::Log { level, format } = written;
        let word = level.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let known = LEVELS.iter().any(|known| level.eq_ignore_ascii_case(known));
        if (word && !known) || EnvFilter::try_new(&level).is_err() {
            let help = closest(&level, LEVELS.into_iter()).map_or_else(
                || "one of: error, warn, info, debug, trace; or a filter such as \"info,keymux::upstream=debug\"".to_owned(),
                |meant| format!("did you mean \"{meant}\"?"),
            );
            self.error(
                "server.log.level",
                "`level` is neither a level nor a filter",
                help.as_str(),
            );
        }
        let format = match format {
            file::LogFormat::Auto => LogFormat::Auto,
            file::LogFormat::Json => LogFormat::Json,
            file::LogFormat::Text => LogFormat::Text,
        };
        Log { level, format }
    }
}

pub(super) fn retry(written: &file::Retry) -> Retry {
    let &file::Retry { budget, floor_per_second, max_waits } = written;
    Retry { budget, floor_per_second, max_waits }
}

/// The listener that a text means.
pub(in crate::config) fn address(written: &str) -> Option<Listen> {
    if let Some(socket) = written.strip_prefix("unix:") {
        return socket.starts_with('/').then(|| Listen::Unix(socket.into()));
    }
    match written.strip_prefix("systemd") {
        Some("") => Some(Listen::Systemd(None)),
        Some(name) => {
            let name = name.strip_prefix(':').filter(|name| !name.is_empty())?;
            Some(Listen::Systemd(Some(name.to_owned())))
        }
        None => written.parse().ok().map(Listen::Tcp),
    }
}

/// Stands in for an address that was reported.
const NOWHERE: Listen = Listen::Systemd(None);

/// Whether only this machine reaches it. What systemd hands over may be anything.
fn near(listen: &Listen) -> bool {
    match listen {
        Listen::Tcp(address) => address.ip().to_canonical().is_loopback(),
        Listen::Unix(_) => true,
        Listen::Systemd(_) => false,
    }
}

fn named(listen: &Listen) -> String {
    match listen {
        Listen::Tcp(address) if address.ip().is_unspecified() => {
            "any of this machine's addresses".to_owned()
        }
        Listen::Tcp(address) => address.ip().to_string(),
        Listen::Unix(_) => "its socket".to_owned(),
        Listen::Systemd(_) => "the socket that systemd hands over".to_owned(),
    }
}

/// Whether each listener gets a port of its own.
fn any_port(listen: &Listen) -> bool {
    matches!(listen, Listen::Tcp(address) if address.port() == 0)
}
