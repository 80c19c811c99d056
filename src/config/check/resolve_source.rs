//! Resolves value sources: literals, environment variables, files, systemd credentials.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::report::Check;
use crate::config::input_files::describe_io_error;
use crate::config::path::{child, leaf};
use crate::config::source::{SecretSource, Source, SourceTable};
use crate::secret::Secret;

/// A value and its source. Every value is a [`Secret`] from the moment it is read.
pub(super) struct Resolved {
    pub(super) text: Secret,
    /// `literal`, `env NAME`, `file PATH`, `credential NAME`.
    pub(super) source: String,
}

/// Which characters a value may contain.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lines {
    /// No control characters.
    One,
    /// Line breaks and tabs too: PEM and JSON.
    Many,
}

impl Check<'_, '_> {
    /// Resolves a secret; `None` after an error was reported.
    pub(super) fn secret(
        &mut self,
        path: &str,
        source: &SecretSource,
        lines: Lines,
    ) -> Option<Resolved> {
        let resolved = self.resolve(path, &source.0, lines)?;
        let fingerprint = resolved.text.fingerprint();
        self.displayed.insert(path.to_owned(), Json::from(format!("fingerprint:{fingerprint}")));
        Some(resolved)
    }

    /// Resolves a value that is not secret.
    pub(super) fn plain(&mut self, path: &str, source: &Source) -> Option<String> {
        let resolved = self.resolve(path, source, Lines::One)?;
        let text = resolved.text.inspect_text(str::to_owned);
        self.displayed.insert(path.to_owned(), Json::from(text.as_str()));
        Some(text)
    }

    /// Resolves the text of a PEM file: a string is the path of the file, a table is a source of the text.
    pub(super) fn contents(&mut self, path: &str, source: &Source) -> Option<Secret> {
        let resolved = match source {
            Source::Literal(file) => {
                let table = SourceTable { file: Some(file.clone()), ..SourceTable::default() };
                self.resolve(path, &Source::Table(table), Lines::Many)
            }
            Source::Table(_) => self.resolve(path, source, Lines::Many),
        };
        resolved.map(|resolved| resolved.text)
    }

    fn resolve(&mut self, path: &str, source: &Source, lines: Lines) -> Option<Resolved> {
        let resolved = match source {
            Source::Literal(text) => self.literal(path, text)?,
            Source::Table(table) => self.table_source(path, table)?,
        };
        self.check_characters(path, &resolved.text, lines).then_some(resolved)
    }

    fn table_source(&mut self, path: &str, table: &SourceTable) -> Option<Resolved> {
        let SourceTable { value, env_var, file, credential, from_env } = table;
        if self.is_reported(path) {
            return None;
        }
        let given: Vec<&str> = [
            ("value", value.is_some()),
            ("env_var", env_var.is_some()),
            ("file", file.is_some()),
            ("credential", credential.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, given)| given.then_some(name))
        .collect();
        let name = leaf(path);
        match (from_env, given.as_slice()) {
            (Some(true), ["env_var"] | ["value", "env_var"]) | (None, ["env_var"]) => {
                self.variable(&child(path, "env_var"), env_var.as_deref()?)
            }
            (Some(false), ["value"] | ["value", "env_var"]) | (None, ["value"]) => {
                self.literal(&child(path, "value"), value.as_deref()?)
            }
            (None, ["file"]) => self.file(&child(path, "file"), file.as_deref()?),
            (None, ["credential"]) => {
                self.credential(&child(path, "credential"), credential.as_deref()?)
            }
            (from_env, given) => {
                let (message, help) = source_conflict(name, *from_env, given);
                self.error(path, message, help);
                None
            }
        }
    }

    fn literal(&mut self, path: &str, text: &str) -> Option<Resolved> {
        if text.is_empty() {
            self.error(path, format!("`{}` is empty", leaf(path)), None);
            return None;
        }
        if let Some(name) = reference(text) {
            let message = format!(
                "`{}` is used literally, but looks like a reference to an environment variable",
                leaf(path)
            );
            let help = format!("write {{ env_var = \"{name}\" }}");
            self.warning(path, message, help.as_str());
        }
        Some(Resolved { text: Secret::new(text.to_owned()), source: "literal".to_owned() })
    }

