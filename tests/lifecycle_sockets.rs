//! Listeners with TLS, and sockets that systemd passes.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "so a test fails, or says it skips")]

mod common;

use std::fs;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::config::{config, one_key};
use common::http::{self, Connection, patiently};
use common::keymux::{Keymux, free_ports};
use common::upstream::{Upstream, chat_answer, chat_events, sse};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const CHAT: &str = "/v1/chat/completions";
const ECHO: &str = "[providers.echo]\n[[providers.echo.keys]]\nname = \"e\"\n";

/// A certificate authority.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(parameters, key).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// Issues a certificate and key for a name.
    fn signs(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new([name.to_owned()]).unwrap();
        (parameters.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

/// Returns a TLS client that trusts the authority.
async fn connect(
    keymux: &Keymux,
    trusted: &Authority,
    own: Option<&(String, String)>,
    protocol: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut client = match own {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![cert], key).unwrap()
        }
    };
    client.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(keymux.address()).await.unwrap();
    let name = "localhost".try_into().unwrap();
    patiently("TLS", TlsConnector::from(Arc::new(client)).connect(name, stream)).await
}

/// Starts with TLS, and with `client_ca` if given.
async fn start(text: &str, authority: &Authority, client_ca: Option<&Authority>) -> Keymux {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = authority.signs("localhost");
    fs::write(folder.path().join("cert.pem"), cert).unwrap();
    fs::write(folder.path().join("key.pem"), key).unwrap();
    let mut tls =
        "cert = { file = \"{DIR}/cert.pem\" }, key = { file = \"{DIR}/key.pem\" }".to_owned();
    if let Some(client_ca) = client_ca {
        fs::write(folder.path().join("ca.pem"), client_ca.pem()).unwrap();
        tls.push_str(", client_ca = { file = \"{DIR}/ca.pem\" }");
    }
    let text = text.replacen("\n[admin]", &format!("\ntls = {{ {tls} }}\n[admin]"), 1);
    Keymux::start_in(folder, &text, &[]).await
}

