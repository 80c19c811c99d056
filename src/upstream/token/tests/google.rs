use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::google::GoogleSource;
use super::*;
use crate::config::Proxy;

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// Returns a private key in the form of a credentials file, and its public key.
fn key() -> (String, Vec<u8>) {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let text = BASE64_STANDARD.encode(der.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
    (pem, pair.public_key().as_ref().to_vec())
}

fn service_account(private_key: &str, token_uri: &str) -> Value {
    json!({
        "type": "service_account",
        "project_id": "a-project",
        "private_key_id": "0123",
        "private_key": private_key,
        "client_email": "robot@a-project.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": token_uri,
    })
}

fn source(file: &Value) -> GoogleSource {
    GoogleSource::new(&GoogleAuth::Credentials(secret(&file.to_string())), clients()).unwrap()
}

#[tokio::test]
async fn a_service_account_signs_for_its_token_at_its_token_uri() {
    let server = Server::start(numbered).await;
    let (private, public) = key();
    let token_uri = server.url("/a/token");
    let source = source(&service_account(&private, &token_uri));
    assert_eq!(fetched(&source).await, Ok(("token-0".to_owned(), 3600)));
    assert_eq!(fetched(&source).await, Ok(("token-1".to_owned(), 3600)), "nothing is cached");
    let received = &server.received()[0];
    assert_eq!(received.uri, "/a/token");
    assert_eq!(received.field("grant_type"), "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let assertion = received.field("assertion");
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public)
        .verify(signed.as_bytes(), &BASE64_URL_SAFE.decode(signature).unwrap())
        .expect("signed with the account's key");
    let claims = BASE64_URL_SAFE.decode(signed.split_once('.').unwrap().1).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["iss"], "robot@a-project.iam.gserviceaccount.com");
    assert_eq!(claims["aud"], token_uri);
    assert_eq!(claims["scope"], SCOPE);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!(claims["iat"].as_u64().unwrap().abs_diff(now) < 60);
    assert!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap() <= 3600);
}

