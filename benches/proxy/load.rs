//! The callers: keep-alive connections, each with one request at a time.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::{Result, mock};

/// What callers show to keymux.
pub(crate) const CLIENT_KEY: &str = "client-key-0123456789abcdef";

/// The model as keymux is asked for it; it goes on without the name of the provider.
const MODEL: &str = "mock/gpt-4o-mini";

const PROMPT: &str = "Say in a few sentences what a proxy is for, what it should leave alone, and how one \
                      can tell whether it costs too much. Do not use lists, and do not name any product.";

/// Connections that have carried a request already, so that the proxy has its own upstream.
pub(crate) struct Callers(Vec<Caller>);

impl Callers {
    pub(crate) async fn connect(to: SocketAddr, count: usize) -> Result<Self> {
        let mut opening = JoinSet::new();
        for _ in 0..count {
            opening.spawn(async move {
                let mut caller = Caller::connect(to).await?;
                caller.ask(false).await?;
                Ok::<_, crate::Error>(caller)
            });
        }
        let callers: Result<Vec<Caller>> = opening.join_all().await.into_iter().collect();
        Ok(Self(callers?))
    }

    /// Plain requests on all connections, each as soon as the one before is answered. How many.
    pub(crate) async fn plain(self, span: Duration) -> Result<u32> {
        let end = Instant::now() + span;
        let mut asking = JoinSet::new();
        for mut caller in self.0 {
            asking.spawn(async move {
                let mut answers = 0;
                while Instant::now() < end {
                    caller.ask(false).await?;
                    answers += 1;
                }
                Ok(answers)
            });
        }
        asking.join_all().await.into_iter().sum()
    }

    /// One stream on each connection, begun one after the other within `pause`, so that their chunks
    /// are spread as those of real streams are. How many chunks.
    pub(crate) async fn streams(self, pause: Duration) -> Result<u32> {
        let (mut asking, mut wait) = (JoinSet::new(), Duration::ZERO);
        let step = pause / u32::try_from(self.0.len())?;
        for mut caller in self.0 {
            asking.spawn(async move {
                sleep(wait).await;
                caller.ask(true).await.map(|()| mock::CHUNKS)
            });
            wait += step;
        }
        asking.join_all().await.into_iter().sum()
    }
}

struct Caller {
    connection: SendRequest<Full<Bytes>>,
    host: String,
    /// The two requests, ready to be sent: the callers must not need more CPU time than the proxies.
    plain: Bytes,
    stream: Bytes,
}

impl Caller {
    async fn connect(to: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        let (connection, driver) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        Ok(Self { connection, host: to.to_string(), plain: body(false), stream: body(true) })
    }

    /// Asks and compares the whole answer: figures for wrong answers are worth nothing.
    async fn ask(&mut self, stream: bool) -> Result<()> {
        let body = if stream { &self.stream } else { &self.plain };
        let request = Request::post("/v1/chat/completions")
            .header(HOST, &self.host)
            .header(AUTHORIZATION, format!("Bearer {CLIENT_KEY}"))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body.clone()))?;
        self.connection.ready().await?;
        let answer = self.connection.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        let whole = if stream { body == mock::stream() } else { body == mock::PLAIN };
        if status != StatusCode::OK || !whole {
            let said = String::from_utf8_lossy(&body[..body.len().min(300)]);
            return Err(format!("not the answer of the upstream: {status} {said}").into());
        }
        Ok(())
    }
}

fn body(stream: bool) -> Bytes {
    Bytes::from(format!(
        r#"{{"model":"{MODEL}","messages":[{{"role":"user","content":"{PROMPT}"}}],"temperature":0.7,"stream":{stream}}}"#
    ))
}
