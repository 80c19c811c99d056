//! The program itself, as a child process on a configuration of the test's.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::PATIENCE;
use super::http::{self, Reply};

const STEP: Duration = Duration::from_millis(10);

/// How often other ports are tried when something else took the chosen ones.
const PORT_ATTEMPTS: usize = 5;

/// A running keymux. It is killed when dropped, and its log is shown when the test fails.
#[derive(Debug)]
pub struct Keymux {
    child: Child,
    folder: TempDir,
    port: u16,
    admin: u16,
}

impl Keymux {
    /// Starts on the text of a configuration file and waits until it is ready. In the text, `{PORT}`
    /// and `{ADMIN}` stand for free ports, `{DIR}` for the folder of the file.
    pub async fn start(config: &str, env: &[(&str, &str)]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), config, env).await
    }

    /// [`Keymux::start`] in a folder that may hold other files already.
    pub async fn start_in(folder: TempDir, config: &str, env: &[(&str, &str)]) -> Self {
        let mut folder = folder;
        for _ in 0..PORT_ATTEMPTS {
            let [port, admin] = free_ports();
            let mut keymux = Self::spawn(folder, port, admin, config, env);
            match keymux.ready().await {
                Ok(()) => return keymux,
                Err(problem) if keymux.log().to_lowercase().contains("in use") => {
                    println!("{problem}; trying other ports");
                    folder = std::mem::replace(&mut keymux.folder, tempfile::tempdir().unwrap());
                }
                Err(problem) => panic!("{problem}"),
            }
        }
        panic!("no free ports in {PORT_ATTEMPTS} attempts");
    }

    fn spawn(folder: TempDir, port: u16, admin: u16, config: &str, env: &[(&str, &str)]) -> Self {
        let path = folder.path().join("keymux.toml");
        fs::write(&path, fill_in(config, port, admin, folder.path())).unwrap();
        let child = command(env)
            .current_dir(folder.path())
            .args(["run", "--config"])
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(File::create(folder.path().join("stdout")).unwrap())
            .stderr(File::create(folder.path().join("stderr")).unwrap())
            .spawn()
            .expect("the keymux program");
        Self { child, folder, port, admin }
    }

    async fn ready(&mut self) -> Result<(), String> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Err(format!("keymux ended at once ({status})"));
            }
            if TcpStream::connect(self.admin_address()).await.is_ok()
                && self.admin("/readyz").await.status() == 200
            {
                // A program that found its ports taken ends, and whoever has them answers.
                sleep(STEP).await;
                return match self.child.try_wait().unwrap() {
                    Some(status) => Err(format!("keymux ended at once ({status})")),
                    None => Ok(()),
                };
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("keymux was not ready within {PATIENCE:?}"));
            }
            sleep(STEP).await;
        }
    }

    /// Where programs call.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Where the admin listener stands.
    pub fn admin_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.admin).into()
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// `http://127.0.0.1:PORT` of the admin listener.
    pub fn admin_url(&self) -> String {
        format!("http://{}", self.admin_address())
    }

    /// GET on the admin listener.
    pub async fn admin(&self, path: &str) -> Reply {
        http::get(self.admin_address(), path, &[]).await
    }

    /// The folder of the configuration file.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.folder().join("keymux.toml")
    }

    /// A text with this keymux's ports and folder in it.
    pub fn fill_in(&self, config: &str) -> String {
        fill_in(config, self.port, self.admin, self.folder())
    }

    /// Writes the configuration file anew, in place.
    pub fn rewrite(&self, config: &str) {
        fs::write(self.config_path(), self.fill_in(config)).unwrap();
    }

    /// Standard output, then standard error, so far.
    pub fn log(&self) -> String {
        ["stdout", "stderr"]
            .map(|name| fs::read(self.folder().join(name)).unwrap_or_default())
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .concat()
    }

    /// Waits until the log holds a text, and returns the log.
    pub async fn log_with(&self, text: &str) -> String {
        let start = Instant::now();
        loop {
            let log = self.log();
            if log.contains(text) {
                return log;
            }
            assert!(start.elapsed() < PATIENCE, "the log never said {text:?}");
            sleep(STEP).await;
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// SIGTERM; waits for the end.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Waits for the end.
    pub async fn ended(&mut self) -> ExitStatus {
        let end = async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status;
                }
                sleep(STEP).await;
            }
        };
        timeout(PATIENCE, end).await.expect("keymux did not end")
    }
}

impl Drop for Keymux {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("--- keymux said:\n{}---", self.log());
        }
    }
}

/// Runs a command of keymux to its end in a folder.
pub fn run(folder: &Path, arguments: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = command(env);
    command.current_dir(folder).args(arguments).stdin(Stdio::null());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_child(&child);
    let (ended, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || ended.send(child.wait_with_output()));
    let Ok(output) = end.recv_timeout(PATIENCE) else {
        let _ = kill_process(pid, Signal::KILL);
        panic!("keymux {arguments:?} did not end within {PATIENCE:?}");
    };
    output.unwrap()
}

/// The program without the settings that the machine's own environment may hold.
fn command(env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keymux"));
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("KEYMUX_") || name_text == "RUST_LOG" {
            command.env_remove(&name);
        }
    }
    command.envs(env.iter().copied());
    command
}

fn fill_in(config: &str, port: u16, admin: u16, folder: &Path) -> String {
    config
        .replace("{PORT}", &port.to_string())
        .replace("{ADMIN}", &admin.to_string())
        .replace("{DIR}", &folder.display().to_string())
}

/// Ports that are free, and that no other test is given. They lie below those which the system hands
/// out by itself, so that no connection of another test takes one in the meantime.
pub fn free_ports() -> [u16; 2] {
    [(); 2].map(|()| {
        loop {
            let port = next_port();
            if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return port;
            }
        }
    })
}

/// Goes round in 10,000..32,000 (Linux hands out ports from 32,768 on). Programs that run side by
/// side begin at different places.
fn next_port() -> u16 {
    static TURN: AtomicU32 = AtomicU32::new(0);
    let place =
        std::process::id().wrapping_mul(61).wrapping_add(TURN.fetch_add(1, Ordering::Relaxed));
    10_000 + u16::try_from(place % 22_000).unwrap()
}
