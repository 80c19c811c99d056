//! What keymux costs beside the least that a proxy on hyper can do, on loopback.
//!
//! `cargo bench --bench proxy`, for a first look with `-- --quick`; `benches/README.md` says how to read
//! the table.
//!
//! ```text
//! compare.rs   starts the rest, loads both proxies in turns, prints the table
//! load.rs      the callers
//! mock.rs      the provider, a process of its own
//! floor.rs     the proxy to compare with, a process of its own
//! role.rs      this program as one of the two
//! children.rs  the processes
//! measure.rs   CPU time, memory, cores, medians
//! ```

#[cfg(target_os = "linux")]
mod children;
#[cfg(target_os = "linux")]
mod compare;
#[cfg(target_os = "linux")]
mod floor;
#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod measure;
#[cfg(target_os = "linux")]
mod mock;
#[cfg(target_os = "linux")]
mod role;

use std::process::ExitCode;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Result<T> = std::result::Result<T, Error>;

#[expect(clippy::print_stderr, reason = "a program of its own")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("proxy: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(target_os = "linux")]
#[expect(clippy::print_stdout, reason = "a program of its own")]
fn run(arguments: &[&str]) -> Result<()> {
    if let [role @ ("mock" | "floor"), of] = arguments {
        return role::play(role, of);
    }
    // `cargo bench` says `--bench`; `cargo test --benches` and those that list tests do not.
    let known = |argument: &&str| ["--bench", "--quick"].contains(argument);
    if !arguments.contains(&"--bench") || !arguments.iter().all(known) {
        println!("proxy: not run; `cargo bench --bench proxy [-- --quick]` runs it");
        return Ok(());
    }
    compare::run(arguments.contains(&"--quick"))
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::print_stdout, clippy::unnecessary_wraps, reason = "as on Linux")]
fn run(_: &[&str]) -> Result<()> {
    println!(
        "proxy: not run; it reads CPU time from /proc and pins processes to cores: Linux only"
    );
    Ok(())
}
