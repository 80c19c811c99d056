use super::super::entra::Minter;
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

fn minter(entra: &EntraAuth) -> Minter {
    Minter::new(entra, ways()).unwrap()
}

#[tokio::test]
async fn an_application_shows_its_secret() {
    let server = Server::start(numbered).await;
    let minter = minter(&with_secret(&server));
    assert_eq!(minted(&minter).await, Ok(("token-0".to_owned(), 3600)));
    assert_eq!(minted(&minter).await, Ok(("token-1".to_owned(), 3600)), "nothing is cached");
    let asked = &server.asked()[0];
    assert_eq!(asked.method, "POST");
    assert_eq!(asked.uri, "/contoso.example/oauth2/v2.0/token");
    assert_eq!(asked.header("content-type"), "application/x-www-form-urlencoded");
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", "11111111-2222"),
        ("scope", "https://cognitiveservices.azure.com/.default"),
        ("client_secret", SECRET),
    ];
    assert_eq!(asked.fields(), fields.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[tokio::test]
async fn a_workload_shows_the_token_that_its_file_holds_at_that_moment() {
    let server = Server::start(numbered).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let minter = minter(&entra(EntraCredential::WorkloadIdentity {
        authority: server.endpoint(),
        tenant: "tenant".to_owned(),
        client: "client".to_owned(),
        file: file.clone(),
    }));
    let missing = minted(&minter).await.unwrap_err();
    assert!(matches!(&missing, NoToken::Unreachable(words) if words.contains("file")), "{missing}");
    for content in ["first.token.here", "second.token.here"] {
        std::fs::write(&file, format!("{content}\n")).unwrap();
        minted(&minter).await.unwrap();
        let asked = server.asked().pop().unwrap();
        assert_eq!(asked.field("client_assertion"), content);
        assert_eq!(
            asked.field("client_assertion_type"),
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        );
        assert!(!asked.body.contains("client_secret"));
    }
}

#[tokio::test]
async fn a_machine_asks_its_metadata_service() {
    // As recorded: its numbers are strings.
    let answer = "{\"access_token\":\"abc\",\"expires_in\":\"3599\",\"expires_on\":\"1506484173\",\
                  \"resource\":\"https://cognitiveservices.azure.com\",\"token_type\":\"Bearer\"}";
    let server = Server::same(200, answer).await;
    for (client, end) in [(None, ""), (Some("of its own".to_owned()), "&client_id=of%20its%20own")]
    {
        let minter =
            minter(&entra(EntraCredential::MachineIdentity { address: server.endpoint(), client }));
        assert_eq!(minted(&minter).await, Ok(("abc".to_owned(), 3599)));
        let asked = server.asked().pop().unwrap();
        assert_eq!(asked.method, "GET");
        assert_eq!(asked.header("metadata"), "true");
        let query = "api-version=2018-02-01&resource=https%3A%2F%2Fcognitiveservices.azure.com";
        assert_eq!(asked.uri.to_string(), format!("/metadata/identity/oauth2/token?{query}{end}"));
    }
}

#[tokio::test]
async fn an_app_service_shows_its_header() {
    let in_an_hour = std::time::SystemTime::now() + Duration::from_secs(3600);
    let unix = in_an_hour.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let server = Server::start(move |_| {
        let token = "{\"access_token\":\"abc\",\"token_type\":\"Bearer\",\"expires_on\":";
        said(200, format!("{token}\"{unix}\"}}"))
    });
    let server = server.await;
    let address = Endpoint { prefix: "/msi/token".to_owned(), ..server.endpoint() };
    let header = secret("a-header-of-its-own");
    let minter =
        minter(&entra(EntraCredential::AppServiceIdentity { address, header, client: None }));
    let (token, lives) = minted(&minter).await.unwrap();
    assert_eq!(token, "abc");
    assert!((3590..=3600).contains(&lives), "{lives}");
    let asked = server.asked().pop().unwrap();
    assert_eq!(asked.header("x-identity-header"), "a-header-of-its-own");
    assert_eq!(asked.uri.path(), "/msi/token");
    assert_eq!(asked.field("api-version"), "2019-08-01");
    assert_eq!(asked.field("resource"), "https://cognitiveservices.azure.com");
}

#[tokio::test]
async fn errors_are_told_in_our_words_and_sorted_by_whose_they_are() {
    let wrong_secret = "{\"error\":\"invalid_client\",\"error_description\":\"AADSTS7000215: Invalid \
                        client secret provided 'Zq7~Xw9.Kv3&Jp5=Yg8'\",\"error_codes\":[7000215]}";
    let parrot = "{\"error\":\"Zq7~Xw9.Kv3&Jp5=Yg8\"}";
    let passing = "{\"error\":\"temporarily_unavailable\"}";
    let too_long = "x".repeat(1 << 20).leak();
    let refused = |words: &str| NoToken::Refused(words.to_owned());
    let table = [
        (401, wrong_secret, refused("says invalid_client (AADSTS7000215)")),
        (400, parrot, refused("says an error of its own")),
        (400, "{\"error\":{\"message\":\"no\"}}", refused("answered 400")),
        (403, "<html>", refused("answered 403")),
        (400, passing, NoToken::unreachable("says temporarily_unavailable")),
        (404, "", NoToken::unreachable("answered 404")),
        (410, "", NoToken::unreachable("answered 410")),
        (429, "{\"error\":\"invalid_client\"}", NoToken::unreachable("answered 429")),
        (302, "", NoToken::unreachable("answered 302")),
        (503, "<html>", NoToken::unreachable("answered 503")),
    ];
    for (status, body, expected) in table {
        let server = Server::same(status, body).await;
        let told = minted(&minter(&with_secret(&server))).await.unwrap_err();
        assert_eq!(told, expected, "{status} {body}");
        assert_eq!(server.asked().len(), 1, "asked once");
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
        let told = minted(&minter(&with_secret(&server))).await;
        let expected = NoToken::unreachable("answered with something that is no token");
        assert_eq!(told, Err(expected), "{:?}", &body[..body.len().min(50)]);
    }
}

#[tokio::test]
async fn a_number_that_is_left_out_or_huge_is_no_reason_to_fail() {
    for (body, lives) in [
        ("{\"access_token\":\"abc\"}", 300),
        ("{\"access_token\":\"abc\",\"expires_in\":18446744073709551615}", u64::MAX),
    ] {
        let server = Server::same(200, body).await;
        let mint = minter(&with_secret(&server));
        assert_eq!(mint.mint().await.unwrap().lives.as_secs(), lives);
        let cell = Cell::new("test".to_owned(), mint);
        assert_eq!(cell.get().await.unwrap().value, "Bearer abc");
    }
}

#[tokio::test]
async fn an_issuer_that_is_not_there_cannot_be_reached() {
    let server = Server::same(200, "").await;
    let mut entra = with_secret(&server);
    if let EntraCredential::ClientSecret { authority, .. } = &mut entra.credential {
        authority.authority = "127.0.0.1:9".parse().unwrap();
    }
    let told = minted(&minter(&entra)).await;
    assert_eq!(told, Err(NoToken::unreachable("could not be reached")));
}
