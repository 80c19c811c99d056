mod entra;
mod google;
mod provider;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::config::{Endpoint, EntraAuth, GoogleAuth, Transport};
use crate::upstream::CarryOver;
use crate::upstream::carry_over::Builder;
use crate::upstream::error::TokenError;

/// A server on loopback with scripted answers, which records the requests.
struct Server {
    address: std::net::SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

/// A received request.
#[derive(Clone, Debug)]
struct Received {
    /// Counted from 0.
    number: usize,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: String,
}

type Answer = Option<Response<Bytes>>;

impl Server {
    /// If `answer` returns `None`, the server hangs.
    async fn start(answer: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { address: listener.local_addr().unwrap(), received: Arc::default() };
        let (received, answer) = (server.received.clone(), Arc::new(answer));
        tokio::spawn(async move {
            loop {
                let stream = listener.accept().await.unwrap().0;
                let (received, answer) = (received.clone(), answer.clone());
                tokio::spawn(serve(TokioIo::new(stream), received, answer));
            }
        });
        server
    }

    /// Starts a server with the same answer for every request.
    async fn same(status: u16, body: &'static str) -> Self {
        Self::start(move |_| reply(status, body)).await
    }

    fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
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

async fn serve<I, F>(io: I, received: Arc<Mutex<Vec<Received>>>, answer: Arc<F>)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    F: Fn(&Received) -> Answer + Send + Sync + 'static,
{
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (received, answer) = (received.clone(), answer.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes().to_vec();
            let request = {
                let mut received = received.lock().unwrap();
                let number = received.len();
                received.push(Received {
                    number,
                    method: head.method,
                    uri: head.uri,
                    headers: head.headers,
                    body: String::from_utf8(body).unwrap(),
                });
                received[received.len() - 1].clone()
            };
            match answer(&request) {
                Some(response) => Ok::<_, hyper::Error>(response.map(Full::new)),
                None => std::future::pending().await,
            }
        }
    });
    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    let _ = server.serve_connection(io, service).await;
}

impl Received {
    /// Returns the fields of the form body, or of the query.
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
        fields.find(|(field, _)| field == name).unwrap_or_else(|| panic!("no {name}")).1
    }

    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the type of scripted answers; None hangs")]
fn reply(status: u16, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    Some(response)
}

/// Returns the token `token-0` for the first request, `token-1` for the second, and so on.
fn numbered(received: &Received) -> Answer {
    let number = received.number;
    let token = format!(
        "{{\"access_token\":\"token-{number}\",\"token_type\":\"Bearer\",\"expires_in\":3600}}"
    );
    reply(200, token)
}

fn transport() -> Transport {
    Transport { proxy: None, ca: None, connect_timeout: Duration::from_secs(5) }
}

fn clients_for(transport: &Transport) -> TokenClients {
    let mut next = CarryOver::default();
    Builder { transport, next: &mut next, before: None }.token_clients().unwrap()
}

fn clients() -> TokenClients {
    clients_for(&transport())
}

/// Fetches a token; returns it and its lifetime in seconds.
async fn fetched(source: &impl TokenSource<HeaderValue>) -> Result<(String, u64), TokenError> {
    let token =
        timeout(Duration::from_secs(10), source.fetch()).await.expect("no answer in time")?;
    assert!(token.value.is_sensitive());
    // A lifetime computed from a point in time is short by a fraction of a second.
    let lifetime = (token.lifetime + Duration::from_millis(999)).as_secs();
    Ok((String::from_utf8(token_of(&token.value).to_vec()).unwrap(), lifetime))
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

#[tokio::test]
async fn a_cache_is_taken_over_if_credential_and_transport_are_the_same() {
    struct Nothing;
    impl TokenSource<u8> for Nothing {
        async fn fetch(&self) -> Result<NewToken<u8>, TokenError> {
            Ok(NewToken { value: 0, lifetime: Duration::from_secs(60) })
        }
    }
    let cache = |caches: &mut TokenCaches<u8>, transport: &Transport, key: &str, before| {
        caches.cache(transport, secret(key).fingerprint(), before, "name", Nothing)
    };
    let (here, mut first, mut second) =
        (transport(), TokenCaches::default(), TokenCaches::default());
    let one = cache(&mut first, &here, "a key", None);
    assert!(Arc::ptr_eq(&one, &cache(&mut first, &here, "a key", None)));
    assert!(Arc::ptr_eq(&one, &cache(&mut second, &here, "a key", Some(&first))));
    assert!(!Arc::ptr_eq(&one, &cache(&mut second, &here, "another", Some(&first))));
    let there = Transport { connect_timeout: Duration::from_secs(9), ..here };
    assert!(!Arc::ptr_eq(&one, &cache(&mut second, &there, "a key", Some(&first))));
}

#[tokio::test]
async fn debug_output_contains_no_token_and_no_secret() {
    let server = Server::start(numbered).await;
    let entra = entra::with_secret(&server);
    let (transport, mut next) = (transport(), CarryOver::default());
    let mut builder = Builder { transport: &transport, next: &mut next, before: None };
    let cache = builder.entra_tokens(&entra, "azure/main").unwrap();
    let token = cache.get().await.unwrap();
    let printed = format!("{cache:?} {token:?} {next:?} {:?} {entra:?}", token.value);
    for word in ["token-0", "Bearer", entra::SECRET] {
        assert!(!printed.contains(word), "{printed}");
    }
    assert!(printed.contains("azure/main"), "{printed}");
}