/// Returns the status line of `GET /v1/models`, or nothing if the connection breaks.
async fn models(mut stream: TlsStream<TcpStream>) -> String {
    let request = b"GET /v1/models HTTP/1.1\r\nhost: k\r\nconnection: close\r\n\r\n";
    let mut answer = Vec::new();
    if stream.write_all(request).await.is_ok() {
        let _ = patiently("an answer", stream.read_to_end(&mut answer)).await;
    }
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn tls_selects_http1_or_http2_by_alpn() {
    let events = chat_events(&["one", "two"]);
    let upstream = Upstream::always(sse(&events, Duration::from_millis(100))).await;
    let authority = Authority::new();
    let keymux = start(&one_key(&upstream), &authority, None).await;

    let stream = connect(&keymux, &authority, None, b"http/1.1").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(models(stream).await, "HTTP/1.1 200 OK");

    let stream = connect(&keymux, &authority, None, b"h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let connected =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = patiently("HTTP/2", Box::pin(connected)).await.unwrap();
    tokio::spawn(connection);
    let body = json!({"model": "m", "stream": true}).to_string();
    let request = hyper::Request::post(format!("https://localhost{CHAT}"))
        .body(Full::<bytes::Bytes>::from(body));
    let response = sender.send_request(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut body: hyper::body::Incoming = response.into_body();
    let first = patiently("an event", body.frame()).await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, events[0]);
    let rest = body.collect().await.unwrap().to_bytes();
    assert_eq!(rest, events[1..].concat());
}

#[tokio::test]
async fn a_parked_tls_connection_serves_another_request() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let authority = Authority::new();
    let mut keymux = start(&one_key(&upstream), &authority, None).await;
    let mut stream = connect(&keymux, &authority, None, b"http/1.1").await.unwrap();
    for _ in 0..3 {
        stream.write_all(b"HEAD / HTTP/1.1\r\nhost: k\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(patiently("an answer", stream.read_u8()).await.unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        // Longer than the time until it is parked.
        sleep(Duration::from_millis(600)).await;
    }
    keymux.signal(rustix::process::Signal::TERM);
    // TLS ends with close_notify, so it is no error.
    assert_eq!(patiently("the end", stream.read(&mut [0])).await.unwrap(), 0);
    assert!(keymux.ended().await.success());
}

#[tokio::test]
async fn a_plain_caller_gets_nothing_from_a_tls_listener() {
    let authority = Authority::new();
    let keymux = start(&config("", &[ECHO.to_owned()]), &authority, None).await;
    let mut caller = Connection::open(keymux.address()).await;
    caller.send(&http::request("GET", "/v1/models", &[], b"")).await;
    let answer = caller.rest().await;
    assert!(!answer.starts_with(b"HTTP/"), "{answer:?}");
}

#[tokio::test]
async fn a_silent_tls_caller_is_cut_after_the_head_timeout() {
    let authority = Authority::new();
    let text = config("head_timeout = \"300ms\"", &[ECHO.to_owned()]);
    let keymux = start(&text, &authority, None).await;
    let mut silent = Connection::open(keymux.address()).await;
    http::within(Duration::from_secs(2), "the end", silent.closed()).await;
    let mut after_the_handshake = connect(&keymux, &authority, None, b"h2").await.unwrap();
    let mut said = Vec::new();
    let end = after_the_handshake.read_to_end(&mut said);
    let _ = http::within(Duration::from_secs(2), "the end", end).await;
}

#[tokio::test]
async fn with_client_ca_a_client_certificate_is_required() {
    let (authority, callers, others) = (Authority::new(), Authority::new(), Authority::new());
    let keymux = start(&config("", &[ECHO.to_owned()]), &authority, Some(&callers)).await;
    let good = callers.signs("a-caller");
    let stream = connect(&keymux, &authority, Some(&good), b"http/1.1").await.unwrap();
    assert_eq!(models(stream).await, "HTTP/1.1 200 OK");
    let stranger = others.signs("a-caller");
    for own in [None, Some(&stranger)] {
        // With TLS 1.3 the refusal may arrive after the client's handshake is done.
        if let Ok(stream) = connect(&keymux, &authority, own, b"http/1.1").await {
            assert_eq!(models(stream).await, "");
        }
    }
}

/// A child process that is killed when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn until_ready(admin: u16) {
    let ready = async {
        loop {
            if TcpStream::connect(("127.0.0.1", admin)).await.is_ok() {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    patiently("the admin listener", ready).await;
}

/// sd_listen_fds(3): the sockets start at descriptor 3, and the environment contains their number.
#[tokio::test]
async fn a_socket_passed_by_systemd_is_used() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [admin, _] = free_ports();
    for (listen, names) in [("systemd", ""), ("systemd:web", "web")] {
        let text = format!(
            "[server]\nlisten = \"{listen}\"\nauth = \"none\"\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n{ECHO}"
        );
        fs::write(folder.path().join("keymux.toml"), text).unwrap();
        // The shell moves the socket to descriptor 3 and becomes keymux with the same process id.
        let script = "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" run";
        let mut command = Command::new("sh");
        command.args(["-c", script, env!("CARGO_BIN_EXE_keymux")]).env("LISTEN_FDNAMES", names);
        let socket = OwnedFd::from(listener.try_clone().unwrap());
        command.current_dir(folder.path()).stdin(Stdio::from(socket)).stdout(Stdio::null());
        let running = Running(command.spawn().unwrap());
        until_ready(admin).await;
        assert_eq!(http::get(address, "/v1/models", &[]).await.status(), 200, "{listen}");
        drop(running);
    }
}

#[tokio::test]
async fn a_socket_missing_from_systemd_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let [admin, _] = free_ports();
    for listen in ["systemd", "systemd:web"] {
        let text = format!(
            "[server]\nlisten = \"{listen}\"\nauth = \"none\"\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n{ECHO}"
        );
        fs::write(folder.path().join("keymux.toml"), text).unwrap();
        let output = common::keymux::run(folder.path(), &["run"], &[]);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(listen) && said.contains("passed no"), "{said}");
    }
}

#[tokio::test]
async fn systemd_socket_activation_starts_the_daemon_at_the_first_connection() {
    let [port, admin] = free_ports();
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[server]\nlisten = \"systemd\"\nauth = \"none\"\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n{ECHO}"
    );
    fs::write(folder.path().join("keymux.toml"), text).unwrap();
    let mut command = Command::new("systemd-socket-activate");
    command.arg(format!("--listen=127.0.0.1:{port}"));
    command.args([env!("CARGO_BIN_EXE_keymux"), "run", "--config"]);
    command.arg(folder.path().join("keymux.toml")).stdout(Stdio::null()).stderr(Stdio::null());
    let running = match command.spawn() {
        Ok(child) => Running(child),
        Err(error) => return println!("skipped: systemd-socket-activate: {error}"),
    };
    let address = ([127, 0, 0, 1], port).into();
    let listening = async {
        while TcpStream::connect(address).await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    patiently("the socket", listening).await;
    assert_eq!(http::get(address, "/v1/models", &[]).await.status(), 200);
    drop(running);
}
