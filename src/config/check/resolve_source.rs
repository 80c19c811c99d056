//! Values that come from somewhere: literals, environment variables, files, systemd credentials.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::Check;
use crate::config::path::{child, leaf};
use crate::config::source::{SecretSource, Source, SourceTable};
use crate::secret::Secret;

/// A value and where it came from.
pub(super) struct Resolved {
    pub(super) text: String,
    /// `literal`, `env NAME`, `file PATH`, `credential NAME`.
    pub(super) source: String,
}

/// What a value may hold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lines {
    /// No control character at all.
    One,
    /// Line breaks and tabs as well: PEM and JSON.
    Many,
}

impl Check<'_, '_> {
    /// The secret behind a source, or nothing after saying why.
    pub(super) fn secret(
        &mut self,
        path: &str,
        source: &SecretSource,
        lines: Lines,
    ) -> Option<Resolved> {
        let resolved = self.resolve(path, &source.0, lines)?;
        let fingerprint = Secret::new(resolved.text.clone()).fingerprint();
        self.shown.insert(path.to_owned(), Json::from(format!("fingerprint:{fingerprint}")));
        Some(resolved)
    }

    /// The value behind a source that is no secret.
    pub(super) fn plain(&mut self, path: &str, source: &Source) -> Option<String> {
        let resolved = self.resolve(path, source, Lines::One)?;
        self.shown.insert(path.to_owned(), Json::from(resolved.text.clone()));
        Some(resolved.text)
    }

    /// The text of a file: a plain string is its path, a table says where the text itself is.
    pub(super) fn contents(&mut self, path: &str, source: &Source) -> Option<String> {
        let file = match source {
            Source::Literal(file) => {
                Source::Table(SourceTable { file: Some(file.clone()), ..SourceTable::default() })
            }
            Source::Table(_) => {
                return self.resolve(path, source, Lines::Many).map(|resolved| resolved.text);
            }
        };
        self.resolve(path, &file, Lines::Many).map(|resolved| resolved.text)
    }

    fn resolve(&mut self, path: &str, source: &Source, lines: Lines) -> Option<Resolved> {
        let (text, source) = match source {
            Source::Literal(text) => (self.literal(path, text)?, "literal".to_owned()),
            Source::Table(table) => self.table_source(path, table)?,
        };
        self.sound(path, &text, lines).then_some(Resolved { text, source })
    }

    fn table_source(&mut self, path: &str, table: &SourceTable) -> Option<(String, String)> {
        let SourceTable { value, env_var, file, credential, from_env } = table;
        if self.doubtful(path) {
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
            (Some(false), ["value"] | ["value", "env_var"]) | (None, ["value"]) => Some((
                self.literal(&child(path, "value"), value.as_deref()?)?,
                "literal".to_owned(),
            )),
            (None, ["file"]) => self.file(&child(path, "file"), file.as_deref()?),
            (None, ["credential"]) => {
                self.credential(&child(path, "credential"), credential.as_deref()?)
            }
            (Some(true), _) => {
                self.error(path, format!("`{name}` has `from_env = true`, which goes with `env_var` alone or with `env_var` and `value`"), "write { env_var = \"NAME\" }");
                None
            }
            (Some(false), _) => {
                self.error(path, format!("`{name}` has `from_env = false`, which goes with `value` alone or with `value` and `env_var`"), "write { value = \"…\" }");
                None
            }
            (None, []) => {
                self.error(
                    path,
                    format!("`{name}` does not say where its value comes from"),
                    "one of `value`, `env_var`, `file`, `credential` is needed",
                );
                None
            }
            (None, ["value", "env_var"]) => {
                self.error(
                    path,
                    format!("`{name}` has both `value` and `env_var`"),
                    "remove one, or say with `from_env = true` or `false` which is in force",
                );
                None
            }
            (None, several) => {
                self.error(
                    path,
                    format!("`{name}` has several sources: {}", several.join(", ")),
                    "keep one of them",
                );
                None
            }
        }
    }

    fn literal(&mut self, path: &str, text: &str) -> Option<String> {
        if text.is_empty() {
            self.error(path, format!("`{}` is empty", leaf(path)), None);
            return None;
        }
        if let Some(name) = reference(text) {
            let message = format!(
                "`{}` is taken literally, but looks like a reference to an environment variable",
                leaf(path)
            );
            let help = format!("write {{ env_var = \"{name}\" }}");
            self.warning(path, message, help.as_str());
        }
        Some(text.to_owned())
    }

    fn variable(&mut self, path: &str, name: &str) -> Option<(String, String)> {
        if !is_variable(name) {
            let help = reference(name).map(|name| format!("write env_var = \"{name}\""));
            let help = help
                .as_deref()
                .unwrap_or("a name has letters, digits and `_`; a key itself goes into `value`");
            self.error(path, "`env_var` is not the name of an environment variable", help);
            return None;
        }
        let shown = if speakable(name) {
            format!("environment variable `{name}`")
        } else {
            "the environment variable named here".to_owned()
        };
        match self.reader.around.variable(name).map(OsString::into_string) {
            None => self.error(
                path,
                format!("{shown} is not set"),
                "set it where keymux is started, or take the key out of use with enabled = false",
            ),
            Some(Err(_)) => self.error(path, format!("{shown} is not UTF-8 text"), None),
            Some(Ok(text)) if text.is_empty() => {
                self.error(path, format!("{shown} is set, but empty"), None);
            }
            Some(Ok(text)) => return Some((text, format!("env {name}"))),
        }
        None
    }

