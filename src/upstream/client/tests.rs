use std::task::Poll;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

struct Provider(TcpListener, HttpClient);

impl Provider {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let transport =
            Transport { proxy: None, ca: None, connect_timeout: Duration::from_secs(5) };
        let client = HttpClients::default().client(&transport, false, None).unwrap();
        Self(listener, client)
    }

    async fn send(&self) -> Sent {
        self.1.send(self.request()).await
    }

    fn request(&self) -> Request<RequestBody> {
        let address = self.0.local_addr().unwrap();
        let mut request = Request::new(RequestBody::whole(Bytes::from_static(b"{}")));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = format!("http://{address}/v1/x?y=1").parse().unwrap();
        request
    }

    async fn accept(&self) -> TcpStream {
        self.0.accept().await.unwrap().0
    }
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"{}") {
        assert_ne!(stream.read_buf(&mut text).await.unwrap(), 0, "a complete request");
    }
    String::from_utf8(text).unwrap()
}

async fn expect_closed(stream: &mut TcpStream) {
    let mut rest = [0; 16];
    let end = tokio::time::timeout(Duration::from_secs(2), stream.read(&mut rest));
    assert_eq!(end.await.expect("the end of the stream").unwrap_or(0), 0);
}

async fn exchange(provider: &Provider, stream: &mut TcpStream) {
    let server = async {
        let text = read_request(stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        text
    };
    let (answer, text) = tokio::join!(provider.send(), server);
    assert!(text.starts_with("POST /v1/x?y=1 HTTP/1.1\r\n"), "{text}");
    let host = format!("host: {}", provider.0.local_addr().unwrap());
    assert!(text.contains(&host), "{text}");
    assert_eq!(answer.unwrap().into_body().collect().await.unwrap().to_bytes(), "ok");
}

/// Runs the first exchange with a provider; returns the provider and the server's end of the connection.
async fn after_one_exchange() -> (Provider, TcpStream) {
    let provider = Provider::start().await;
    let server = async {
        let mut stream = provider.accept().await;
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        stream
    };
    let (answer, stream) = tokio::join!(provider.send(), server);
    answer.unwrap().into_body().collect().await.unwrap();
    (provider, stream)
}

#[tokio::test]
async fn a_connection_is_reused() {
    let (provider, mut stream) = after_one_exchange().await;
    exchange(&provider, &mut stream).await;
    exchange(&provider, &mut stream).await;
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_not_used() {
    let (provider, stream) = after_one_exchange().await;
    drop(stream);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let (answer, mut stream) = tokio::join!(provider.send(), async {
        let mut stream = provider.accept().await;
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        stream
    });
    assert_eq!(answer.unwrap().status(), 204);
    exchange(&provider, &mut stream).await;
}

#[tokio::test]
async fn a_closed_idle_connection_and_a_closed_new_one_are_different_errors() {
    let (provider, mut old) = after_one_exchange().await;
    let (answer, ()) = tokio::join!(provider.send(), async {
        read_request(&mut old).await;
        drop(old);
    });
    assert_eq!(answer.unwrap_err(), UpstreamError::StaleConnection);
    let (answer, ()) = tokio::join!(provider.1.send_on_new(provider.request()), async {
        let mut new = provider.accept().await;
        read_request(&mut new).await;
    });
    assert_eq!(answer.unwrap_err(), UpstreamError::ConnectionLost);
}

#[tokio::test]
async fn after_the_first_byte_of_an_answer_the_connection_is_not_stale() {
    let (provider, mut old) = after_one_exchange().await;
    let (answer, ()) = tokio::join!(provider.send(), async {
        read_request(&mut old).await;
        old.write_all(b"HTTP/1.1 200").await.unwrap();
        drop(old);
    });
    assert_eq!(answer.unwrap_err(), UpstreamError::ConnectionLost);
}

#[tokio::test]
async fn an_answer_dropped_early_closes_its_connection() {
    let provider = Provider::start().await;
    let (answer, mut stream) = tokio::join!(provider.send(), async {
        let mut stream = provider.accept().await;
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok").await.unwrap();
        stream
    });
    drop(answer.unwrap());
    expect_closed(&mut stream).await;
}

#[tokio::test]
async fn chunks_that_arrive_together_are_returned_without_pending() {
    let provider = Provider::start().await;
    let (answer, mut stream) = tokio::join!(provider.send(), async {
        let mut stream = provider.accept().await;
        read_request(&mut stream).await;
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let all = format!("{head}2\r\nab\r\n2\r\ncd\r\n1\r\ne\r\n0\r\n\r\n");
        stream.write_all(all.as_bytes()).await.unwrap();
        stream
    });
    let mut body = answer.unwrap().into_body();
    let mut received = Vec::new();
    std::future::poll_fn(|cx| {
        loop {
            match Pin::new(&mut body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => received.push(frame.into_data().unwrap()),
                Poll::Ready(None) => return Poll::Ready(()),
                other => panic!("{other:?}"),
            }
        }
    })
    .await;
    assert_eq!(received, ["ab", "cd", "e"]);
    exchange(&provider, &mut stream).await;
}

#[tokio::test]
async fn data_before_a_lost_connection_is_returned_before_the_error() {
    let provider = Provider::start().await;
    let (answer, ()) = tokio::join!(provider.send(), async {
        let mut stream = provider.accept().await;
        read_request(&mut stream).await;
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(format!("{head}2\r\nab\r\n2\r\ncd\r\n").as_bytes()).await.unwrap();
    });
    let mut body = answer.unwrap().into_body();
    let mut received = Vec::new();
    let error = loop {
        match body.frame().await.expect("an error before the end") {
            Ok(frame) => received.extend_from_slice(&frame.into_data().unwrap()),
            Err(error) => break error,
        }
    };
    assert_eq!(received, b"abcd", "{error}");
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn an_unused_idle_connection_is_closed() {
    let (_provider, mut stream) = after_one_exchange().await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    tokio::task::yield_now().await;
    tokio::time::advance(Duration::from_secs(60)).await;
    tokio::time::resume();
    expect_closed(&mut stream).await;
}

/// Sends two requests to a TLS server that offers this protocol. Returns the HTTP versions of the answers and
/// the number of connections that carried a request.
async fn over_tls(alpn: &'static [u8]) -> (Vec<http::Version>, usize) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der());
    let certificate = made.cert.der().clone();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.unwrap())
        .unwrap();
    config.alpn_protocols = vec![alpn.to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = connections.clone();
    tokio::spawn(async move {
        loop {
            let stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            let (count, first) = (count.clone(), std::sync::atomic::AtomicBool::new(true));
            let service = hyper::service::service_fn(move |_| {
                if first.swap(false, std::sync::atomic::Ordering::SeqCst) {
                    count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                }
                async { Ok::<_, hyper::Error>(Response::new("ok".to_owned())) }
            });
            tokio::spawn(async move {
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let io = hyper_util::rt::TokioIo::new(stream);
                let _ = server.serve_connection(io, service).await;
            });
        }
    });
    let connect_timeout = Duration::from_secs(5);
    let transport = Transport { proxy: None, ca: Some([certificate].into()), connect_timeout };
    let client = HttpClients::default().client(&transport, true, None).unwrap();
    let mut versions = Vec::new();
    for _ in 0..2 {
        let mut request = Request::new(RequestBody::whole(Bytes::from_static(b"{}")));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = format!("https://localhost:{port}/").parse().unwrap();
        let answer = client.send(request).await.unwrap();
        versions.push(answer.version());
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
    }
    (versions, connections.load(std::sync::atomic::Ordering::SeqCst))
}

#[tokio::test]
async fn two_http1_requests_share_one_connection() {
    assert_eq!(over_tls(b"http/1.1").await, (vec![http::Version::HTTP_11; 2], 1));
}

#[tokio::test]
async fn two_http2_requests_share_one_connection() {
    assert_eq!(over_tls(b"h2").await, (vec![http::Version::HTTP_2; 2], 1));
}
