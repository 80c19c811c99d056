//! Settings that change immediately: clients' keys, certificates, the admin token.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::common::http;
use crate::common::keymux::Keymux;
use crate::{chat, expect_reloads, file, reloads};

#[tokio::test]
async fn clients_are_added_and_removed() {
    let with = |clients: &[(&str, &str)]| {
        let client = |(name, key): &(&str, &str)| {
            format!("[[clients]]\nname = \"{name}\"\nkey = {{ value = \"{key}\" }}\n")
        };
        file("one") + &clients.iter().map(client).collect::<String>()
    };
    let keymux = Keymux::start(&with(&[("a", "ck-a-first"), ("b", "ck-b")]), &[]).await;
    let status = async |key: &str| {
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str())];
        http::post(keymux.address(), "/v1/chat/completions", &headers, &chat("echo/echo"))
            .await
            .status()
    };
    assert_eq!(
        [status("ck-a-first").await, status("ck-b").await, status("ck-c").await],
        [200, 200, 401]
    );
    // One key was replaced, one client removed, one added.
    keymux.rewrite(&with(&[("a", "ck-a-second"), ("c", "ck-c")]));
    expect_reloads(&keymux, (1, 0)).await;
    for (key, expected) in [("ck-a-first", 401), ("ck-a-second", 200), ("ck-b", 401), ("ck-c", 200)]
    {
        assert_eq!(status(key).await, expected, "{key}");
    }
}

#[tokio::test]
async fn the_admin_token_changes() {
    let with = |token: &str| {
        file("one").replace("[reload]", &format!("token = {{ value = \"{token}\" }}\n[reload]"))
    };
    let keymux = Keymux::start(&with("at-first"), &[]).await;
    let status = async |token: &str| {
        let bearer = format!("Bearer {token}");
        http::get(keymux.admin_address(), "/config", &[("authorization", &bearer)]).await.status()
    };
    assert_eq!([status("at-first").await, status("at-second").await], [200, 401]);
    keymux.rewrite(&with("at-second"));
    keymux.log_with("configuration reloaded").await;
    assert_eq!([status("at-first").await, status("at-second").await], [401, 200]);
}

#[tokio::test]
async fn certificates_change_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = [certificate(), certificate()];
    let write = |at: &std::path::Path, pair: &CertifiedKey<rcgen::KeyPair>| {
        fs::write(at.join("key.pem"), pair.signing_key.serialize_pem()).unwrap();
        fs::write(at.join("cert.pem"), pair.cert.pem()).unwrap();
    };
    write(folder.path(), &first);
    let tls = "[server]\ntls = { cert = \"cert.pem\", key = \"key.pem\" }";
    let config = file("one").replace("[server]", tls);
    let keymux = Keymux::start_in(folder, &config, &[]).await;
    let trusted = [first.cert.der().clone(), second.cert.der().clone()];
    assert_eq!(served(keymux.address(), &trusted).await, trusted[0]);

    write(keymux.folder(), &second);
    let log = keymux.log_with("configuration reloaded").await;
    assert!(log.contains("\"changes\":\"server.tls changed\""), "{log}");
    assert_eq!(served(keymux.address(), &trusted).await, trusted[1]);

    // A key of another certificate is rejected.
    let before = reloads(&keymux).await;
    fs::write(keymux.folder().join("key.pem"), first.signing_key.serialize_pem()).unwrap();
    expect_reloads(&keymux, (before.0, before.1 + 1)).await;
    assert_eq!(served(keymux.address(), &trusted).await, trusted[1]);
}

fn certificate() -> CertifiedKey<rcgen::KeyPair> {
    generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

/// Returns the certificate of a new connection.
async fn served(
    address: SocketAddr,
    trusted: &[CertificateDer<'static>],
) -> CertificateDer<'static> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted.iter().cloned());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone()
}
