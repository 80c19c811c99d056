//! `keymux healthcheck`: requests `/readyz` from the admin listener of the running gateway.

use super::CommandOutput;
use super::admin_client::get;

use crate::config::{self, LoadOptions, SystemEnvironment};

pub(super) fn healthcheck(options: &LoadOptions) -> CommandOutput {
    // Only the address: while the file is being edited, the gateway continues with the last valid one.
    let Some(listen) = config::read_admin_address(options, &SystemEnvironment) else {
        let error = "keymux: `admin.listen` is not a valid address; run `keymux check`\n";
        return CommandOutput::failed(error.into(), 1);
    };
    match get(&listen, "/readyz", None) {
        Ok(head) if head.starts_with("HTTP/1.1 200 ") => {
            CommandOutput { stdout: "ready\n".into(), ..CommandOutput::default() }
        }
        Ok(head) => {
            let line = head.lines().next().unwrap_or_default();
            CommandOutput::failed(format!("keymux: not ready: {line}\n"), 1)
        }
        Err(error) => CommandOutput::failed(
            format!("keymux: not ready: no response from {listen} (admin.listen): {error}\n"),
            1,
        ),
    }
}