    fn variable(&mut self, path: &str, name: &str) -> Option<Resolved> {
        if !is_variable(name) {
            let help = reference(name).map(|name| format!("write env_var = \"{name}\""));
            let help = help.as_deref().unwrap_or(
                "a name has letters, digits and `_`; the API key itself goes into `value`",
            );
            self.error(path, "`env_var` is not the name of an environment variable", help);
            return None;
        }
        let shown = if is_safe_to_print(name) {
            format!("environment variable `{name}`")
        } else {
            "the environment variable named here".to_owned()
        };
        match self.reader.environment.variable(name).map(OsString::into_string) {
            None => self.error(
                path,
                format!("{shown} is not set"),
                "set it where keymux is started, or disable the key with enabled = false",
            ),
            Some(Err(_)) => self.error(path, format!("{shown} is not UTF-8 text"), None),
            Some(Ok(text)) if text.is_empty() => {
                self.error(path, format!("{shown} is set, but empty"), None);
            }
            Some(Ok(text)) => {
                return Some(Resolved { text: Secret::new(text), source: format!("env {name}") });
            }
        }
        None
    }

    fn file(&mut self, path: &str, name: &str) -> Option<Resolved> {
        if name.is_empty() {
            self.error(path, format!("`{}` is empty", leaf(path)), "write the path of a file");
            return None;
        }
        let file = self.resolve_path(path, name);
        let text = self.read_text(path, &file, name)?;
        Some(Resolved { text, source: format!("file {}", file.display()) })
    }

    fn credential(&mut self, path: &str, name: &str) -> Option<Resolved> {
        if name.is_empty() || name.contains('/') || name == ".." {
            self.error(
                path,
                "`credential` is not the name of a systemd credential",
                "a name has no `/`; the path of a file goes into `file`",
            );
            return None;
        }
        let Some(dir) = self.reader.environment.variable("CREDENTIALS_DIRECTORY") else {
            self.error(
                path,
                "$CREDENTIALS_DIRECTORY is not set, so the credential cannot be found",
                "systemd sets it for units with LoadCredential= or SetCredential=",
            );
            return None;
        };
        let text = self.read_text(path, &Path::new(&dir).join(name), "")?;
        Some(Resolved { text, source: format!("credential {name}") })
    }

    /// Reads a file without one newline at its end. `written` is its path as the file has it.
    pub(super) fn read_text(&mut self, path: &str, file: &Path, written: &str) -> Option<Secret> {
        // A text that does not look like a path may be a pasted secret.
        let name = if written.starts_with(['/', '.']) {
            format!("the file {written}")
        } else {
            "the file named here".to_owned()
        };
        let mut text = match self.reader.read(file).map(String::from_utf8) {
            Ok(Ok(text)) => text,
            Ok(Err(_)) => {
                self.error(path, format!("{name} is not UTF-8 text"), None);
                return None;
            }
            Err(error) => {
                let relative = !written.is_empty() && !written.starts_with('/');
                let help = (relative && error.kind() == std::io::ErrorKind::NotFound)
                    .then_some("a path is relative to the file that names it");
                let reason = describe_io_error(&error);
                self.error(path, format!("{name} cannot be read: {reason}"), help);
                return None;
            }
        };
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        if text.is_empty() {
            self.error(path, format!("{name} is empty"), None);
            return None;
        }
        Some(Secret::new(text))
    }

    /// Resolves a path of the configuration, which is relative to the file that contains it.
    pub(super) fn resolve_path(&self, path: &str, name: &str) -> PathBuf {
        let file = self.tree.file_of(path).or(self.tree.texts.first());
        let dir = file.and_then(|text| text.path.parent()).unwrap_or(Path::new(""));
        dir.join(name)
    }

