//! The processes of a comparison: this program in one of its roles, or keymux.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{Result, load, mock};

/// How long keymux may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// A process that serves. It is killed when dropped.
pub(crate) struct Server {
    child: Child,
    /// Where.
    pub(crate) address: SocketAddr,
    /// Kept as long as keymux may read its file.
    _folder: Option<TempDir>,
}

impl Server {
    /// This program in a role, which says on its first line where it listens.
    pub(crate) fn role(role: &str, of: &str) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([role, of])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let address = line.trim().parse().map_err(|_| format!("{role} does not listen"))?;
        Ok(Self { child, address, _folder: None })
    }

    /// keymux as it is used: a client's key to check, two weighted keys to choose from, and an access
    /// line for each request.
    pub(crate) fn keymux(upstream: SocketAddr) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("keymux.toml");
        let [address, admin] = free_addresses()?;
        let (client, [a, b]) = (load::CLIENT_KEY, mock::KEYS);
        fs::write(
            &file,
            format!(
                r#"
                server.listen = "{address}"
                admin.listen = "{admin}"
                [[clients]]
                name = "bench"
                key = "{client}"
                [providers.mock]
                kind = "openai-compatible"
                base_url = "http://{upstream}/v1"
                [[providers.mock.keys]]
                name = "a"
                value = "{a}"
                weight = 3
                [[providers.mock.keys]]
                name = "b"
                value = "{b}"
                "#
            ),
        )?;
        // Nothing of the environment, which may hold settings of keymux.
        let child = Command::new(env!("CARGO_BIN_EXE_keymux"))
            .env_clear()
            .args(["run", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        let mut server = Self { child, address, _folder: Some(folder) };
        server.wait_until_it_listens()?;
        Ok(server)
    }

    fn wait_until_it_listens(&mut self) -> Result<()> {
        let start = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("keymux ended at once ({status})").into());
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("keymux does not listen at {}", self.address).into());
            }
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Addresses that are free now. Something else may take one before keymux does; keymux says so.
fn free_addresses() -> Result<[SocketAddr; 2]> {
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let (one, other) = (listen()?, listen()?);
    Ok([one.local_addr()?, other.local_addr()?])
}
