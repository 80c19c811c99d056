//! The `keymux` command: parses arguments, calls the library, prints and exits.

use std::process::ExitCode;

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the place that prints")]
fn main() -> ExitCode {
    let output = keymux::cli::run(std::env::args_os());
    if !output.stdout.is_empty() {
        print!("{}", output.stdout);
    }
    if !output.stderr.is_empty() {
        eprint!("{}", output.stderr);
    }
    ExitCode::from(output.exit_code)
}
