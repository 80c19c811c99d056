//! The provider that is played: a plain answer of about 1 kB, or a stream of [`CHUNKS`] paced chunks.
//!
//! It and the callers write their HTTP by hand. They share a core, often the only one, and if they were
//! what limits the faster proxy, its wake-ups would be fewer and its requests cheaper for that alone.

use std::time::Duration;

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval};

use crate::Result;
use crate::role::listen;

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
    let listener = listen().await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // What goes wrong here is seen by the callers, who compare whole answers.
        tokio::spawn(async move { drop(connection(stream, pause).await) });
    }
}

async fn connection(mut stream: TcpStream, pause: Duration) -> Result<()> {
    let plain = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{PLAIN}",
        PLAIN.len()
    );
    let mut read = Vec::with_capacity(4096);
    loop {
        read.clear();
        while body(&read).is_none() {
            if stream.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        }
        if !KEYS.iter().any(|key| memmem::find(&read, key.as_bytes()).is_some()) {
            stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").await?;
        } else if read.ends_with(br#""stream":true}"#) {
            send_stream(&mut stream, pause).await?;
        } else {
            stream.write_all(plain.as_bytes()).await?;
        }
    }
}

/// The body of a request, once it is there as a whole.
fn body(request: &[u8]) -> Option<&[u8]> {
    let (head, body) = request.split_at(memmem::find(request, b"\r\n\r\n")? + 4);
    let length = std::str::from_utf8(head).ok()?.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    (body.len() == length?).then_some(body)
}

async fn send_stream(stream: &mut TcpStream, pause: Duration) -> Result<()> {
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let word = format!("{:x}\r\n{WORD}\r\n", WORD.len());
    let last = format!("{:x}\r\n{LAST}\r\n0\r\n\r\n", LAST.len());
    let mut ticks = interval(pause);
    // Chunks that are late must not be sent together: they would be one for the proxy.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    stream.write_all(head.as_bytes()).await?;
    for _ in 1..CHUNKS {
        ticks.tick().await;
        stream.write_all(word.as_bytes()).await?;
    }
    ticks.tick().await;
    stream.write_all(last.as_bytes()).await?;
    Ok(())
}
