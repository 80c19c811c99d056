//! The head of an HTTP/1 request as its bytes come in, for the two things that hyper keeps to itself: that
//! a body is framed in two ways, and what it refuses without asking anybody.
//!
//! hyper lets `Transfer-Encoding` win over `Content-Length` and takes the length out of the head, so that
//! nothing further in can see it (RFC 9112, section 6.3, allows that, or a refusal). A proxy before this one
//! may have let the length win. Its answers to what it cannot parse have neither a body nor a request id.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::header::{CONNECTION, CONTENT_LENGTH};
use memchr::{memchr, memmem};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::answer::{KEYMUX_REQUEST_ID, Refusal};
use super::conn::Stage;
use super::protocol::{HEAD, HEAD_LINES};
use super::record::Record;
use super::{Live, answer};
use crate::observe::access::End;
use crate::wire::api::{Api, routes};

/// What is kept of a line that comes in pieces, and of the first line: longer than the names that are
/// looked for and than the paths by which the APIs are told apart.
const LINE: usize = 64;

/// A connection whose request heads are watched, and on which every refusal is one of ours.
#[derive(Debug)]
pub(super) struct Watched<S> {
    inner: S,
    stage: Arc<Stage>,
    live: Arc<Live>,
    head: Head,
    /// What goes out in place of hyper's own refusal.
    own: Option<Bytes>,
}

impl<S> Watched<S> {
    pub(super) fn new(inner: S, stage: Arc<Stage>, live: Arc<Live>) -> Self {
        Self { inner, stage, live, head: Head::default(), own: None }
    }

    /// The connection as it is without the watch.
    pub(super) fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    fn heard(&mut self, was_resting: bool, bytes: &[u8]) {
        if was_resting {
            self.head = Head::default();
        }
        // Of requests that come before the one ahead of them is answered, only the first is seen. hyper
        // closes the connection behind the others.
        if self.stage.awaits_head() {
            self.head.hear(bytes);
            if self.head.is_framed_twice() {
                self.stage.set_framed_twice();
            }
        }
    }

    /// Our own form of a refusal that hyper writes.
    fn in_our_words(&self, written: &[u8]) -> Option<Bytes> {
        if !self.stage.awaits_head() {
            return None;
        }
        let refusal = match status_of_empty(written)? {
            431 => Refusal::LargeHead { size: HEAD, lines: HEAD_LINES },
            414 => Refusal::LongTarget,
            _ => Refusal::NotHttp,
        };
        let gateway = self.live.gateway();
        let mut record = Record::new(self.live.clone(), gateway);
        let api = self.head.api();
        let mut response = answer::refuse(&refusal, api, &record.id);
        answer::name_request(response.headers_mut(), &record.id);
        let body = answer::words(&refusal, api, &record.id);
        record.status = response.status().as_u16();
        record.bytes_out = body.len() as u64;
        record.end = End::Refused;
        Some(on_the_wire(&response, &body))
    }
}

