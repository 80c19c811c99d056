//! Watches the head of an HTTP/1 request as its bytes arrive, for two things that hyper does not report: a body
//! delimited twice, and requests that hyper refuses itself.
//!
//! hyper lets `Transfer-Encoding` win over `Content-Length` and removes the length from the head, so nothing
//! after it can see the conflict (RFC 9112, section 6.3, allows that, or a refusal). A proxy in front of this
//! one may have let the length win. hyper's responses to what it cannot parse have neither a body nor a request
//! id.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::header::{CONNECTION, CONTENT_LENGTH};
use memchr::{memchr, memmem};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::ConnectionState;
use super::limits::{HEAD_BYTES, HEAD_LINES};
use crate::gateway::Live;
use crate::gateway::record::Record;
use crate::gateway::response::error_response;
use crate::gateway::response::headers::{KEYMUX_REQUEST_ID, set_request_id};
use crate::gateway::response::refusal::Refusal;
use crate::observe::access::End;
use crate::wire::api::{Api, routes};

/// The bytes kept of the request line, and of a line that arrives in pieces. It is longer than the field names
/// that are searched for and than the paths that distinguish the APIs.
const LINE_START: usize = 64;

/// A connection whose request heads are watched, and on which every refusal is one of ours.
#[derive(Debug)]
pub(super) struct RequestHeadIo<S> {
    inner: S,
    connection: Arc<ConnectionState>,
    live: Arc<Live>,
    head: RequestHead,
    /// The response to send in place of hyper's own refusal.
    replacement: Option<Bytes>,
}

impl<S> RequestHeadIo<S> {
    pub(super) fn new(inner: S, connection: Arc<ConnectionState>, live: Arc<Live>) -> Self {
        Self { inner, connection, live, head: RequestHead::default(), replacement: None }
    }

    pub(super) fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    fn inspect_read(&mut self, was_between_requests: bool, bytes: &[u8]) {
        if was_between_requests {
            self.head = RequestHead::default();
        }
        // Of pipelined requests only the first is seen: hyper closes the connection after a conflict in the
        // others.
        if self.connection.awaits_head() {
            self.head.push(bytes);
            if self.head.is_framed_twice() {
                self.connection.set_framed_twice();
            }
        }
    }

    /// Returns our own response if `written` is a refusal that hyper made.
    fn replace_refusal(&self, written: &[u8]) -> Option<Bytes> {
        if !self.connection.awaits_head() {
            return None;
        }
        let refusal = match hyper_refusal(written)? {
            431 => Refusal::LargeHead { bytes: HEAD_BYTES, lines: HEAD_LINES },
            414 => Refusal::LongTarget,
            _ => Refusal::NotHttp,
        };
        let gateway = self.live.gateway();
        let mut record = Record::new(self.live.clone(), gateway);
        let api = self.head.api();
        let mut response = error_response::refuse(&refusal, api, &record.id);
        set_request_id(response.headers_mut(), &record.id);
        let body = error_response::body_text(&refusal, api, &record.id);
        record.status = response.status().as_u16();
        record.bytes_out = body.len() as u64;
        record.end = End::Refused;
        Some(serialize(&response, &body))
    }
}

