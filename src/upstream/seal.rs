//! Ids that a provider hands out, with a sign of the key and the client that they belong to: it brings a
//! later request back to that key, survives a restart, and needs nothing kept.
//!
//! The sign is an HMAC over provider, key, client and id, with a key made of the credential: who does not
//! hold the credential cannot make one, so no client reaches what another has left with the provider. It
//! ends with the credential: ids that were handed out under another one are not known any more.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::config::{AwsAuth, AzureAuth, Cloud, EntraCredential, GoogleAuth, Key};
use crate::secret::Secret;

/// What stands between an id and its sign. No vendor's ids hold it.
pub const MARK: &str = ".kmx_";
/// Bytes of the HMAC that are kept: 128 bits.
const KEPT: usize = 16;

/// Signs the ids of one key.
pub struct Seal {
    key: hmac::Key,
    owner: String,
}

impl Seal {
    /// For the ids that this key's requests are given.
    pub fn of(key: &Key) -> Self {
        let parts: Vec<&[u8]> =
            secrets(key).into_iter().map(|secret| secret.expose().as_bytes()).collect();
        let key_of_keys = hmac::Key::new(hmac::HMAC_SHA256, &parts.concat());
        let derived = hmac::sign(&key_of_keys, b"keymux ids 1");
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()),
            owner: format!("{}\0{}", key.provider, key.name),
        }
    }

    /// The id with its sign.
    pub fn seal(&self, client: Option<&str>, id: &str) -> String {
        let sign = BASE64_URL_SAFE_NO_PAD.encode(&self.sign(client, id).as_ref()[..KEPT]);
        format!("{id}{MARK}{sign}")
    }

    /// The id alone, if the sign is this key's and this client's.
    pub fn open<'s>(&self, client: Option<&str>, sealed: &'s str) -> Option<&'s str> {
        let (id, sign) = sealed.rsplit_once(MARK)?;
        let sign = BASE64_URL_SAFE_NO_PAD.decode(sign).ok()?;
        let own = self.sign(client, id);
        aws_lc_rs::constant_time::verify_slices_are_equal(&own.as_ref()[..KEPT], &sign).ok()?;
        Some(id)
    }

    fn sign(&self, client: Option<&str>, id: &str) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(self.owner.as_bytes());
        // A client's name is never empty.
        context.update(b"\0");
        context.update(client.unwrap_or_default().as_bytes());
        context.update(b"\0");
        context.update(id.as_bytes());
        context.sign()
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").finish_non_exhaustive()
    }
}

/// What is secret about a key and stays the same as long as its credential. A machine's own identity has
/// nothing of the kind: there, ids are told apart by name alone.
fn secrets(key: &Key) -> Vec<&Secret> {
    let mut secrets: Vec<&Secret> = key.value.iter().collect();
    match &key.cloud {
        Cloud::None => {}
        Cloud::Azure(azure) => match &azure.auth {
            AzureAuth::ApiKey(secret) => secrets.push(secret),
            AzureAuth::Entra(entra) => match &entra.credential {
                EntraCredential::ClientSecret { secret, .. }
                | EntraCredential::AppServiceIdentity { header: secret, .. } => {
                    secrets.push(secret);
                }
                EntraCredential::WorkloadIdentity { .. }
                | EntraCredential::MachineIdentity { .. } => {}
            },
        },
        Cloud::Vertex(vertex) => match &vertex.auth {
            GoogleAuth::Credentials(secret) => secrets.push(secret),
            GoogleAuth::MetadataServer(_) => {}
        },
        Cloud::Bedrock(bedrock) => {
            for region in &bedrock.regions {
                match &region.auth {
                    AwsAuth::Bearer(secret) => secrets.push(secret),
                    AwsAuth::Pair(pair) | AwsAuth::Role { from: Some(pair), .. } => {
                        secrets.push(&pair.secret_key);
                    }
                    AwsAuth::Chain | AwsAuth::Role { from: None, .. } => {}
                }
            }
        }
    }
    secrets
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::uri::{Authority, Scheme};

    use super::*;
    use crate::config::Endpoint;

    fn seal(provider: &str, name: &str, value: &str) -> Seal {
        let endpoint = Endpoint {
            scheme: Scheme::HTTPS,
            authority: Authority::from_static("api.example.com"),
            prefix: String::new(),
        };
        let value = Some(Secret::new(value.to_owned()));
        Seal::of(&Key { value, ..Key::new(provider.into(), name, Arc::new(endpoint)) })
    }

    #[test]
    fn an_id_comes_back_to_its_key_and_its_client_alone() {
        let own = seal("openai", "a", "sk-1");
        let sealed = own.seal(Some("me"), "file-1");
        assert_eq!(own.open(Some("me"), &sealed), Some("file-1"));
        assert_eq!(
            seal("openai", "a", "sk-1").open(Some("me"), &sealed),
            Some("file-1"),
            "restart"
        );
        assert_eq!(own.open(Some("you"), &sealed), None);
        assert_eq!(own.open(None, &sealed), None);
        for other in
            [seal("openai", "b", "sk-1"), seal("azure", "a", "sk-1"), seal("openai", "a", "sk-2")]
        {
            assert_eq!(other.open(Some("me"), &sealed), None);
        }
        assert_eq!(own.open(Some("me"), &sealed.replace("file-1", "file-2")), None);
        assert_eq!(own.open(Some("me"), &sealed[..sealed.len() - 1]), None);
        assert_eq!(own.open(Some("me"), "file-1"), None);
        assert_eq!(own.open(Some("me"), "file-1.kmx_"), None);
    }

    #[test]
    fn a_sealed_id_is_one_segment_of_a_path() {
        let sealed = seal("p", "k", "s").seal(None, "batch_abc");
        assert!(
            sealed.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)),
            "{sealed}"
        );
    }
}