    /// Returns false, after an error, if the text has a character that is not allowed. Warns about
    /// characters that are probably a mistake.
    pub(super) fn check_characters(&mut self, path: &str, text: &Secret, lines: Lines) -> bool {
        let allowed = |char: char| lines == Lines::Many && matches!(char, '\n' | '\r' | '\t');
        let (has_control, is_ascii, is_trimmed) = text.inspect_text(|text| {
            let has_control = text.chars().any(|char| char.is_control() && !allowed(char));
            (has_control, text.is_ascii(), text.trim() == text)
        });
        let name = leaf(path);
        if has_control {
            self.error(
                path,
                format!("`{name}` contains a control character or a line break"),
                "a key is one line; keymux removes one newline at the end of a file",
            );
        } else if lines == Lines::One && !is_ascii {
            self.warning(
                path,
                format!("`{name}` contains a character that is not ASCII"),
                "keys are ASCII: was a quote, a `…` or an invisible character copied with it?",
            );
        } else if lines == Lines::One && !is_trimmed {
            self.warning(path, format!("`{name}` begins or ends with a space"), None);
        }
        !has_control
    }
}

/// Returns message and help for a source table whose members do not go together.
fn source_conflict(name: &str, from_env: Option<bool>, given: &[&str]) -> (String, &'static str) {
    match (from_env, given) {
        (Some(true), _) => (
            format!("`{name}` has `from_env = true`, which needs `env_var`, alone or with `value`"),
            "write { env_var = \"NAME\" }",
        ),
        (Some(false), _) => (
            format!(
                "`{name}` has `from_env = false`, which needs `value`, alone or with `env_var`"
            ),
            "write { value = \"…\" }",
        ),
        (None, []) => (
            format!("`{name}` has no source"),
            "write one of `value`, `env_var`, `file`, `credential`",
        ),
        (None, ["value", "env_var"]) => (
            format!("`{name}` has both `value` and `env_var`"),
            "remove one, or choose one with `from_env = true` or `from_env = false`",
        ),
        (None, several) => {
            (format!("`{name}` has several sources: {}", several.join(", ")), "keep one of them")
        }
    }
}

fn is_variable(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

/// True if the name of a variable may be printed. Keys such as `gsk_…` and `AKIA…` are valid names of
/// variables too, so only names in the usual spelling are printed.
fn is_safe_to_print(name: &str) -> bool {
    let capitals = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    let small = |byte: u8| byte.is_ascii_lowercase();
    let parts = || name.split('_');
    name.len() <= 64
        && parts().all(|part| part.len() < 16)
        && (parts().all(|part| part.bytes().all(capitals))
            || parts().all(|part| part.bytes().all(small)))
}

/// Returns the variable that a text such as `env.NAME`, `${NAME}` or `$NAME` refers to.
fn reference(text: &str) -> Option<&str> {
    let braced = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    let name = braced
        .map(|rest| rest.strip_prefix("env:").or(rest.strip_prefix("env.")).unwrap_or(rest))
        .or_else(|| text.strip_prefix("env."))
        .or_else(|| text.strip_prefix("env:"))
        .or_else(|| text.strip_prefix("os.environ/"))
        .or_else(|| text.strip_prefix('$').filter(|name| !name.contains(char::is_lowercase)))?;
    (is_variable(name) && is_safe_to_print(name)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_providers_are_not_printed_as_variable_names() {
        for name in [
            "OPENAI_KEY",
            "AWS_SECRET_ACCESS_KEY",
            "openai_api_key",
            "MY_COMPANY_PRODUCTION_ANTHROPIC_KEY_2",
            "KEY",
        ] {
            assert!(is_safe_to_print(name), "{name}");
        }
        for name in [
            "gsk_aB3dE5fG7hI9jK1lM3nO5pQ7",
            "AKIAIOSFODNN7EXAMPLE",
            "hunter2hunter2",
            "Passw0rd",
            "r8_0123456789abcdef0123456789abcdef",
        ] {
            assert!(!is_safe_to_print(name), "{name}");
        }
    }

    #[test]
    fn references_to_variables_are_recognized() {
        for text in ["env.NAME", "${NAME}", "$NAME", "env:NAME", "${env:NAME}", "os.environ/NAME"] {
            assert_eq!(reference(text), Some("NAME"), "{text}");
        }
        for text in ["NAME", "env.", "$", "${}", "sk-$NAME", "$1", "$ecretPassw0rd", "$ecret"] {
            assert_eq!(reference(text), None, "{text}");
        }
    }
}
