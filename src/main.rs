//! The `keymux` command.
fn main() {}
