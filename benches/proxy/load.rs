//! The callers: keep-alive connections, each with one request at a time.

use std::net::SocketAddr;
use std::time::Duration;

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::{Result, mock};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

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
    connection: TcpStream,
    /// The two requests, as they are sent.
    plain: String,
    stream: String,
    answer: Vec<u8>,
}

impl Caller {
    async fn connect(to: SocketAddr) -> Result<Self> {
        let connection = TcpStream::connect(to).await?;
        connection.set_nodelay(true)?;
        let [plain, stream] = [false, true].map(|stream| request(to, stream));
        Ok(Self { connection, plain, stream, answer: Vec::with_capacity(64 << 10) })
    }

    /// Asks and compares the whole answer: figures for wrong answers are worth nothing.
    async fn ask(&mut self, stream: bool) -> Result<()> {
        match timeout(PATIENCE, self.asked(stream)).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Err(error)) => Err(error),
            Ok(Ok(false)) | Err(_) => {
                let said = &self.answer[..self.answer.len().min(500)];
                let said = String::from_utf8_lossy(said);
                Err(format!("not the answer of the upstream:\n{said}").into())
            }
        }
    }

    async fn asked(&mut self, stream: bool) -> Result<bool> {
        let request = if stream { &self.stream } else { &self.plain };
        self.connection.write_all(request.as_bytes()).await?;
        self.answer.clear();
        while self.connection.read_buf(&mut self.answer).await? > 0 {
            let Some(end) = memmem::find(&self.answer, b"\r\n\r\n") else { continue };
            let (head, body) = self.answer.split_at(end + 4);
            if !head.starts_with(b"HTTP/1.1 200 ") {
                return Ok(false);
            }
            if stream && body.ends_with(b"\r\n0\r\n\r\n") {
                return Ok(joined(body).as_deref() == Some(mock::stream().as_bytes()));
            }
            if !stream && body.len() >= mock::PLAIN.len() {
                return Ok(body == mock::PLAIN.as_bytes());
            }
        }
        Ok(false)
    }
}

fn request(to: SocketAddr, stream: bool) -> String {
    let body = format!(
        r#"{{"model":"{MODEL}","messages":[{{"role":"user","content":"{PROMPT}"}}],"temperature":0.7,"stream":{stream}}}"#
    );
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: {to}\r\nAuthorization: Bearer {CLIENT_KEY}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The data of a body in chunks (RFC 9112, section 7.1).
fn joined(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut data = Vec::with_capacity(body.len());
    loop {
        let line = memmem::find(body, b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&body[..line]).ok()?, 16).ok()?;
        if size == 0 {
            return Some(data);
        }
        let (chunk, rest) = body[line + 2..].split_at_checked(size)?;
        data.extend_from_slice(chunk);
        body = rest.strip_prefix(b"\r\n")?;
    }
}
