//! A provider that does what a script says and writes down what it got.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::http::{Connection, Framing, Head, patiently};

/// One thing done on a connection. After the last step the connection takes the next request.
#[derive(Clone, Debug)]
pub enum Step {
    Send(Vec<u8>),
    Pause(Duration),
    /// Nothing, until the peer leaves.
    Hang,
    /// FIN: no more bytes, both ways.
    Close,
    /// FIN in one direction; goes on reading.
    HalfClose,
    /// RST.
    Reset,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// From 0, in order of arrival.
    pub number: usize,
    /// Which connection it came on, from 0.
    pub connection: usize,
    pub at: Instant,
    pub head: Head,
    pub body: Vec<u8>,
}

impl Received {
    pub fn method(&self) -> &str {
        self.head.first_line.split(' ').next().unwrap_or_default()
    }

    pub fn path(&self) -> &str {
        self.head.first_line.split(' ').nth(1).unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }
}

/// The provider. Dropping it closes its port and all its connections.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    book: Arc<Book>,
    task: JoinHandle<()>,
}

type Script = dyn Fn(&Received) -> Vec<Step> + Send + Sync;

#[derive(Debug, Default)]
struct Book {
    connections: AtomicUsize,
    /// Nothing is written in it.
    counts_only: bool,
    requests: Mutex<Vec<Received>>,
    /// When the peer was seen to leave, by number of the request that was being answered.
    left: Mutex<Vec<Option<Instant>>>,
    news: watch::Sender<()>,
}

impl Upstream {
    /// Answers each request with the steps that the script chooses for it.
    pub async fn start(script: impl Fn(&Received) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::with_book(Book::default(), script).await
    }

    /// [`Upstream::start`] for a load without end: what comes is counted and not kept.
    pub async fn unbooked(script: impl Fn(&Received) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::with_book(Book { counts_only: true, ..Book::default() }, script).await
    }

    async fn with_book(
        book: Book,
        script: impl Fn(&Received) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let book = Arc::new(book);
        let task = tokio::spawn(accept(listener, Arc::new(script), Arc::clone(&book)));
        Self { address, book, task }
    }

    /// Answers every request in the same way.
    pub async fn always(steps: Vec<Step>) -> Self {
        Self::start(move |_| steps.clone()).await
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn connections(&self) -> usize {
        self.book.connections.load(Ordering::SeqCst)
    }

    pub fn requests(&self) -> Vec<Received> {
        self.book.requests.lock().unwrap().clone()
    }

    /// Waits for the request with this number.
    pub async fn request(&self, number: usize) -> Received {
        self.wait("a request", |book| book.requests.lock().unwrap().get(number).cloned()).await
    }

    /// Waits until the peer leaves while this request is being answered; says when.
    pub async fn left(&self, number: usize) -> Instant {
        self.wait("the peer to leave", |book| {
            book.left.lock().unwrap().get(number).copied().flatten()
        })
        .await
    }

    async fn wait<T>(&self, what: &str, look: impl Fn(&Book) -> Option<T>) -> T {
        let mut news = self.book.news.subscribe();
        patiently(what, async {
            loop {
                if let Some(found) = look(&self.book) {
                    return found;
                }
                news.changed().await.unwrap();
            }
        })
        .await
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, script: Arc<Script>, book: Arc<Book>) {
    // Aborts the connections when the listener's task is aborted.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let number = book.connections.fetch_add(1, Ordering::SeqCst);
        connections.spawn(serve(stream, number, Arc::clone(&script), Arc::clone(&book)));
    }
}

async fn serve(stream: TcpStream, connection: usize, script: Arc<Script>, book: Arc<Book>) {
    stream.set_nodelay(true).unwrap();
    let mut peer = Connection::new(stream);
    // Pooled connections idle for as long as they like, so reading a head has no deadline here.
    while let Some(head) = peer.head_at_leisure().await {
        let (body, complete) = peer.body(Framing::of_request(&head)).await;
        let at = Instant::now();
        let mut received = Received { number: 0, connection, at, head, body };
        if !book.counts_only {
            let mut requests = book.requests.lock().unwrap();
            received.number = requests.len();
            requests.push(received.clone());
            book.left.lock().unwrap().push((!complete).then_some(at));
        }
        book.news.send_replace(());
        if !complete {
            return;
        }
        for step in script(&received) {
            if !perform(step, &mut peer).await {
                if let Some(left) = book.left.lock().unwrap().get_mut(received.number) {
                    *left = Some(Instant::now());
                }
                book.news.send_replace(());
                return;
            }
        }
    }
}

/// `false`: the connection is over.
async fn perform(step: Step, peer: &mut Connection) -> bool {
    match step {
        Step::Send(bytes) => peer.stream.write_all(&bytes).await.is_ok(),
        Step::Pause(time) => tokio::select! {
            () = sleep(time) => true,
            () = peer.closed() => false,
        },
        Step::Hang => {
            peer.closed().await;
            false
        }
        Step::HalfClose => peer.stream.shutdown().await.is_ok(),
        Step::Close => false,
        Step::Reset => {
            peer.stream.set_zero_linger().unwrap();
            false
        }
    }
}

/// An answer with a length.
pub fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<Step> {
    let mut head = head(status, headers);
    head.extend(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    head.extend(body);
    vec![Step::Send(head)]
}

/// An answer in JSON.
pub fn json_answer(status: u16, body: &Value) -> Vec<Step> {
    answer(status, &[("content-type", "application/json")], body.to_string().as_bytes())
}

/// A chat completion of one sentence.
pub fn chat_answer(text: &str) -> Vec<Step> {
    json_answer(
        200,
        &json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "test-model",
            "choices": [{
                "index": 0, "finish_reason": "stop",
                "message": {"role": "assistant", "content": text},
            }],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        }),
    )
}

