//! A provider that is asked with tokens.

use super::*;
use crate::config::{
    Affinity, ApiVersion, Azure, AzureAuth, Cloud, Key, Provider, Timeouts, Vertex,
};
use crate::provider::Kind;
use crate::upstream::{Arriving, Attempt, Broken, Upstream, What};
use crate::wire::address::{self, Place};
use crate::wire::peek::peek;

const CHAT: &[u8] = br#"{"model":"m","messages":[]}"#;

/// A provider with one key, at this server.
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
    Upstream::new(provider, &mut Kept::default(), None).unwrap()
}

async fn ask(upstream: &Upstream) -> Result<Response<Arriving>, Broken> {
    let body = Bytes::from_static(CHAT);
    let Some(Place::Operation(address)) = address::find("/v1/chat/completions") else {
        panic!("no such path")
    };
    let attempt = Attempt {
        what: What::Operation { address: &address, peek: &peek(&body).unwrap() },
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
    ask(upstream).await.unwrap().status().as_u16()
}

fn fine(_: &Asked) -> Answer {
    said(200, "{}")
}

/// What the requests to a provider were allowed by.
fn shown(server: &Server) -> Vec<String> {
    server.asked().iter().map(|asked| asked.header("authorization").to_owned()).collect()
}

#[tokio::test]
async fn requests_to_azure_go_with_one_token_and_ask_for_no_other() {
    let (server, issuer) = (Server::start(fine).await, Server::start(numbered).await);
    let upstream = upstream(&azure(&server, &issuer));
    for _ in 0..5 {
        assert_eq!(status(&upstream).await, 200);
    }
    assert_eq!(shown(&server), ["Bearer token-0"; 5]);
    assert_eq!(issuer.asked().len(), 1);
    assert!(server.asked()[0].headers.get("api-key").is_none());
}

#[tokio::test]
async fn requests_to_vertex_go_with_a_token_of_google() {
    let (server, issuer) = (Server::start(fine).await, Server::start(numbered).await);
    let vertex = Vertex {
        project: "p".to_owned(),
        number: None,
        region: "global".to_owned(),
        auth: GoogleAuth::MetadataServer(issuer.endpoint()),
    };
    let upstream = upstream(&provider(Kind::Vertex, &server, Cloud::Vertex(vertex)));
    assert_eq!(status(&upstream).await, 200);
    assert_eq!(shown(&server), ["Bearer token-0"]);
}

#[tokio::test]
async fn a_token_refused_is_replaced_once_and_the_request_sent_again_whole() {
    let issuer = Server::start(numbered).await;
    let server = Server::start(|asked| {
        let old = asked.header("authorization") == "Bearer token-0";
        said(if old { 401 } else { 200 }, "{}")
    });
    let server = server.await;
    let upstream = Arc::new(upstream(&azure(&server, &issuer)));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let upstream = upstream.clone();
        tasks.spawn(async move { status(&upstream).await });
    }
    assert_eq!(tasks.join_all().await, [200; 20]);
    assert_eq!(issuer.asked().len(), 2);
    let first = &server.asked()[0];
    for asked in server.asked() {
        assert_eq!((&asked.uri, &asked.body), (&first.uri, &first.body));
    }
}

#[tokio::test]
async fn a_provider_that_takes_no_token_is_asked_twice_and_its_words_are_cut() {
    let issuer = Server::start(|asked| {
        let token = ["Zq7Xw9Kv3Jp5", "Gx5Mv8Cq2Zt7"][asked.number];
        said(200, format!("{{\"access_token\":\"{token}\",\"expires_in\":3600}}"))
    });
    let (issuer, server) = (issuer.await, Server::same(401, "{}").await);
    let upstream = upstream(&azure(&server, &issuer));
    assert_eq!(status(&upstream).await, 401);
    assert_eq!(shown(&server).len(), 2);
    let told = "no Bearer Zq7Xw9Kv3Jp5, nor Gx5Mv8Cq2Zt7, says Azure";
    let told = upstream.redact(0, Bytes::from_static(told.as_bytes()));
    assert_eq!(told, "no Bearer ***, nor ***, says Azure");
}

#[tokio::test]
async fn without_a_token_the_provider_is_not_asked() {
    for (status, broken) in [(401, Broken::Refused), (503, Broken::NoToken)] {
        let (server, issuer) = (Server::start(fine).await, Server::same(status, "").await);
        let upstream = upstream(&azure(&server, &issuer));
        for _ in 0..3 {
            assert_eq!(ask(&upstream).await.unwrap_err(), broken);
        }
        assert!(server.asked().is_empty());
        assert_eq!(issuer.asked().len(), 1, "three requests are one question");
    }
}

#[tokio::test]
async fn the_next_configuration_takes_the_token_over() {
    let (server, issuer) = (Server::start(fine).await, Server::start(numbered).await);
    let (mut first, mut second) = (Kept::default(), Kept::default());
    let provider = azure(&server, &issuer);
    let before = Upstream::new(&provider, &mut first, None).unwrap();
    assert_eq!(status(&before).await, 200);
    let after = Upstream::new(&provider, &mut second, Some(&first)).unwrap();
    drop((before, first));
    assert_eq!(status(&after).await, 200);
    assert_eq!(shown(&server), ["Bearer token-0"; 2]);
    assert_eq!(issuer.asked().len(), 1);
}

#[tokio::test]
async fn nothing_is_minted_for_a_key_that_is_off() {
    let (server, issuer) = (Server::start(fine).await, Server::start(numbered).await);
    let mut provider = azure(&server, &issuer);
    Arc::get_mut(&mut provider.keys[0]).unwrap().enabled = false;
    let _upstream = upstream(&provider);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(issuer.asked().is_empty());
}
