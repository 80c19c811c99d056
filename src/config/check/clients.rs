//! `[[clients]]`

use std::collections::HashMap;
use std::sync::Arc;

use super::Check;
use super::resolve_source::Lines;
use crate::config::path::{child, item};
use crate::config::source::SecretSource;
use crate::config::{Client, ClientAwsKey, file};
use crate::secret::{Secret, sha256};

impl Check<'_, '_> {
    pub(super) fn clients(&mut self, written: Vec<file::Client>) -> Vec<Client> {
        let mut names: HashMap<String, String> = HashMap::new();
        let mut digests: HashMap<[u8; 32], String> = HashMap::new();
        let mut ids: HashMap<String, String> = HashMap::new();
        let mut clients = Vec::with_capacity(written.len());
        for (place, client) in written.into_iter().enumerate() {
            let path = item("clients", place);
            let has_name = client.name.is_some();
            let (client, digest) = self.client(&path, client);
            if has_name
                && let Some(first) = names.insert(client.name.to_string(), child(&path, "name"))
            {
                let place = self.place(&first);
                self.error(
                    &child(&path, "name"),
                    format!("there is another client of the name `{}`{place}", client.name),
                    "names of clients are unique",
                );
            }
            if digest
                && let Some(first) = digests.insert(client.key_sha256, client.name.to_string())
            {
                self.error(
                    &path,
                    format!("client `{}` has the same key as client `{first}`", client.name),
                    "a key says who is calling: each client needs its own",
                );
            }
            if let Some(caller) = &client.aws
                && let Some(first) = ids.insert(caller.access_key.clone(), client.name.to_string())
            {
                self.error(
                    &child(&child(&path, "aws"), "access_key"),
                    format!("client `{}` has the same access key as client `{first}`", client.name),
                    "an access key says who is calling: each client needs its own",
                );
            }
            clients.push(client);
        }
        clients
    }

    /// The client, and whether its digest is that of a key.
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
            self.name(&child(path, "name"), "client", name);
        }
        let at = |name: &str| child(path, name);
        let caller = aws.as_ref().filter(|_| enabled);
        let caller = caller.and_then(|pair| self.caller(&at("aws"), pair));
        let digest = match (&key, &key_sha256) {
            (Some(_), Some(_)) => {
                self.misplaced(
                    &at("key_sha256"),
                    "a client has either `key` or `key_sha256`",
                    "remove one of the two",
                );
                None
            }
            (Some(key), None) if enabled => {
                self.secret(&at("key"), key, Lines::One).map(|key| sha256(key.text.as_bytes()))
            }
            (None, Some(hex)) => self.hex(&at("key_sha256"), hex),
            (None, None)
                if aws.is_none()
                    && !self.doubtful(&at("key"))
                    && !self.doubtful(&at("key_sha256"))
                    && !self.doubtful(&at("aws")) =>
            {
                self.error(
                    path,
                    "this client has no `key` to be known by",
                    "write key = { env_var = \"…\" }, key_sha256 = \"…\", or aws = { access_key = …, secret_key = … }",
                );
                None
            }
            _ => None,
        };
        let client = Client {
            name: name.unwrap_or_default().into(),
            // Of a disabled client no key is read, and nothing hashes to this.
            key_sha256: digest.unwrap_or([0; 32]),
            aws: caller,
            models: self.allowed(&at("models"), models.as_deref()),
            blacklisted_models: self.patterns(&at("blacklisted_models"), &blacklisted_models),
            enabled,
            max_concurrent,
        };
        (client, digest.is_some())
    }

    /// The pair of a caller that signs its requests.
    fn caller(&mut self, path: &str, written: &file::ClientAwsKey) -> Option<ClientAwsKey> {
        let file::ClientAwsKey { access_key, secret_key } = written;
        let mut read = |name: &str, source: &Option<SecretSource>| {
            source.as_ref().and_then(|source| self.secret(&child(path, name), source, Lines::One))
        };
        let (access, secret) = (read("access_key", access_key), read("secret_key", secret_key));
        let access = access?.text;
        // The id stands between commas and slashes in `authorization: AWS4-HMAC-SHA256 Credential=ID/…`.
        let good = access.len() <= 128
            && access.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        if !good {
            self.error(
                &child(path, "access_key"),
                "this is not the id of an access key",
                "an id has up to 128 letters, digits, `-`, `.` and `_`",
            );
        }
        Some(ClientAwsKey { access_key: access, secret_key: Secret::new(secret?.text) })
    }

    fn hex(&mut self, path: &str, hex: &str) -> Option<[u8; 32]> {
        let mut digest = [0; 32];
        let good = hex.len() == 64
            && hex.as_bytes().chunks(2).zip(&mut digest).all(|(pair, byte)| {
                let pair = std::str::from_utf8(pair).unwrap_or_default();
                let number = u8::from_str_radix(pair, 16).ok().filter(|_| !pair.starts_with('+'));
                *byte = number.unwrap_or_default();
                number.is_some()
            });
        if !good {
            self.error(
                path,
                "`key_sha256` is not a SHA-256",
                "64 hex digits, as `printf %s \"$KEY\" | sha256sum` prints them",
            );
            return None;
        }
        Some(digest)
    }

    /// Names of clients in a key's `clients`.
    pub(super) fn scope(
        &mut self,
        path: &str,
        written: Option<&[String]>,
        clients: &[Client],
    ) -> Option<Vec<Arc<str>>> {
        let written = written?;
        if written.is_empty() {
            self.error(
                path,
                "`clients` is an empty list, which would serve nobody",
                "remove it to serve everybody, or write enabled = false",
            );
        }
        // A client whose own name was reported may be the one meant here.
        let sure = !self.doubtful_of("clients", &["name"])
            && clients.iter().all(|client| !client.name.is_empty());
        for (place, name) in written.iter().enumerate() {
            if sure && !clients.iter().any(|client| *client.name == **name) {
                let known = clients.iter().map(|client| &*client.name);
                let help = match crate::config::schema_check::closest(name, known.clone()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None if clients.is_empty() => "there are no `[[clients]]` at all".to_owned(),
                    None => format!("there are: {}", known.collect::<Vec<_>>().join(", ")),
                };
                self.error(
                    &item(path, place),
                    format!("there is no client `{}`", name.escape_debug()),
                    help.as_str(),
                );
            }
        }
        Some(written.iter().map(|name| Arc::from(name.as_str())).collect())
    }
}