/// A stream of server-sent events, each written by itself and `pace` after the one before. The
/// first step is the head, then every event is a step, preceded by its pause; the last ends it.
pub fn sse(events: &[String], pace: Duration) -> Vec<Step> {
    let mut head = head(200, &[("content-type", "text/event-stream")]);
    head.extend(b"transfer-encoding: chunked\r\n\r\n");
    let mut steps = vec![Step::Send(head)];
    for event in events {
        steps.push(Step::Pause(pace));
        steps.push(Step::Send(chunk(event.as_bytes())));
    }
    steps.push(Step::Send(b"0\r\n\r\n".to_vec()));
    steps
}

/// The events of a streamed chat completion, one a word, with usage and `[DONE]`.
pub fn chat_events(words: &[&str]) -> Vec<String> {
    let event = |choices: Value, usage: Value| {
        let event = json!({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1,
            "model": "test-model", "choices": choices, "usage": usage,
        });
        format!("data: {event}\n\n")
    };
    let delta = |word: &&str| {
        event(json!([{"index": 0, "delta": {"content": word}, "finish_reason": null}]), Value::Null)
    };
    let mut events: Vec<String> = words.iter().map(delta).collect();
    events.push(event(json!([{"index": 0, "delta": {}, "finish_reason": "stop"}]), Value::Null));
    events.push(event(json!([]), json!({"prompt_tokens": 3, "completion_tokens": words.len()})));
    events.push("data: [DONE]\n\n".to_owned());
    events
}

/// A whole message of Anthropic's of one sentence.
pub fn message_answer(text: &str) -> Vec<Step> {
    json_answer(
        200,
        &json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "test-model",
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn", "stop_sequence": null,
            "usage": {"input_tokens": 3, "output_tokens": 2},
        }),
    )
}

/// The events of a streamed message of Anthropic's, one a word.
pub fn message_events(words: &[&str]) -> Vec<String> {
    let event = |kind: &str, mut data: Value| {
        data["type"] = kind.into();
        format!("event: {kind}\ndata: {data}\n\n")
    };
    let message = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "test-model",
        "content": [], "stop_reason": null, "usage": {"input_tokens": 3, "output_tokens": 1},
    });
    let mut events = vec![
        event("message_start", json!({"message": message})),
        event(
            "content_block_start",
            json!({"index": 0, "content_block": {"type": "text", "text": ""}}),
        ),
    ];
    events.extend(words.iter().map(|word| {
        let delta = json!({"type": "text_delta", "text": word});
        event("content_block_delta", json!({"index": 0, "delta": delta}))
    }));
    events.push(event("content_block_stop", json!({"index": 0})));
    let usage = json!({"output_tokens": words.len()});
    events.push(event(
        "message_delta",
        json!({"delta": {"stop_reason": "end_turn"}, "usage": usage}),
    ));
    events.push(event("message_stop", json!({})));
    events
}

/// Keeps the head and the first `events` events of [`sse`], then does `end`.
pub fn cut(mut steps: Vec<Step>, events: usize, end: Step) -> Vec<Step> {
    steps.truncate(1 + 2 * events);
    steps.push(end);
    steps
}

/// One chunk of a chunked body.
pub fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// Status line and headers, without the empty line.
fn head(status: u16, headers: &[(&str, &str)]) -> Vec<u8> {
    use std::fmt::Write;
    let mut head = format!("HTTP/1.1 {status} Scripted\r\n");
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head.into_bytes()
}
