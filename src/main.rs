//! The `keymux` command: parses arguments, calls the library, prints and exits.

use std::process::ExitCode;

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the place that prints")]
fn main() -> ExitCode {
    let said = keymux::cli::run(std::env::args_os());
    if !said.out.is_empty() {
        print!("{}", said.out);
    }
    if !said.err.is_empty() {
        eprint!("{}", said.err);
    }
    ExitCode::from(said.code)
}
