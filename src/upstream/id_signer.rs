//! Signs the ids of objects that a provider stores. The signature identifies the key and the client, so that
//! a later request goes to the same key. It survives a restart, and keymux stores nothing for it.
//!
//! The signature is an HMAC over provider, key, client and id, with a key derived from the credential.
//! Without the credential nobody can make one, so no client reaches the objects of another. After the
//! credential changes, older signatures are invalid.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::config::{AwsAuth, AzureAuth, Cloud, EntraCredential, GoogleAuth, Key};
use crate::secret::Secret;

/// Separates an id from its signature. No vendor's ids contain it.
pub const SIGNATURE_MARK: &str = ".kmx_";
/// Bytes of the HMAC in a signature: 128 bits.
const SIGNATURE_LEN: usize = 16;

/// Signs the ids of one key.
pub struct IdSigner {
    key: hmac::Key,
    /// `PROVIDER\0KEY`
    owner: String,
}

impl IdSigner {
    /// Returns the signer for ids in the answers to this key.
    pub fn for_key(key: &Key) -> Self {
        let parts: Vec<&[u8]> =
            secrets(key).into_iter().map(|secret| secret.expose().as_bytes()).collect();
        let master = hmac::Key::new(hmac::HMAC_SHA256, &parts.concat());
        let derived = hmac::sign(&master, b"keymux ids 1");
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()),
            owner: format!("{}\0{}", key.provider, key.name),
        }
    }

    /// Returns the id with its signature.
    pub fn sign(&self, client: Option<&str>, id: &str) -> String {
        let signature =
            BASE64_URL_SAFE_NO_PAD.encode(&self.tag(client, id).as_ref()[..SIGNATURE_LEN]);
        format!("{id}{SIGNATURE_MARK}{signature}")
    }

    /// Returns the id without its signature, if the signature is valid for this key and this client.
    pub fn verify<'s>(&self, client: Option<&str>, signed: &'s str) -> Option<&'s str> {
        let (id, signature) = signed.rsplit_once(SIGNATURE_MARK)?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
        let expected = self.tag(client, id);
        aws_lc_rs::constant_time::verify_slices_are_equal(
            &expected.as_ref()[..SIGNATURE_LEN],
            &signature,
        )
        .ok()?;
        Some(id)
    }

    fn tag(&self, client: Option<&str>, id: &str) -> hmac::Tag {
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

impl fmt::Debug for IdSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdSigner").finish_non_exhaustive()
    }
}

/// Returns the secrets of a key that stay the same as long as its credential. A machine's own identity has
/// none: its ids differ from those of other keys by the names in [`IdSigner::owner`] alone.
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

    fn signer(provider: &str, name: &str, value: &str) -> IdSigner {
        let endpoint = Endpoint {
            scheme: Scheme::HTTPS,
            authority: Authority::from_static("api.example.com"),
            prefix: String::new(),
        };
        let value = Some(Secret::new(value.to_owned()));
        IdSigner::for_key(&Key { value, ..Key::new(provider.into(), name, Arc::new(endpoint)) })
    }

    #[test]
    fn a_signature_is_valid_for_its_key_and_client_only() {
        let signer_a = signer("openai", "a", "sk-1");
        let signed = signer_a.sign(Some("me"), "file-1");
        assert_eq!(signer_a.verify(Some("me"), &signed), Some("file-1"));
        assert_eq!(
            signer("openai", "a", "sk-1").verify(Some("me"), &signed),
            Some("file-1"),
            "restart"
        );
        assert_eq!(signer_a.verify(Some("you"), &signed), None);
        assert_eq!(signer_a.verify(None, &signed), None);
        for other in [
            signer("openai", "b", "sk-1"),
            signer("azure", "a", "sk-1"),
            signer("openai", "a", "sk-2"),
        ] {
            assert_eq!(other.verify(Some("me"), &signed), None);
        }
        assert_eq!(signer_a.verify(Some("me"), &signed.replace("file-1", "file-2")), None);
        assert_eq!(signer_a.verify(Some("me"), &signed[..signed.len() - 1]), None);
        assert_eq!(signer_a.verify(Some("me"), "file-1"), None);
        assert_eq!(signer_a.verify(Some("me"), "file-1.kmx_"), None);
    }

    #[test]
    fn a_signed_id_is_one_segment_of_a_path() {
        let signed = signer("p", "k", "s").sign(None, "batch_abc");
        assert!(
            signed.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)),
            "{signed}"
        );
    }
}
