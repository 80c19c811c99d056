mod entra;
mod google;
mod provider;

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::config::Endpoint;
use crate::upstream::error::TokenError;

/// A server on loopback that answers as it is told and writes down what it is asked.
struct Server {
    address: std::net::SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// A request as it came.
#[derive(Clone, Debug)]
struct Asked {
    /// From 0.
    number: usize,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: String,
}

type Answer = Option<Response<Bytes>>;

impl Server {
    /// `answer` gives `None` to hang.
    async fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { address: listener.local_addr().unwrap(), asked: Arc::default() };
        let (asked, answer) = (server.asked.clone(), Arc::new(answer));
        tokio::spawn(async move {
            loop {
                let stream = listener.accept().await.unwrap().0;
                let (asked, answer) = (asked.clone(), answer.clone());
                tokio::spawn(serve(TokioIo::new(stream), asked, answer));
            }
        });
        server
    }

    /// One that answers the same each time.
    async fn same(status: u16, body: &'static str) -> Self {
        Self::start(move |_| said(status, body)).await
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint {
            scheme: http::uri::Scheme::HTTP,
            authority: self.address.to_string().parse().unwrap(),
            prefix: String::new(),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

async fn serve<I, F>(io: I, asked: Arc<Mutex<Vec<Asked>>>, answer: Arc<F>)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    F: Fn(&Asked) -> Answer + Send + Sync + 'static,
{
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (asked, answer) = (asked.clone(), answer.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes().to_vec();
            let got = {
                let mut asked = asked.lock().unwrap();
                let number = asked.len();
                asked.push(Asked {
                    number,
                    method: head.method,
                    uri: head.uri,
                    headers: head.headers,
                    body: String::from_utf8(body).unwrap(),
                });
                asked[asked.len() - 1].clone()
            };
            match answer(&got) {
                Some(response) => Ok::<_, hyper::Error>(response.map(Full::new)),
                None => std::future::pending().await,
            }
        }
    });
    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    let _ = server.serve_connection(io, service).await;
}

impl Asked {
    /// The fields of its form, or of its query.
    fn fields(&self) -> Vec<(String, String)> {
        let text = if self.body.is_empty() { self.uri.query().unwrap() } else { &self.body };
        let decoded = |text: &str| {
            percent_encoding::percent_decode_str(&text.replace('+', " "))
                .decode_utf8()
                .unwrap()
                .into_owned()
        };
        let pair = |field: &str| field.split_once('=').map(|(n, v)| (decoded(n), decoded(v)));
        text.split('&').map(|field| pair(field).unwrap()).collect()
    }

    fn field(&self, name: &str) -> String {
        let mut fields = self.fields().into_iter();
        fields.find(|(own, _)| own == name).unwrap_or_else(|| panic!("no {name}")).1
    }

    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

#[expect(clippy::unnecessary_wraps, reason = "a server that hangs says nothing")]
fn said(status: u16, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    Some(response)
}

/// `token-0` for the first request, and so on.
fn numbered(asked: &Asked) -> Answer {
    let number = asked.number;
    let token = format!(
        "{{\"access_token\":\"token-{number}\",\"token_type\":\"Bearer\",\"expires_in\":3600}}"
    );
    said(200, token)
}

fn transport() -> Transport {
    Transport { proxy: None, ca: None, connect_timeout: Duration::from_secs(5) }
}

fn ways() -> Ways {
    Ways::new(&transport(), &mut CarryOver::default(), None).unwrap()
}

/// The token and how many seconds it lives.
async fn minted(mint: &impl TokenSource<HeaderValue>) -> Result<(String, u64), TokenError> {
    let fresh = timeout(Duration::from_secs(10), mint.mint()).await.expect("an end")?;
    assert!(fresh.value.is_sensitive());
    // Where a moment is told, a part of a second has gone by.
    let lives = (fresh.lives + Duration::from_millis(999)).as_secs();
    Ok((String::from_utf8(text(&fresh.value).to_vec()).unwrap(), lives))
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

#[tokio::test]
async fn a_cell_is_taken_over_where_credential_and_way_are_the_same() {
    struct Nothing;
    impl TokenSource<u8> for Nothing {
        async fn mint(&self) -> Result<NewToken<u8>, TokenError> {
            Ok(NewToken { value: 0, lives: Duration::from_secs(60) })
        }
    }
    let cell = |cells: &mut TokenCaches<u8>, transport: &Transport, key: &str, before| {
        let identity = secret(key).fingerprint();
        cells.cell(transport, identity, before, "name", || Ok(Nothing)).unwrap()
    };
    let (here, mut first, mut second) =
        (transport(), TokenCaches::default(), TokenCaches::default());
    let one = cell(&mut first, &here, "a key", None);
    assert!(Arc::ptr_eq(&one, &cell(&mut first, &here, "a key", None)));
    assert!(Arc::ptr_eq(&one, &cell(&mut second, &here, "a key", Some(&first))));
    assert!(!Arc::ptr_eq(&one, &cell(&mut second, &here, "another", Some(&first))));
    let there = Transport { connect_timeout: Duration::from_secs(9), ..here };
    assert!(!Arc::ptr_eq(&one, &cell(&mut second, &there, "a key", Some(&first))));
}

#[tokio::test]
async fn nothing_of_a_token_is_in_what_is_printed_of_it() {
    let server = Server::start(numbered).await;
    let entra = entra::with_secret(&server);
    let mut kept = CarryOver::default();
    let cell = super::entra(&entra, "azure/main", &transport(), &mut kept, None).unwrap();
    let minted = cell.get().await.unwrap();
    let printed = format!("{cell:?} {minted:?} {kept:?} {:?} {entra:?}", minted.value);
    for word in ["token-0", "Bearer", entra::SECRET] {
        assert!(!printed.contains(word), "{printed}");
    }
    assert!(printed.contains("azure/main"), "{printed}");
}