impl<S: AsyncWrite + Unpin> RequestHeadIo<S> {
    /// Writes `first`, or our response in place of hyper's refusal. Then it reports all of `first` as written.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        first: &[u8],
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if self.replacement.is_none() {
            self.replacement = self.replace_refusal(first);
        }
        let Some(replacement) = &mut self.replacement else {
            return write(Pin::new(&mut self.inner), cx);
        };
        while replacement.has_remaining() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, replacement))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            replacement.advance(written);
        }
        self.replacement = None;
        Poll::Ready(Ok(first.len()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for RequestHeadIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let was_between_requests = this.connection.is_between_requests();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        this.inspect_read(was_between_requests, &buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for RequestHeadIo<S> {
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

/// Returns the status of a refusal that hyper made: a head without a body and without our request id.
fn hyper_refusal(written: &[u8]) -> Option<u16> {
    let status = written.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    let is_head_only = written.ends_with(b"\r\n\r\n");
    if !is_head_only || memmem::find(written, KEYMUX_REQUEST_ID.as_str().as_bytes()).is_some() {
        return None;
    }
    let status = std::str::from_utf8(status).ok()?.parse().ok()?;
    matches!(status, 400 | 414 | 431).then_some(status)
}

/// Serializes a whole HTTP/1.1 response, after which the connection closes.
fn serialize<B>(head: &http::Response<B>, body: &str) -> Bytes {
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

/// Incremental scanner of one head. A line ends where hyper ends it: at the line feed, with or without a
/// carriage return before it.
#[derive(Debug, Default)]
struct RequestHead {
    /// The start of the request line.
    request_line: LineStart,
    /// The start of a line that has arrived in part.
    partial: LineStart,
    content_lengths: u8,
    has_transfer_encoding: bool,
    is_complete: bool,
}

/// The first bytes of a line.
#[derive(Debug)]
struct LineStart {
    bytes: [u8; LINE_START],
    length: usize,
}

impl Default for LineStart {
    fn default() -> Self {
        Self { bytes: [0; LINE_START], length: 0 }
    }
}

impl LineStart {
    fn push(&mut self, bytes: &[u8]) {
        let length = bytes.len().min(LINE_START - self.length);
        self.bytes[self.length..][..length].copy_from_slice(&bytes[..length]);
        self.length += length;
    }

    fn get(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl RequestHead {
    /// Scans the next bytes. Bytes after the head are ignored.
    fn push(&mut self, mut bytes: &[u8]) {
        while !self.is_complete && !bytes.is_empty() {
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

    /// Scans a line. The end of a long line may be missing.
    fn line(&mut self, line: &[u8]) {
        if line.is_empty() || line == b"\r" {
            // Empty lines before the request line are skipped (RFC 9112, section 2.2).
            self.is_complete = self.request_line.length > 0;
        } else if self.request_line.length == 0 {
            self.request_line.push(line);
        } else if is_field(line, b"content-length:") {
            self.content_lengths = self.content_lengths.saturating_add(1);
        } else if is_field(line, b"transfer-encoding:") {
            self.has_transfer_encoding = true;
        }
    }

    /// Returns true if a complete head delimits its body more than once.
    fn is_framed_twice(&self) -> bool {
        self.is_complete
            && usize::from(self.content_lengths) + usize::from(self.has_transfer_encoding) > 1
    }

    /// Returns the API whose error format the caller expects, by the path as far as it has arrived.
    fn api(&self) -> Api {
        let line = if self.request_line.length > 0 { &self.request_line } else { &self.partial };
        let path = line.get().split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        std::str::from_utf8(path).ok().and_then(routes::api_of).unwrap_or(Api::OpenAi)
    }
}

fn is_field(line: &[u8], name: &[u8]) -> bool {
    line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(pieces: &[&[u8]]) -> RequestHead {
        let mut head = RequestHead::default();
        for piece in pieces {
            head.push(piece);
        }
        head
    }

    #[test]
    fn a_body_delimited_twice_is_detected_in_any_chunking() {
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
                assert_eq!(scanned(&[a, b]).is_framed_twice(), twice, "{fields:?} cut at {at}");
            }
            let single_bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(
                scanned(&single_bytes).is_framed_twice(),
                twice,
                "{fields:?} in single_bytes"
            );
        }
    }

    #[test]
    fn the_request_line_selects_the_error_format() {
        for (pieces, api) in [
            (&[&b"POST /v1/messages HTTP/1.1\r\nx: y"[..]][..], Api::Anthropic),
            (&[b"POST /v1/mess", b"ages HTTP/1.1\r\n"], Api::Anthropic),
            (&[b"GET /v1beta/models/", &[b'x'; 100]], Api::Gemini),
            (&[b"\x16\x03\x01"], Api::OpenAi),
            (&[], Api::OpenAi),
        ] {
            assert_eq!(scanned(pieces).api(), api, "{pieces:?}");
        }
    }

    #[test]
    fn a_refusal_by_hyper_has_no_body_and_no_request_id() {
        let bare = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(hyper_refusal(bare), Some(400));
        let ours = b"HTTP/1.1 400 Bad Request\r\nx-keymux-request-id: req_1\r\n\r\n";
        assert_eq!(hyper_refusal(ours), None);
        assert_eq!(hyper_refusal(b"HTTP/1.1 100 Continue\r\n\r\n"), None);
        assert_eq!(hyper_refusal(b"HTTP/1.1 400 Bad Request\r\n\r\n{}"), None);
        assert_eq!(hyper_refusal(b"HTTP/1.1 4"), None);
    }
}
