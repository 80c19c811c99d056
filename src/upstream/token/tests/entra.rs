use super::super::entra::EntraSource;
use super::*;
use crate::config::EntraCredential;

pub(super) const SECRET: &str = "Zq7~Xw9.Kv3&Jp5=Yg8";

fn entra(proof: EntraCredential) -> EntraAuth {
    EntraAuth {
        scopes: vec!["https://cognitiveservices.azure.com/.default".to_owned()],
        credential: proof,
    }
}

pub(super) fn with_secret(server: &Server) -> EntraAuth {
    entra(EntraCredential::ClientSecret {
        authority: server.endpoint(),
        tenant: "contoso.example".to_owned(),
        client: "11111111-2222".to_owned(),
        secret: secret(SECRET),
    })
}

fn source(entra: &EntraAuth) -> EntraSource {
    EntraSource::new(entra, clients()).unwrap()
}

#[tokio::test]
async fn an_application_sends_its_secret() {
    let server = Server::start(numbered).await;
    let source = source(&with_secret(&server));
    assert_eq!(fetched(&source).await, Ok(("token-0".to_owned(), 3600)));
    assert_eq!(fetched(&source).await, Ok(("token-1".to_owned(), 3600)), "nothing is cached");
    let received = &server.received()[0];
    assert_eq!(received.method, "POST");
    assert_eq!(received.uri, "/contoso.example/oauth2/v2.0/token");
    assert_eq!(received.header("content-type"), "application/x-www-form-urlencoded");
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", "11111111-2222"),
        ("scope", "https://cognitiveservices.azure.com/.default"),
        ("client_secret", SECRET),
    ];
    assert_eq!(received.fields(), fields.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[tokio::test]
async fn a_workload_sends_the_current_token_of_its_file() {
    let server = Server::start(numbered).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let source = source(&entra(EntraCredential::WorkloadIdentity {
        authority: server.endpoint(),
        tenant: "tenant".to_owned(),
        client: "client".to_owned(),
        file: file.clone(),
    }));
    let missing = fetched(&source).await.unwrap_err();
    assert!(
        matches!(&missing, TokenError::Unreachable(message) if message.contains("file")),
        "{missing}"
    );
    for content in ["first.token.here", "second.token.here"] {
        std::fs::write(&file, format!("{content}\n")).unwrap();
        fetched(&source).await.unwrap();
        let received = server.received().pop().unwrap();
        assert_eq!(received.field("client_assertion"), content);
        assert_eq!(
            received.field("client_assertion_type"),
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        );
        assert!(!received.body.contains("client_secret"));
    }
}

#[tokio::test]
async fn a_machine_calls_its_metadata_service() {
    // As recorded: its numbers are strings.
    let answer = "{\"access_token\":\"abc\",\"expires_in\":\"3599\",\"expires_on\":\"1506484173\",\
                  \"resource\":\"https://cognitiveservices.azure.com\",\"token_type\":\"Bearer\"}";
    let server = Server::same(200, answer).await;
    for (client, end) in [(None, ""), (Some("of its own".to_owned()), "&client_id=of%20its%20own")]
    {
        let source =
            source(&entra(EntraCredential::MachineIdentity { address: server.endpoint(), client }));
        assert_eq!(fetched(&source).await, Ok(("abc".to_owned(), 3599)));
        let received = server.received().pop().unwrap();
        assert_eq!(received.method, "GET");
        assert_eq!(received.header("metadata"), "true");
        let query = "api-version=2018-02-01&resource=https%3A%2F%2Fcognitiveservices.azure.com";
        assert_eq!(
            received.uri.to_string(),
            format!("/metadata/identity/oauth2/token?{query}{end}")
        );
    }
}

#[tokio::test]
async fn an_app_service_sends_its_identity_header() {
    let in_an_hour = std::time::SystemTime::now() + Duration::from_secs(3600);
    let unix = in_an_hour.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let server = Server::start(move |_| {
        let token = "{\"access_token\":\"abc\",\"token_type\":\"Bearer\",\"expires_on\":";
        reply(200, format!("{token}\"{unix}\"}}"))
    });
    let server = server.await;
    let address = Endpoint { prefix: "/msi/token".to_owned(), ..server.endpoint() };
    let header = secret("a-header-of-its-own");
    let source =
        source(&entra(EntraCredential::AppServiceIdentity { address, header, client: None }));
    let (token, lifetime) = fetched(&source).await.unwrap();
    assert_eq!(token, "abc");
    assert!((3590..=3600).contains(&lifetime), "{lifetime}");
    let received = server.received().pop().unwrap();
    assert_eq!(received.header("x-identity-header"), "a-header-of-its-own");
    assert_eq!(received.uri.path(), "/msi/token");
    assert_eq!(received.field("api-version"), "2019-08-01");
    assert_eq!(received.field("resource"), "https://cognitiveservices.azure.com");
}

#[tokio::test]
async fn errors_are_classified_and_contain_no_text_of_the_issuer() {
    let wrong_secret = "{\"error\":\"invalid_client\",\"error_description\":\"AADSTS7000215: Invalid \
                        client secret provided 'Zq7~Xw9.Kv3&Jp5=Yg8'\",\"error_codes\":[7000215]}";
    let parrot = "{\"error\":\"Zq7~Xw9.Kv3&Jp5=Yg8\"}";
    let passing = "{\"error\":\"temporarily_unavailable\"}";
    let too_long = "x".repeat(1 << 20).leak();
    let refused = |message: &str| TokenError::refused(message);
    let table = [
        (401, wrong_secret, refused("returned invalid_client (AADSTS7000215)")),
        (400, parrot, refused("returned an unknown error code")),
        (400, "{\"error\":{\"message\":\"no\"}}", refused("returned status 400")),
        (403, "<html>", refused("returned status 403")),
        (400, passing, TokenError::unreachable("returned temporarily_unavailable")),
        (404, "", TokenError::unreachable("returned status 404")),
        (410, "", TokenError::unreachable("returned status 410")),
        (429, "{\"error\":\"invalid_client\"}", TokenError::unreachable("returned status 429")),
        (302, "", TokenError::unreachable("returned status 302")),
        (503, "<html>", TokenError::unreachable("returned status 503")),
    ];
    for (status, body, expected) in table {
        let server = Server::same(status, body).await;
        let error = fetched(&source(&with_secret(&server))).await.unwrap_err();
        assert_eq!(error, expected, "{status} {body}");
        assert_eq!(server.received().len(), 1, "one request");
    }
    for body in [
        "",
        "[]",
        "<html>",
        "{\"access_token\":\"\"}",
        "{\"access_token\":\"abc\",\"token_type\":\"pop\"}",
        "{\"access_token\":\"abc\",\"expires_in\":-1}",
        "{\"access_token\":\"a\\nb\",\"expires_in\":3600}",
        too_long,
    ] {
        let server = Server::same(200, body).await;
        let error = fetched(&source(&with_secret(&server))).await;
        let expected = TokenError::unreachable("returned no valid token");
        assert_eq!(error, Err(expected), "{:?}", &body[..body.len().min(50)]);
    }
}

#[tokio::test]
async fn a_missing_or_huge_lifetime_is_accepted() {
    for (body, lifetime) in [
        ("{\"access_token\":\"abc\"}", 300),
        ("{\"access_token\":\"abc\",\"expires_in\":18446744073709551615}", u64::MAX),
    ] {
        let server = Server::same(200, body).await;
        let entra = source(&with_secret(&server));
        assert_eq!(entra.fetch().await.unwrap().lifetime.as_secs(), lifetime);
        let cache = TokenCache::start("test".to_owned(), entra);
        assert_eq!(cache.get().await.unwrap().value, "Bearer abc");
    }
}

#[tokio::test]
async fn an_issuer_that_refuses_connections_cannot_be_reached() {
    let server = Server::same(200, "").await;
    let mut entra = with_secret(&server);
    if let EntraCredential::ClientSecret { authority, .. } = &mut entra.credential {
        authority.authority = "127.0.0.1:9".parse().unwrap();
    }
    let error = fetched(&source(&entra)).await;
    assert_eq!(error, Err(TokenError::unreachable("could not be reached")));
}
