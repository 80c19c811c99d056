//! HTTP/1.1 by hand: the client of the tests, and the reading half of [`super::upstream`].

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;

/// The first part of a request or an answer.
#[derive(Clone, Debug)]
pub struct Head {
    /// As it came, with the empty line.
    pub raw: Vec<u8>,
    pub first_line: String,
    /// Names in lower case, in order, doubles kept.
    pub headers: Vec<(String, String)>,
}

impl Head {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn status(&self) -> u16 {
        let status = self.first_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.unwrap_or_else(|| panic!("no status in {:?}", self.first_line))
    }

    fn parse(raw: Vec<u8>) -> Self {
        let text = String::from_utf8_lossy(&raw).into_owned();
        let mut lines = text.trim_end().split("\r\n");
        let first_line = lines.next().unwrap_or_default().to_owned();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Self { raw, first_line, headers }
    }
}

/// How the end of a body shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Length(usize),
    Chunked,
    /// Until the connection closes.
    Close,
}

impl Framing {
    /// Of the answer to a request that is not HEAD.
    pub fn of_answer(head: &Head) -> Self {
        if matches!(head.status(), 204 | 304) {
            return Framing::Length(0);
        }
        Self::of(head).unwrap_or(Framing::Close)
    }

    pub fn of_request(head: &Head) -> Self {
        Self::of(head).unwrap_or(Framing::Length(0))
    }

    fn of(head: &Head) -> Option<Self> {
        if head.header("transfer-encoding").is_some_and(|coding| coding.ends_with("chunked")) {
            return Some(Framing::Chunked);
        }
        head.header("content-length").map(|length| Framing::Length(length.parse().unwrap()))
    }
}

/// The next part of a body.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// For a chunked body exactly one chunk, otherwise what one read gave.
    Bytes(Vec<u8>),
    /// The body ended as its framing says.
    End,
    /// The connection closed or broke before that.
    Cut,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub head: Head,
    pub body: Vec<u8>,
    /// The body ended as its framing says.
    pub complete: bool,
}

impl Reply {
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }
}

/// A connection, seen from either side.
#[derive(Debug)]
pub struct Connection {
    pub stream: TcpStream,
    /// Read and not yet used.
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Self {
        let stream = patiently("connect", TcpStream::connect(address)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::new(stream)
    }

    /// `None`: nobody listens.
    pub async fn try_open(address: SocketAddr) -> Option<Self> {
        patiently("connect", TcpStream::connect(address)).await.ok().map(Self::new)
    }

    pub fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Ignores a peer that has left: what it sent before can still be read.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = patiently("send", self.stream.write_all(bytes)).await;
    }

    /// `None`: the peer closed or broke the connection before the head was whole.
    pub async fn head(&mut self) -> Option<Head> {
        patiently("a head", self.head_at_leisure()).await
    }

    /// [`Connection::head`] without a limit; may be dropped.
    pub async fn head_at_leisure(&mut self) -> Option<Head> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                return Some(Head::parse(self.buffer.drain(..end + 4).collect()));
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// Reads on in the body. `framing` counts down.
    pub async fn piece(&mut self, framing: &mut Framing) -> Piece {
        patiently("a piece of the body", self.piece_at_leisure(framing)).await
    }

    /// [`Connection::piece`] for waits that the caller limits; may be dropped.
    pub async fn piece_at_leisure(&mut self, framing: &mut Framing) -> Piece {
        loop {
            match framing {
                Framing::Length(0) => return Piece::End,
                Framing::Length(left) if !self.buffer.is_empty() => {
                    let taken = self.buffer.len().min(*left);
                    *left -= taken;
                    return Piece::Bytes(self.buffer.drain(..taken).collect());
                }
                Framing::Close if !self.buffer.is_empty() => {
                    return Piece::Bytes(std::mem::take(&mut self.buffer));
                }
                Framing::Chunked => {
                    if let Some(chunk) = self.take_chunk() {
                        if chunk.is_empty() {
                            *framing = Framing::Length(0);
                            return Piece::End;
                        }
                        return Piece::Bytes(chunk);
                    }
                }
                Framing::Length(_) | Framing::Close => {}
            }
            if !self.fill().await {
                return if *framing == Framing::Close { Piece::End } else { Piece::Cut };
            }
        }
    }

    pub async fn body(&mut self, mut framing: Framing) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        loop {
            match self.piece(&mut framing).await {
                Piece::Bytes(bytes) => body.extend(bytes),
                end => return (body, end == Piece::End),
            }
        }
    }

    /// The answer to a request that is not HEAD. Panics when none comes.
    pub async fn reply(&mut self) -> Reply {
        let head = self.head().await.expect("closed before an answer");
        let (body, complete) = self.body(Framing::of_answer(&head)).await;
        Reply { head, body, complete }
    }

    /// Everything until the peer closes, unparsed.
    pub async fn rest(&mut self) -> Vec<u8> {
        patiently("the peer to close", async { while self.fill().await {} }).await;
        std::mem::take(&mut self.buffer)
    }

    /// Waits until the peer closes, keeping what it sends. May be dropped.
    pub async fn closed(&mut self) {
        while self.fill().await {}
    }

    /// One read; `false`: end or error.
    async fn fill(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.buffer).await, Ok(1..))
    }

    /// One whole chunk from the buffer; the last one is empty. Trailers are not expected.
    fn take_chunk(&mut self) -> Option<Vec<u8>> {
        let line = find(&self.buffer, b"\r\n")?;
        let size = String::from_utf8_lossy(&self.buffer[..line]);
        let size = size.split(';').next().unwrap_or_default().trim().to_owned();
        let size =
            usize::from_str_radix(&size, 16).unwrap_or_else(|_| panic!("no chunk size: {size:?}"));
        let end = line + 2 + size;
        if self.buffer.len() < end + 2 {
            return None;
        }
        assert_eq!(&self.buffer[end..end + 2], b"\r\n", "a chunk ends in CR LF");
        let chunk = self.buffer[line + 2..end].to_vec();
        self.buffer.drain(..end + 2);
        Some(chunk)
    }
}

/// The bytes of a request. Adds `host` and `content-length`.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    use std::fmt::Write;
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    if !body.is_empty() || method != "GET" {
        let _ = write!(head, "content-length: {}\r\n", body.len());
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

/// The bytes of a POST of JSON.
pub fn json_request(path: &str, headers: &[(&str, &str)], body: &Value) -> Vec<u8> {
    let headers = [&[("content-type", "application/json")], headers].concat();
    request("POST", path, &headers, body.to_string().as_bytes())
}

/// GET on a connection of its own.
pub async fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Reply {
    exchange(address, &request("GET", path, headers, b"")).await
}

/// POST of JSON on a connection of its own.
pub async fn post(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Reply {
    exchange(address, &json_request(path, headers, body)).await
}

/// Sends bytes and reads one answer on a connection of its own.
pub async fn exchange(address: SocketAddr, request: &[u8]) -> Reply {
    let mut connection = Connection::open(address).await;
    connection.send(request).await;
    connection.reply().await
}

/// The `data:` of each event of a stream.
pub fn sse_data(body: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(body).replace("\r\n", "\n");
    let data = |event: &str| {
        let lines: Vec<&str> = event
            .lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .map(|data| data.strip_prefix(' ').unwrap_or(data))
            .collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    };
    text.split("\n\n").filter_map(data).collect()
}

/// Panics when it takes too long.
pub async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    within(PATIENCE, what, future).await
}

/// Panics when it takes longer.
pub async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    let result = timeout(limit, future).await;
    result.unwrap_or_else(|_| panic!("waited {limit:?} for {what}"))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
