//! Names of tools, as each format accepts them.

use crate::wire::ir::{Request, Tool};
use crate::wire::json::fields::Rejected;

/// Checks the name of every function against what the target accepts: 1 to `max_len` ASCII letters, digits
/// and the bytes of `others`.
///
/// # Errors
///
/// When a name is not accepted; with the place of its tool.
pub(crate) fn check(request: &Request, max_len: usize, others: &[u8]) -> Result<(), Rejected> {
    for tool in &request.tools {
        if let Tool::Function { name, at, .. } = tool {
            check_name(name, at, max_len, others)?;
        }
    }
    Ok(())
}

/// Checks one name, of a function or of a call.
///
/// # Errors
///
/// When it is not accepted; with `at`, its place.
pub(crate) fn check_name(
    name: &str,
    at: &str,
    max_len: usize,
    others: &[u8],
) -> Result<(), Rejected> {
    if is_accepted(name, max_len, others) {
        return Ok(());
    }
    let others: Vec<_> = others.iter().map(|byte| format!("`{}`", char::from(*byte))).collect();
    let why = format!("must have a name of 1 to {max_len} letters, digits, {}", others.join(", "));
    Err(Rejected::new(at, why))
}

/// Returns true if the target accepts `name` as the name of a function.
pub(crate) fn is_accepted(name: &str, max_len: usize, others: &[u8]) -> bool {
    (1..=max_len).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
}
