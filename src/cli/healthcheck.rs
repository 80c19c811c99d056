//! `keymux healthcheck`: asks the admin listener of the same file for `/readyz`.

use super::Said;
use super::admin_client::ask;
use super::run::said;
use crate::config::{self, LoadOptions, SystemEnvironment};

pub(super) fn healthcheck(options: &LoadOptions) -> Said {
    // Not the whole file: while somebody edits it, the gateway serves on with the last good one.
    let Some(listen) = config::read_admin_address(options, &SystemEnvironment) else {
        let said = "keymux: `admin.listen` is not an address; see `keymux check`\n";
        return Said::failed(said.into(), 1);
    };
    match ask(&listen, "/readyz", None) {
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
