//! The address of a listener.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The address of a listener. Displayed as the file writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `127.0.0.1:8787`, `[::1]:8787`
    Tcp(SocketAddr),
    /// `unix:/run/keymux/keymux.sock`
    Unix(PathBuf),
    /// `systemd` or `systemd:NAME`: a socket that systemd passes (`LISTEN_FDS`), the first one or the
    /// one with that `FileDescriptorName=`.
    Systemd(Option<String>),
}

impl Listen {
    /// Parses an address as the file writes it. The path of a unix socket must be absolute.
    pub(super) fn parse(written: &str) -> Option<Self> {
        if let Some(socket) = written.strip_prefix("unix:") {
            return socket.starts_with('/').then(|| Self::Unix(socket.into()));
        }
        match written.strip_prefix("systemd") {
            Some("") => Some(Self::Systemd(None)),
            Some(name) => {
                let name = name.strip_prefix(':').filter(|name| !name.is_empty())?;
                Some(Self::Systemd(Some(name.to_owned())))
            }
            None => written.parse().ok().map(Self::Tcp),
        }
    }

    /// True if only this machine can reach the listener. A socket from systemd may be anything.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
            Self::Systemd(_) => false,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Systemd(None) => f.write_str("systemd"),
            Self::Systemd(Some(name)) => write!(f, "systemd:{name}"),
        }
    }
}
