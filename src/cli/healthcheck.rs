//! `keymux healthcheck`: asks the admin listener of the same file for `/readyz`.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::Said;
use super::run::said;
use crate::config::{self, Host, Listen, Options};

/// A gateway that is ready answers at once.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) fn healthcheck(options: &Options) -> Said {
    // Not the whole file: while somebody edits it, the gateway serves on with the last good one.
    let Some(listen) = config::admin_listener(options, &Host) else {
        let said = "keymux: `admin.listen` is not an address; see `keymux check`\n";
        return Said::failed(said.into(), 1);
    };
    match ask(&listen) {
        Ok(head) if head.starts_with("HTTP/1.1 200 ") => {
            Said { out: "ready\n".into(), ..Said::default() }
        }
        Ok(head) => {
            let line = head.lines().next().unwrap_or_default();
            Said::failed(format!("keymux: not ready: {line}\n"), 1)
        }
        Err(error) => {
            let at = said(&listen);
            Said::failed(
                format!("keymux: not ready: no answer at {at} (admin.listen): {error}\n"),
                1,
            )
        }
    }
}

fn ask(listen: &Listen) -> io::Result<String> {
    match listen {
        Listen::Tcp(address) => {
            let stream = TcpStream::connect_timeout(&reachable(*address), PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            exchange(stream)
        }
        Listen::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            exchange(stream)
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

fn exchange(mut stream: impl Read + Write) -> io::Result<String> {
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: keymux\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
