//! Requests to the admin listener of the running gateway.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::config::Listen;
use crate::secret::Secret;
use crate::upstream::secret_header::bearer;

/// A running gateway responds immediately.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Maximum size of a response: more than the state of thousands of keys.
const MAX_RESPONSE: u64 = 64 * 1024 * 1024;

/// Sends a GET request with the admin token. Returns head and body of the response.
pub(super) fn get(listen: &Listen, path: &str, token: Option<&Secret>) -> io::Result<String> {
    let mut request =
        format!("GET {path} HTTP/1.1\r\nhost: keymux\r\nconnection: close\r\n").into_bytes();
    if let Some(token) = token {
        request.extend_from_slice(b"authorization: ");
        request.extend_from_slice(bearer(token)?.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    match listen {
        Listen::Tcp(address) => {
            let stream = TcpStream::connect_timeout(&reachable(*address), TIMEOUT)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            stream.set_write_timeout(Some(TIMEOUT))?;
            exchange(stream, &request)
        }
        Listen::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            exchange(stream, &request)
        }
        Listen::Systemd(_) => {
            Err(io::Error::other("the address of a socket from systemd is not known"))
        }
    }
}

/// Replaces an unspecified address by loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

fn exchange(mut stream: impl Read + Write, request: &[u8]) -> io::Result<String> {
    stream.write_all(request)?;
    let mut response = Vec::new();
    stream.take(MAX_RESPONSE).read_to_end(&mut response)?;
    Ok(String::from_utf8_lossy(&response).into_owned())
}
