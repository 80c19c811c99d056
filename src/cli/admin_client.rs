//! Asking the admin listener of a running program.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::config::Listen;
use crate::secret::Secret;
use crate::upstream::auth::bearer;

/// A program that runs answers at once.
const PATIENCE: Duration = Duration::from_secs(3);
/// More than the state of some thousand keys.
const MOST: u64 = 64 * 1024 * 1024;

/// The answer to GET on an admin listener, head and body, with this for its token.
pub(super) fn ask(listen: &Listen, path: &str, token: Option<&Secret>) -> io::Result<String> {
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
            let stream = TcpStream::connect_timeout(&reachable(*address), PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            exchange(stream, &request)
        }
        Listen::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            exchange(stream, &request)
        }
        Listen::Systemd(_) => {
            Err(io::Error::other("the address of a socket of systemd is not known"))
        }
    }
}

/// A listener on every address is asked on loopback.
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
    let mut answer = Vec::new();
    stream.take(MOST).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