impl<S: AsyncWrite + Unpin> Watched<S> {
    /// Writes, or the same as if hyper's refusal had been written, once ours is.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        first: &[u8],
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if self.own.is_none() {
            self.own = self.in_our_words(first);
        }
        let Some(own) = &mut self.own else { return write(Pin::new(&mut self.inner), cx) };
        while own.has_remaining() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, own))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            own.advance(written);
        }
        self.own = None;
        Poll::Ready(Ok(first.len()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let was_resting = this.stage.is_resting();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        this.heard(was_resting, &buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, bytes, |inner, cx| inner.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = pieces.iter().find(|piece| !piece.is_empty()).map_or(&[][..], |piece| piece);
        self.write(cx, first, |inner, cx| inner.poll_write_vectored(cx, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// The status of an answer that is a head without a body and without our id: one that hyper made.
fn status_of_empty(written: &[u8]) -> Option<u16> {
    let status = written.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    let alone = written.ends_with(b"\r\n\r\n");
    if !alone || memmem::find(written, KEYMUX_REQUEST_ID.as_str().as_bytes()).is_some() {
        return None;
    }
    let status = std::str::from_utf8(status).ok()?.parse().ok()?;
    matches!(status, 400 | 414 | 431).then_some(status)
}

/// A whole answer, after which the connection closes.
fn on_the_wire<B>(head: &http::Response<B>, body: &str) -> Bytes {
    let status = head.status();
    let reason = status.canonical_reason().unwrap_or_default();
    let mut out = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
    for (name, value) in head.headers() {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    let rest = format!("{CONTENT_LENGTH}: {}\r\n{CONNECTION}: close\r\n\r\n{body}", body.len());
    out.extend_from_slice(rest.as_bytes());
    out.into()
}

/// What is seen of one head. Lines are found as hyper finds them: at the line feed, whether or not a
/// carriage return comes before it.
#[derive(Debug, Default)]
struct Head {
    /// The beginning of the request line, then of a line that has come in part.
    request: Start,
    partial: Start,
    lengths: u8,
    coded: bool,
    whole: bool,
}

/// The beginning of a line.
#[derive(Debug)]
struct Start {
    bytes: [u8; LINE],
    length: usize,
}

impl Default for Start {
    fn default() -> Self {
        Self { bytes: [0; LINE], length: 0 }
    }
}

impl Start {
    fn push(&mut self, bytes: &[u8]) {
        let taken = bytes.len().min(LINE - self.length);
        self.bytes[self.length..][..taken].copy_from_slice(&bytes[..taken]);
        self.length += taken;
    }

    fn get(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Head {
    /// Takes the next bytes; what comes behind the head is not looked at.
    fn hear(&mut self, mut bytes: &[u8]) {
        while !self.whole && !bytes.is_empty() {
            let Some(end) = memchr(b'\n', bytes) else { return self.partial.push(bytes) };
            if self.partial.length == 0 {
                self.line(&bytes[..end]);
            } else {
                self.partial.push(&bytes[..end]);
                let line = std::mem::take(&mut self.partial);
                self.line(line.get());
            }
            bytes = &bytes[end + 1..];
        }
    }

    /// A line, of which a long one may lack its end.
    fn line(&mut self, line: &[u8]) {
        if line.is_empty() || line == b"\r" {
            // Empty lines before the request are skipped (RFC 9112, section 2.2).
            self.whole = self.request.length > 0;
        } else if self.request.length == 0 {
            self.request.push(line);
        } else if is_field(line, b"content-length:") {
            self.lengths = self.lengths.saturating_add(1);
        } else if is_field(line, b"transfer-encoding:") {
            self.coded = true;
        }
    }

    /// Whether the head says more than once where its body ends.
    fn is_framed_twice(&self) -> bool {
        self.whole && usize::from(self.lengths) + usize::from(self.coded) > 1
    }

    /// Whose errors the caller reads, as far as its first line tells.
    fn api(&self) -> Api {
        let request = if self.request.length > 0 { &self.request } else { &self.partial };
        let path = request.get().split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        std::str::from_utf8(path).ok().and_then(routes::api_of).unwrap_or(Api::OpenAi)
    }
}

fn is_field(line: &[u8], name: &[u8]) -> bool {
    line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(pieces: &[&[u8]]) -> Head {
        let mut head = Head::default();
        for piece in pieces {
            head.hear(piece);
        }
        head
    }

    #[test]
    fn a_body_framed_twice_is_seen_however_the_head_is_cut() {
        for (fields, twice) in [
            ("content-length: 4\r\ntransfer-encoding: chunked\r\n", true),
            ("Transfer-Encoding: chunked\r\nx: y\r\nCONTENT-LENGTH:4\r\n", true),
            ("content-length: 4\r\ncontent-length: 4\r\n", true),
            ("content-length: 4\ntransfer-encoding: chunked\n", true),
            ("content-length: 4\r\n", false),
            ("transfer-encoding: chunked\r\n", false),
            (
                "x: content-length: 4\r\nx-content-length: 4\r\ntransfer-encoding: chunked\r\n",
                false,
            ),
            ("transfer-encoding: chunked\r\n\r\ncontent-length: 4\r\n", false),
        ] {
            let text = format!("\r\nPOST /v1/messages HTTP/1.1\r\nhost: k\r\n{fields}\r\n");
            for at in 0..text.len() {
                let (a, b) = text.as_bytes().split_at(at);
                assert_eq!(heard(&[a, b]).is_framed_twice(), twice, "{fields:?} cut at {at}");
            }
            let drips: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(heard(&drips).is_framed_twice(), twice, "{fields:?} in drips");
        }
    }

    #[test]
    fn the_first_line_says_whose_errors_are_read() {
        for (pieces, api) in [
            (&[&b"POST /v1/messages HTTP/1.1\r\nx: y"[..]][..], Api::Anthropic),
            (&[b"POST /v1/mess", b"ages HTTP/1.1\r\n"], Api::Anthropic),
            (&[b"GET /v1beta/models/", &[b'x'; 100]], Api::Gemini),
            (&[b"\x16\x03\x01"], Api::OpenAi),
            (&[], Api::OpenAi),
        ] {
            assert_eq!(heard(pieces).api(), api, "{pieces:?}");
        }
    }

    #[test]
    fn only_an_empty_refusal_without_our_id_is_hypers() {
        let bare = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(status_of_empty(bare), Some(400));
        let ours = b"HTTP/1.1 400 Bad Request\r\nx-keymux-request-id: req_1\r\n\r\n";
        assert_eq!(status_of_empty(ours), None);
        assert_eq!(status_of_empty(b"HTTP/1.1 100 Continue\r\n\r\n"), None);
        assert_eq!(status_of_empty(b"HTTP/1.1 400 Bad Request\r\n\r\n{}"), None);
        assert_eq!(status_of_empty(b"HTTP/1.1 4"), None);
    }
}
