//! A provider that is received with tokens.

use super::*;
use crate::config::{
    Affinity, ApiVersion, Azure, AzureAuth, Cloud, Key, Provider, Timeouts, Vertex,
};
use crate::provider::Kind;
use crate::upstream::{Attempt, RequestKind, ResponseBody, Upstream, UpstreamError};
use crate::wire::api::routes;
use crate::wire::api::routes::Place;
use crate::wire::inspect::model::peek;

const CHAT: &[u8] = br#"{"model":"m","messages":[]}"#;

/// Returns a provider with one key, at this server.
fn provider(kind: Kind, server: &Server, cloud: Cloud) -> Provider {
    let key = Key { cloud, ..Key::new("cloud".into(), "main", Arc::new(server.endpoint())) };
    let second = Duration::from_secs(1);
    Provider {
        name: "cloud".into(),
        kind,
        headers: Vec::new(),
        transport: transport(),
        timeouts: Timeouts { connect: second, first_byte: second, idle: second, total: second },
        max_concurrent: None,
        affinity: Affinity::None,
        keys: vec![Arc::new(key)],
    }
}

fn azure(server: &Server, issuer: &Server) -> Provider {
    let auth = AzureAuth::Entra(entra::with_secret(issuer));
    provider(Kind::Azure, server, Cloud::Azure(Azure { api_version: ApiVersion::V1, auth }))
}

fn upstream(provider: &Provider) -> Upstream {
    Upstream::new(provider, &mut CarryOver::default(), None).unwrap()
}

async fn send(upstream: &Upstream) -> Result<Response<ResponseBody>, UpstreamError> {
    let body = Bytes::from_static(CHAT);
    let Some(Place::Operation(address)) = routes::find("/v1/chat/completions") else {
        panic!("no such path")
    };
    let attempt = Attempt {
        kind: RequestKind::Operation { address: &address, peek: &peek(&body).unwrap() },
        model: "m",
        query: None,
        headers: &HeaderMap::new(),
        body: &body,
        id: "id",
        now: 0,
    };
    let sent = timeout(Duration::from_secs(5), upstream.send(0, attempt));
    sent.await.expect("an end")
}

async fn status(upstream: &Upstream) -> u16 {
    send(upstream).await.unwrap().status().as_u16()
}

fn ok(_: &Received) -> Answer {
    reply(200, "{}")
}

/// Returns the `authorization` headers that the server received.
fn authorizations(server: &Server) -> Vec<String> {
    server.received().iter().map(|received| received.header("authorization").to_owned()).collect()
}

#[tokio::test]
async fn requests_to_azure_share_one_token() {
    let (server, issuer) = (Server::start(ok).await, Server::start(numbered).await);
    let upstream = upstream(&azure(&server, &issuer));
    for _ in 0..5 {
        assert_eq!(status(&upstream).await, 200);
    }
    assert_eq!(authorizations(&server), ["Bearer token-0"; 5]);
    assert_eq!(issuer.received().len(), 1);
    assert!(server.received()[0].headers.get("api-key").is_none());
}

#[tokio::test]
async fn requests_to_vertex_carry_a_google_token() {
    let (server, issuer) = (Server::start(ok).await, Server::start(numbered).await);
    let vertex = Vertex {
        project: "p".to_owned(),
        number: None,
        region: "global".to_owned(),
        auth: GoogleAuth::MetadataServer(issuer.endpoint()),
    };
    let upstream = upstream(&provider(Kind::Vertex, &server, Cloud::Vertex(vertex)));
    assert_eq!(status(&upstream).await, 200);
    assert_eq!(authorizations(&server), ["Bearer token-0"]);
}

#[tokio::test]
async fn a_rejected_token_is_replaced_once_and_the_request_resent() {
    let issuer = Server::start(numbered).await;
    let server = Server::start(|received| {
        let old = received.header("authorization") == "Bearer token-0";
        reply(if old { 401 } else { 200 }, "{}")
    });
    let server = server.await;
    let upstream = Arc::new(upstream(&azure(&server, &issuer)));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let upstream = upstream.clone();
        tasks.spawn(async move { status(&upstream).await });
    }
    assert_eq!(tasks.join_all().await, [200; 20]);
    assert_eq!(issuer.received().len(), 2);
    let first = &server.received()[0];
    for received in server.received() {
        assert_eq!((&received.uri, &received.body), (&first.uri, &first.body));
    }
}

#[tokio::test]
async fn a_provider_that_rejects_every_token_is_called_twice_and_its_error_redacted() {
    let issuer = Server::start(|received| {
        let token = ["Zq7Xw9Kv3Jp5", "Gx5Mv8Cq2Zt7"][received.number];
        reply(200, format!("{{\"access_token\":\"{token}\",\"expires_in\":3600}}"))
    });
    let (issuer, server) = (issuer.await, Server::same(401, "{}").await);
    let upstream = upstream(&azure(&server, &issuer));
    assert_eq!(status(&upstream).await, 401);
    assert_eq!(authorizations(&server).len(), 2);
    let error = "invalid Bearer Zq7Xw9Kv3Jp5 or Gx5Mv8Cq2Zt7";
    let error = upstream.redact(0, Bytes::from_static(error.as_bytes()));
    assert_eq!(error, "invalid Bearer *** or ***");
}

#[tokio::test]
async fn without_a_token_the_provider_is_not_called() {
    for (status, expected) in
        [(401, UpstreamError::CredentialRefused), (503, UpstreamError::NoToken)]
    {
        let (server, issuer) = (Server::start(ok).await, Server::same(status, "").await);
        let upstream = upstream(&azure(&server, &issuer));
        for _ in 0..3 {
            assert_eq!(send(&upstream).await.unwrap_err(), expected);
        }
        assert!(server.received().is_empty());
        assert_eq!(issuer.received().len(), 1, "three requests share one fetch");
    }
}

#[tokio::test]
async fn the_next_configuration_takes_over_the_token() {
    let (server, issuer) = (Server::start(ok).await, Server::start(numbered).await);
    let (mut first, mut second) = (CarryOver::default(), CarryOver::default());
    let provider = azure(&server, &issuer);
    let before = Upstream::new(&provider, &mut first, None).unwrap();
    assert_eq!(status(&before).await, 200);
    let after = Upstream::new(&provider, &mut second, Some(&first)).unwrap();
    drop((before, first));
    assert_eq!(status(&after).await, 200);
    assert_eq!(authorizations(&server), ["Bearer token-0"; 2]);
    assert_eq!(issuer.received().len(), 1);
}

#[tokio::test]
async fn no_token_is_fetched_for_a_disabled_key() {
    let (server, issuer) = (Server::start(ok).await, Server::start(numbered).await);
    let mut provider = azure(&server, &issuer);
    Arc::get_mut(&mut provider.keys[0]).unwrap().enabled = false;
    let _upstream = upstream(&provider);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(issuer.received().is_empty());
}
