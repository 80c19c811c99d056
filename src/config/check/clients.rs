//! `[[clients]]`

use std::collections::HashMap;
use std::sync::Arc;

use super::report::Check;
use super::resolve_source::Lines;
use crate::config::path::{child, item};
use crate::config::schema_check::closest;
use crate::config::source::SecretSource;
use crate::config::{Client, ClientAwsKey, file};
use crate::secret::sha256;

impl Check<'_, '_> {
    pub(super) fn clients(&mut self, written: Vec<file::Client>) -> Vec<Client> {
        let mut names: HashMap<String, String> = HashMap::new();
        let mut hashes: HashMap<[u8; 32], String> = HashMap::new();
        let mut ids: HashMap<String, String> = HashMap::new();
        let mut clients = Vec::with_capacity(written.len());
        for (index, client) in written.into_iter().enumerate() {
            let path = item("clients", index);
            let has_name = client.name.is_some();
            let (client, has_key) = self.client(&path, client);
            if has_name
                && let Some(first) = names.insert(client.name.to_string(), child(&path, "name"))
            {
                let first = self.location(&first);
                self.error(
                    &child(&path, "name"),
                    format!("another client has the name `{}`{first}", client.name),
                    "names of clients are unique",
                );
            }
            if has_key
                && let Some(first) = hashes.insert(client.key_sha256, client.name.to_string())
            {
                self.error(
                    &path,
                    format!("client `{}` has the same key as client `{first}`", client.name),
                    "a key identifies a client, so each client needs its own",
                );
            }
            if let Some(aws_key) = &client.aws
                && let Some(first) = ids.insert(aws_key.access_key.clone(), client.name.to_string())
            {
                self.error(
                    &child(&child(&path, "aws"), "access_key"),
                    format!("client `{}` has the same access key as client `{first}`", client.name),
                    "an access key identifies a client, so each client needs its own",
                );
            }
            clients.push(client);
        }
        clients
    }

    /// Checks a client. Returns true with it if it has an API key.
    fn client(&mut self, path: &str, written: file::Client) -> (Client, bool) {
        let file::Client {
            name,
            key,
            key_sha256,
            aws,
            models,
            blacklisted_models,
            enabled,
            max_concurrent,
        } = written;
        if let Some(name) = &name {
            self.check_name(&child(path, "name"), "client", name);
        }
        let at = |name: &str| child(path, name);
        let aws_key = aws.as_ref().filter(|_| enabled);
        let aws_key = aws_key.and_then(|written| self.aws_key(&at("aws"), written));
        let key_hash = match (&key, &key_sha256) {
            (Some(_), Some(_)) => {
                self.name_error(
                    &at("key_sha256"),
                    "this client has both `key` and `key_sha256`",
                    "remove one of the two",
                );
                None
            }
            (Some(key), None) if enabled => self
                .secret(&at("key"), key, Lines::One)
                .map(|key| key.text.inspect_text(|text| sha256(text.as_bytes()))),
            (None, Some(hex)) => self.parse_sha256(&at("key_sha256"), hex),
            (None, None)
                if aws.is_none()
                    && !self.is_reported(&at("key"))
                    && !self.is_reported(&at("key_sha256"))
                    && !self.is_reported(&at("aws")) =>
            {
                self.error(
                    path,
                    "this client has no `key`",
                    "write key = { env_var = \"NAME\" }, key_sha256 = \"…\", or aws = { access_key = …, secret_key = … }",
                );
                None
            }
            _ => None,
        };
        let client = Client {
            name: name.unwrap_or_default().into(),
            // The key of a disabled client is not read. No key has this hash.
            key_sha256: key_hash.unwrap_or([0; 32]),
            aws: aws_key,
            models: self.allowed_models(&at("models"), models.as_deref()),
            blacklisted_models: self.patterns(&at("blacklisted_models"), &blacklisted_models),
            enabled,
            max_concurrent,
        };
        (client, key_hash.is_some())
    }

    /// Checks the access key of a client that signs its requests.
    fn aws_key(&mut self, path: &str, written: &file::ClientAwsKey) -> Option<ClientAwsKey> {
        let file::ClientAwsKey { access_key, secret_key } = written;
        let mut read = |name: &str, source: &Option<SecretSource>| {
            source.as_ref().and_then(|source| self.secret(&child(path, name), source, Lines::One))
        };
        let (access, secret) = (read("access_key", access_key), read("secret_key", secret_key));
        let access = access?.text.inspect_text(str::to_owned);
        // In `authorization: AWS4-HMAC-SHA256 Credential=ID/…`, commas and slashes delimit the ID.
        let is_valid = access.len() <= 128
            && access.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        if !is_valid {
            self.error(
                &child(path, "access_key"),
                "this is not an access key ID",
                "an ID has up to 128 letters, digits, `-`, `.` and `_`",
            );
        }
        Some(ClientAwsKey { access_key: access, secret_key: secret?.text })
    }

    fn parse_sha256(&mut self, path: &str, hex: &str) -> Option<[u8; 32]> {
        let mut digest = [0; 32];
        let is_valid = hex.len() == 64
            && hex.as_bytes().chunks(2).zip(&mut digest).all(|(pair, byte)| {
                let pair = std::str::from_utf8(pair).unwrap_or_default();
                let number = u8::from_str_radix(pair, 16).ok().filter(|_| !pair.starts_with('+'));
                *byte = number.unwrap_or_default();
                number.is_some()
            });
        if !is_valid {
            self.error(
                path,
                "`key_sha256` is not a SHA-256 in hex",
                "write the 64 hex digits that `printf %s \"$KEY\" | sha256sum` prints",
            );
            return None;
        }
        Some(digest)
    }

    /// Checks the `clients` of a key: names of clients.
    pub(super) fn client_names(
        &mut self,
        path: &str,
        written: Option<&[String]>,
        clients: &[Client],
    ) -> Option<Vec<Arc<str>>> {
        let written = written?;
        if written.is_empty() {
            self.error(
                path,
                "`clients` is an empty list, so no client could use this key",
                "remove it to allow every client, or write enabled = false",
            );
        }
        // If the name of a client was reported, it may be the one that is meant here.
        let names_are_known = !self.is_reported_for("clients", &["name"])
            && clients.iter().all(|client| !client.name.is_empty());
        for (index, name) in written.iter().enumerate() {
            if names_are_known && !clients.iter().any(|client| *client.name == **name) {
                let known = clients.iter().map(|client| &*client.name);
                let help = match closest(name, known.clone()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None if clients.is_empty() => "the file has no `[[clients]]`".to_owned(),
                    None => format!("the clients are: {}", known.collect::<Vec<_>>().join(", ")),
                };
                self.error(
                    &item(path, index),
                    format!("there is no client `{}`", name.escape_debug()),
                    help.as_str(),
                );
            }
        }
        Some(written.iter().map(|name| Arc::from(name.as_str())).collect())
    }
}