    fn file(&mut self, path: &str, name: &str) -> Option<(String, String)> {
        if name.is_empty() {
            self.error(path, format!("`{}` is empty", leaf(path)), "write the path of a file");
            return None;
        }
        let file = self.beside(path, name);
        let text = self.text_of(path, &file, name)?;
        Some((text, format!("file {}", file.display())))
    }

    fn credential(&mut self, path: &str, name: &str) -> Option<(String, String)> {
        if name.is_empty() || name.contains('/') || name == ".." {
            self.error(
                path,
                "`credential` is not the name of a systemd credential",
                "a name has no `/`; the path of a file goes into `file`",
            );
            return None;
        }
        let Some(dir) = self.reader.around.variable("CREDENTIALS_DIRECTORY") else {
            self.error(
                path,
                "there is no $CREDENTIALS_DIRECTORY to find the credential in",
                "systemd sets it for units with LoadCredential= or SetCredential=",
            );
            return None;
        };
        let text = self.text_of(path, &Path::new(&dir).join(name), "")?;
        Some((text, format!("credential {name}")))
    }

    /// The text of a file, without one newline at its end. `written` is its path as the file has it.
    pub(super) fn text_of(&mut self, path: &str, file: &Path, written: &str) -> Option<String> {
        // What does not look like a path may be a pasted secret.
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
                self.error(path, format!("{name} cannot be read: {}", reason(&error)), help);
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
        Some(text)
    }

    /// A path of the configuration: relative to the file that names it.
    pub(super) fn beside(&self, path: &str, name: &str) -> PathBuf {
        let file = self.tree.file_of(path).or(self.tree.texts.first());
        let dir = file.and_then(|text| text.path.parent()).unwrap_or(Path::new(""));
        dir.join(name)
    }

    /// Whether the text has no character that it must not have.
    pub(super) fn sound(&mut self, path: &str, text: &str, lines: Lines) -> bool {
        let allowed = |char: char| lines == Lines::Many && matches!(char, '\n' | '\r' | '\t');
        let sound = !text.chars().any(|char| char.is_control() && !allowed(char));
        if !sound {
            let help = "a key is one line; of a file, one newline at its end is cut";
            self.error(
                path,
                format!("`{}` must not hold a control character or a line break", leaf(path)),
                help,
            );
        } else if lines == Lines::One && !text.is_ascii() {
            self.warning(
                path,
                format!("`{}` holds a character that is not ASCII", leaf(path)),
                "keys have none: was a quote, a `…` or an invisible character copied with it?",
            );
        } else if lines == Lines::One && text.trim() != text {
            self.warning(path, format!("`{}` begins or ends with a space", leaf(path)), None);
        }
        sound
    }
}

/// What an I/O error means, without a path.
pub(in crate::config) fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        std::io::ErrorKind::FileTooLarge => "it is larger than 16 MiB".to_owned(),
        kind => kind.to_string(),
    }
}

fn is_variable(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

/// Whether a variable's name may be repeated. Keys such as `gsk_…` and `AKIA…` are good variable names
/// too, so only what is written as such names are is taken for one.
fn speakable(name: &str) -> bool {
    let capitals = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    let small = |byte: u8| byte.is_ascii_lowercase();
    let parts = || name.split('_');
    name.len() <= 64
        && parts().all(|part| part.len() < 16)
        && (parts().all(|part| part.bytes().all(capitals))
            || parts().all(|part| part.bytes().all(small)))
}

/// The variable that a text such as `env.NAME`, `${NAME}` or `$NAME` means.
fn reference(text: &str) -> Option<&str> {
    let braced = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    let name = braced
        .map(|rest| rest.strip_prefix("env:").or(rest.strip_prefix("env.")).unwrap_or(rest))
        .or_else(|| text.strip_prefix("env."))
        .or_else(|| text.strip_prefix("env:"))
        .or_else(|| text.strip_prefix("os.environ/"))
        .or_else(|| text.strip_prefix('$').filter(|name| !name.contains(char::is_lowercase)))?;
    (is_variable(name) && speakable(name)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_providers_are_not_taken_for_speakable_variables() {
        for name in [
            "OPENAI_KEY",
            "AWS_SECRET_ACCESS_KEY",
            "openai_api_key",
            "MY_COMPANY_PRODUCTION_ANTHROPIC_KEY_2",
            "KEY",
        ] {
            assert!(speakable(name), "{name}");
        }
        for name in [
            "gsk_aB3dE5fG7hI9jK1lM3nO5pQ7",
            "AKIAIOSFODNN7EXAMPLE",
            "hunter2hunter2",
            "Passw0rd",
            "r8_0123456789abcdef0123456789abcdef",
        ] {
            assert!(!speakable(name), "{name}");
        }
    }

    #[test]
    fn references_to_variables() {
        for text in ["env.NAME", "${NAME}", "$NAME", "env:NAME", "${env:NAME}", "os.environ/NAME"] {
            assert_eq!(reference(text), Some("NAME"), "{text}");
        }
        for text in ["NAME", "env.", "$", "${}", "sk-$NAME", "$1", "$ecretPassw0rd", "$ecret"] {
            assert_eq!(reference(text), None, "{text}");
        }
    }
}