#[tokio::test]
async fn errors_of_google_contain_no_text_of_the_issuer() {
    let (private, _) = key();
    let grant =
        "{\"error\":\"invalid_grant\",\"error_description\":\"Invalid JWT Signature: eyJhbG\"}";
    let endless = "x".repeat(1 << 20).leak();
    let no_token = || TokenError::unreachable("returned no valid token");
    for (status, body, expected) in [
        (400, grant, TokenError::refused("returned invalid_grant")),
        (400, "{\"error\":\"eyJhbGciOi\"}", TokenError::refused("returned an unknown error code")),
        (
            500,
            "{\"error\":\"internal_failure\"}",
            TokenError::unreachable("returned internal_failure"),
        ),
        (503, "<html>", no_token()),
        (503, "{\"error\":{\"code\":503}}", no_token()),
        (200, "{}", no_token()),
        (200, endless, TokenError::unreachable("could not be reached")),
    ] {
        let server = Server::same(status, body).await;
        let error = fetched(&source(&service_account(&private, &server.url("/")))).await;
        assert_eq!(error, Err(expected), "{status} {}", &body[..body.len().min(50)]);
    }
    let error = fetched(&source(&service_account("no key", "http://127.0.0.1:9/"))).await;
    assert!(
        matches!(&error, Err(TokenError::Refused(message)) if message.contains("private key")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_lifetime_that_the_library_cannot_handle_fails_the_fetch() {
    let (private, _) = key();
    let body = "{\"access_token\":\"abc\",\"expires_in\":9223372036854775807}";
    let server = Server::same(200, body).await;
    let source = source(&service_account(&private, &server.url("/")));
    let cache = TokenCache::start("test".to_owned(), source);
    let error = timeout(Duration::from_secs(10), cache.get()).await.unwrap();
    assert_eq!(error.unwrap_err(), TokenError::unreachable("returned an unreadable answer"));
}

#[tokio::test]
async fn an_invalid_credentials_file_is_refused_without_its_text() {
    let (private, _) = key();
    for file in [
        service_account(&private, "not an address"),
        service_account(&private, "/token"),
        service_account(&private, "ftp://example.com/token"),
        json!({ "type": "Zq7Xw9Kv3Jp5" }),
        json!({ "type": "service_account", "private_key": ["Zq7Xw9Kv3Jp5"] }),
    ] {
        let error = fetched(&source(&file)).await.unwrap_err();
        let TokenError::Refused(message) = error else { panic!("{error}") };
        assert!(message.starts_with("was not called: the credentials lack a member"), "{message}");
        assert!(!message.contains("Zq7Xw9"), "{message}");
    }
}

#[tokio::test]
async fn a_machine_calls_its_metadata_server() {
    let answer = "{\"access_token\":\"abc\",\"expires_in\":3599,\"token_type\":\"Bearer\"}";
    let server = Server::same(200, answer).await;
    // The provider's proxy is not used for it.
    let proxy = Some(Proxy { uri: "http://127.0.0.1:9".parse().unwrap(), credentials: None });
    let transport = Transport { proxy, ..transport() };
    let clients = clients_for(&transport);
    let source =
        GoogleSource::new(&GoogleAuth::MetadataServer(server.endpoint()), clients).unwrap();
    assert_eq!(fetched(&source).await, Ok(("abc".to_owned(), 3599)));
    let received = server.received().pop().unwrap();
    assert_eq!(received.method, "GET");
    assert_eq!(received.uri, "/computeMetadata/v1/instance/service-accounts/default/token");
    assert_eq!(received.header("metadata-flavor"), "Google");
}

fn external(server: &Server, source: &Value) -> Value {
    json!({
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": server.url("/v1/token"),
        "credential_source": source,
    })
}

/// Answers as an STS, as the IAM for impersonation, and as a server with the other issuer's token.
fn federation(received: &Received) -> Answer {
    match received.uri.path() {
        "/subject" => reply(200, "{\"value\":\"subject-of-url\"}"),
        "/impersonate" => {
            let moment = std::time::SystemTime::now() + Duration::from_secs(1800);
            let moment = humantime::format_rfc3339_seconds(moment).to_string();
            reply(200, json!({ "accessToken": "impersonated", "expireTime": moment }).to_string())
        }
        "/forbidden" => reply(403, "{\"error\":{\"code\":403,\"status\":\"PERMISSION_DENIED\"}}"),
        _ => numbered(received),
    }
}

#[tokio::test]
async fn the_token_of_another_issuer_is_exchanged() {
    let server = Server::start(federation).await;
    let folder = tempfile::tempdir().unwrap();
    let (plain, wrapped) = (folder.path().join("plain"), folder.path().join("json"));
    std::fs::write(&plain, "subject-of-file\n").unwrap();
    std::fs::write(&wrapped, "{\"id_token\":\"subject-in-json\"}").unwrap();
    let named = |name: &str| json!({ "type": "json", "subject_token_field_name": name });
    for (credential_source, subject) in [
        (json!({ "file": plain }), "subject-of-file"),
        (json!({ "file": wrapped, "format": named("id_token") }), "subject-in-json"),
        (
            json!({ "url": server.url("/subject"), "headers": { "x-flavor": "Here" }, "format": named("value") }),
            "subject-of-url",
        ),
    ] {
        let source = source(&external(&server, &credential_source));
        let (token, lifetime) = fetched(&source).await.unwrap();
        assert!(token.starts_with("token-") && lifetime == 3600, "{token} {lifetime}");
        let received = server.received().pop().unwrap();
        assert_eq!(received.uri, "/v1/token");
        assert_eq!(received.field("subject_token"), subject);
        assert_eq!(received.field("scope"), SCOPE);
        assert_eq!(received.field("grant_type"), "urn:ietf:params:oauth:grant-type:token-exchange");
    }
    let fetched =
        server.received().into_iter().find(|received| received.uri == "/subject").unwrap();
    assert_eq!(fetched.header("x-flavor"), "Here");
}

#[tokio::test]
async fn an_exchanged_or_signed_token_impersonates() {
    let server = Server::start(federation).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("subject");
    std::fs::write(&file, "subject").unwrap();
    let (private, _) = key();
    let mut traded = external(&server, &json!({ "file": file }));
    traded["service_account_impersonation_url"] = server.url("/impersonate").into();
    let signed = json!({
        "type": "impersonated_service_account",
        "service_account_impersonation_url": server.url("/impersonate"),
        "delegates": ["between@example.com"],
        "source_credentials": service_account(&private, &server.url("/token")),
    });
    for (file, delegates) in [(&traded, json!([])), (&signed, json!(["between@example.com"]))] {
        let (token, lifetime) = fetched(&source(file)).await.unwrap();
        assert_eq!(token, "impersonated");
        assert!((1790..=1800).contains(&lifetime), "{lifetime}");
        let received = server.received().pop().unwrap();
        assert_eq!(received.uri, "/impersonate");
        assert!(received.header("authorization").starts_with("Bearer token-"));
        let body: Value = serde_json::from_str(&received.body).unwrap();
        assert_eq!(body, json!({ "scope": [SCOPE], "delegates": delegates, "lifetime": "3600s" }));
    }
    let mut forbidden = signed;
    forbidden["service_account_impersonation_url"] = server.url("/forbidden").into();
    let error = fetched(&source(&forbidden)).await;
    assert_eq!(error, Err(TokenError::refused("returned PERMISSION_DENIED")));
}

/// Starts a proxy to a TLS server with this name, which answers with [`numbered`]. Returns a transport with
/// the proxy and the server's certificate.
async fn proxied(name: &str) -> (Server, Transport) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let certificate = made.cert.der().clone();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server { address: listener.local_addr().unwrap(), received: Arc::default() };
    let (received, connect) = (server.received.clone(), format!("CONNECT {name}:443 HTTP/1.1\r\n"));
    tokio::spawn(async move {
        loop {
            let mut stream = listener.accept().await.unwrap().0;
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            assert!(head.starts_with(connect.as_bytes()), "{}", String::from_utf8_lossy(&head));
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            let stream = TokioIo::new(acceptor.accept(stream).await.unwrap());
            tokio::spawn(serve(stream, received.clone(), Arc::new(numbered)));
        }
    });
    let uri = format!("http://{}", server.address).parse().unwrap();
    let proxy = Some(Proxy { uri, credentials: None });
    let transport = Transport { proxy, ca: Some([certificate].into()), ..transport() };
    (server, transport)
}

#[tokio::test]
async fn a_users_token_is_refreshed_with_the_providers_proxy_and_certificates() {
    let (server, transport) = proxied("accounts.google.com").await;
    let clients = clients_for(&transport);
    let file = json!({
        "type": "authorized_user",
        "client_id": "an-id",
        "client_secret": "a-secret",
        "refresh_token": "1//refresh",
        "quota_project_id": "a-project",
    });
    let source =
        GoogleSource::new(&GoogleAuth::Credentials(secret(&file.to_string())), clients).unwrap();
    assert_eq!(fetched(&source).await, Ok(("token-0".to_owned(), 3600)));
    assert_eq!(fetched(&source).await, Ok(("token-1".to_owned(), 3600)), "nothing is cached");
    let received = &server.received()[0];
    assert_eq!(received.field("grant_type"), "refresh_token");
    assert_eq!(received.field("refresh_token"), "1//refresh");
    assert_eq!(received.field("client_secret"), "a-secret");
}
