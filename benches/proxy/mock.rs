//! The provider that is played: a plain answer of about 1 kB, or a stream of [`CHUNKS`] paced chunks.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::Result;
use crate::role::serve;

/// Chunks of a stream, the last of which ends it.
pub(crate) const CHUNKS: u32 = 100;

/// What a proxy must show; the caller's own key is another.
pub(crate) const KEYS: [&str; 2] =
    ["provider-key-0123456789abcdef-a", "provider-key-0123456789abcdef-b"];

/// The answer to a request that asks for no stream.
pub(crate) const PLAIN: &str = concat!(
    r#"{"id":"chatcmpl-0123456789abcdef","object":"chat.completion","created":1700000000,"#,
    r#""model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"message":{"role":"assistant","content":""#,
    "A proxy stands between those who ask and those who answer. It takes a request, finds out where it ",
    "should go, shows there a key that the caller never sees, and hands back what it is given. It should ",
    "add little of its own: each microsecond that it spends on a request is spent on all of them, and each ",
    "buffer that it keeps is kept for every open stream. What it may not do is to change what was said, ",
    "to lose a part of it, or to say that an answer is whole when it is not.",
    r#"","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":78,"#,
    r#""completion_tokens":103,"total_tokens":181,"prompt_tokens_details":{"cached_tokens":0,"#,
    r#""audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"#,
    r#""accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"service_tier":"default","#,
    r#""system_fingerprint":"fp_0123456789"}"#,
);

const WORD: &str = concat!(
    r#"data: {"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk","created":1700000000,"#,
    r#""model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_0123456789","#,
    r#""choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}]}"#,
    "\n\n",
);

const LAST: &str = concat!(
    r#"data: {"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk","created":1700000000,"#,
    r#""model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_0123456789","#,
    r#""choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}"#,
    "\n\ndata: [DONE]\n\n",
);

/// All that a stream says.
pub(crate) fn stream() -> String {
    WORD.repeat(CHUNKS as usize - 1) + LAST
}

/// Serves for ever; `pause` lies between two chunks of a stream.
pub(crate) async fn run(pause: Duration) -> Result<()> {
    serve(move || service_fn(move |request| answer(request, pause))).await
}

type Answer = Response<Either<Full<Bytes>, Paced>>;

async fn answer(
    request: Request<Incoming>,
    pause: Duration,
) -> std::result::Result<Answer, Infallible> {
    let shown = request.headers().get(AUTHORIZATION).and_then(|shown| shown.to_str().ok());
    let shown = shown.and_then(|shown| shown.strip_prefix("Bearer "));
    let known = shown.is_some_and(|shown| KEYS.contains(&shown));
    let whole = request.into_body().collect().await;
    let Some(body) = whole.ok().filter(|_| known) else {
        let mut refusal = Response::new(Either::Left(Full::default()));
        *refusal.status_mut() = StatusCode::UNAUTHORIZED;
        return Ok(refusal);
    };
    let stream = body.to_bytes().ends_with(br#""stream":true}"#);
    let (kind, body) = if stream {
        ("text/event-stream; charset=utf-8", Either::Right(Paced::new(pause)))
    } else {
        ("application/json", Either::Left(Full::new(Bytes::from_static(PLAIN.as_bytes()))))
    };
    let mut answer = Response::new(body);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(answer)
}

/// A stream, a chunk a tick.
struct Paced {
    left: u32,
    ticks: Interval,
}

impl Paced {
    fn new(pause: Duration) -> Self {
        let mut ticks = interval(pause);
        // Chunks that are late must not be sent together: they would be one for the proxy.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { left: CHUNKS, ticks }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        ready!(self.ticks.poll_tick(context));
        self.left -= 1;
        let chunk = if self.left == 0 { LAST } else { WORD };
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(chunk.as_bytes())))))
    }
}
