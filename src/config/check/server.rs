//! `[server]`, `[admin]`, `[reload]` and `[retry]`.

use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tracing_subscriber::EnvFilter;

use super::report::Check;
use super::resolve_source::Lines;
use crate::config::schema_check::closest;
use crate::config::{
    Admin, Listen, Log, LogFormat, Reload, Retry, Server, ServerAuth, Tls, WatchMode, file,
};
use crate::secret::{Secret, sha256};

impl Check<'_, '_> {
    pub(super) fn server(&mut self, written: file::Server, has_no_clients: bool) -> Server {
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
        let is_protected = !has_no_clients
            || auth == ServerAuth::None
            || self.is_reported_for("clients", &[])
            || self.is_reported("server.auth");
        if let Some(listen) = listen.as_ref().filter(|listen| !is_protected && !listen.is_local()) {
            let message = format!(
                "without `[[clients]]`, keymux is open to anyone who can reach {}",
                describe(listen)
            );
            self.error("server.listen", message, "add a client with a key, listen on 127.0.0.1, or write auth = \"none\" if this is intended");
        }
        Server {
            listen: listen.unwrap_or(PLACEHOLDER),
            max_body: self.size("server.max_body", &max_body),
            drain_timeout: self.period("server.drain_timeout", &drain_timeout),
            tls: tls.and_then(|tls| self.tls(&tls)),
            auth,
            head_timeout: self.positive_period("server.head_timeout", &head_timeout),
            body_timeout: self.positive_period("server.body_timeout", &body_timeout),
            write_timeout: self.positive_period("server.write_timeout", &write_timeout),
            max_connections: usize::try_from(max_connections).unwrap_or(usize::MAX),
            queue_timeout: self.period("server.queue_timeout", &queue_timeout),
            log: self.log(log),
        }
    }

    pub(super) fn admin(&mut self, written: file::Admin, server: &Listen) -> Admin {
        let file::Admin { listen, token } = written;
        let listen = self.listen("admin.listen", &listen);
        if let Some(listen) = &listen {
            if listen == server && !is_any_port(listen) && !self.is_reported("server.listen") {
                self.error(
                    "admin.listen",
                    "the admin listener has the same address as `server.listen`",
                    "write another address",
                );
            }
            if token.is_none() && !self.is_reported("admin.token") && !listen.is_local() {
                let message = format!(
                    "without `token`, the admin listener is open to anyone who can reach {}",
                    describe(listen)
                );
                self.error(
                    "admin.listen",
                    message,
                    "write token = { env_var = \"NAME\" }, or listen on 127.0.0.1",
                );
            }
        }
        let token = token.and_then(|token| self.secret("admin.token", &token, Lines::One));
        let token = token.map(|token| token.text);
        let token_sha256 =
            token.as_ref().map(|token| token.inspect_text(|text| sha256(text.as_bytes())));
        Admin { listen: listen.unwrap_or(PLACEHOLDER), token_sha256, token }
    }

    pub(super) fn reload(&mut self, written: file::Reload) -> Reload {
        let file::Reload { watch, poll_interval, settle } = written;
        let watch = match watch {
            file::WatchMode::Auto => WatchMode::Auto,
            file::WatchMode::Poll => WatchMode::Poll,
            file::WatchMode::Off => WatchMode::Off,
        };
        let poll_interval = self.positive_period("reload.poll_interval", &poll_interval);
        Reload { watch, poll_interval, settle: self.period("reload.settle", &settle) }
    }

    fn listen(&mut self, path: &str, written: &str) -> Option<Listen> {
        let listen = Listen::parse(written);
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
        let client_ca = client_ca.and_then(|ca| self.certificates("server.tls.client_ca", &ca));
        let (cert, key) = (cert?, key?);
        let chain = self.certificates("server.tls.cert", &cert);
        let private = key.inspect_text(|pem| PrivateKeyDer::from_pem_slice(pem.as_bytes()));
        let Ok(private) = private else {
            self.error(
                "server.tls.key",
                "this is not a private key in PEM format",
                "a key begins with -----BEGIN PRIVATE KEY----- and must not be encrypted",
            );
            return None;
        };
        let (cert, key) = (chain?, private);
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
                    "use an RSA, ECDSA or Ed25519 key",
                );
                None
            }
        }
    }

    /// Parses the certificates in a PEM text; at least one is required.
    pub(super) fn certificates(
        &mut self,
        path: &str,
        pem: &Secret,
    ) -> Option<Vec<CertificateDer<'static>>> {
        let chain: Result<Vec<_>, _> =
            pem.inspect_text(|pem| CertificateDer::pem_slice_iter(pem.as_bytes()).collect());
        match chain {
            Ok(chain) if !chain.is_empty() => return Some(chain),
            _ => self.error(
                path,
                "this is not a certificate in PEM format",
                "a certificate begins with -----BEGIN CERTIFICATE-----",
            ),
        }
        None
    }

    fn log(&mut self, written: file::Log) -> Log {
        const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
        let file::Log { level, format } = written;
        let is_word = level.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let is_known = LEVELS.iter().any(|known| level.eq_ignore_ascii_case(known));
        if (is_word && !is_known) || EnvFilter::try_new(&level).is_err() {
            let help = closest(&level, LEVELS.into_iter()).map_or_else(
                || "one of: error, warn, info, debug, trace; or a filter such as \"info,keymux::upstream=debug\"".to_owned(),
                |meant| format!("did you mean \"{meant}\"?"),
            );
            self.error(
                "server.log.level",
                "`level` is neither a log level nor a filter",
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

/// Replaces an address that was reported.
const PLACEHOLDER: Listen = Listen::Systemd(None);

fn describe(listen: &Listen) -> String {
    match listen {
        Listen::Tcp(address) if address.ip().is_unspecified() => {
            "any of this machine's addresses".to_owned()
        }
        Listen::Tcp(address) => address.ip().to_string(),
        Listen::Unix(_) => "its socket".to_owned(),
        Listen::Systemd(_) => "the socket that systemd passes".to_owned(),
    }
}

/// True if the system chooses the port.
fn is_any_port(listen: &Listen) -> bool {
    matches!(listen, Listen::Tcp(address) if address.port() == 0)
}
