//! Workload identity federation: another issuer's token, exchanged for one of Google.
//! <https://google.aip.dev/auth/4117>

use std::collections::BTreeMap;

use http::uri::Scheme;
use http::{HeaderName, HeaderValue, Uri};
use serde::Deserialize;
use serde_json::Value;

use super::{Fetched, SCOPE, absolute_url};
use crate::secret::Secret;
use crate::upstream::error::TokenError;
use crate::upstream::token::{TokenClients, oauth};

/// A credentials file of the type `external_account`.
#[derive(Deserialize)]
pub(super) struct ExternalAccount {
    audience: String,
    subject_token_type: String,
    #[serde(with = "absolute_url")]
    token_url: Uri,
    credential_source: CredentialSource,
    service_account_impersonation_url: Option<AbsoluteUrl>,
    /// For workforce pools, which belong to no project.
    workforce_pool_user_project: Option<String>,
}

/// Where the other issuer's token is. Not supported: sources of AWS, which need a signature, and programs,
/// which would have to be run.
#[derive(Deserialize)]
struct CredentialSource {
    file: Option<std::path::PathBuf>,
    url: Option<AbsoluteUrl>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    format: Format,
}

#[derive(Deserialize)]
struct AbsoluteUrl(#[serde(with = "absolute_url")] Uri);

/// The format of the file or answer with the token.
#[derive(Deserialize, Default)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Format {
    #[default]
    Text,
    Json {
        subject_token_field_name: String,
    },
}

impl ExternalAccount {
    pub(super) async fn fetch(&self, clients: &TokenClients) -> Fetched {
        let subject = self.subject_token(clients).await?;
        let options = self
            .workforce_pool_user_project
            .as_ref()
            .map(|project| serde_json::json!({ "userProject": project }).to_string());
        // <https://www.rfc-editor.org/rfc/rfc8693#section-2.1>
        let fields = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("audience", &*self.audience),
            ("scope", SCOPE),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("subject_token_type", &*self.subject_token_type),
            ("subject_token", subject.expose()),
        ];
        let options = options.as_deref().map(|options| ("options", options));
        let form = oauth::form(&self.token_url, fields.into_iter().chain(options));
        let token = oauth::fetch(&clients.provider, form).await?;
        match &self.service_account_impersonation_url {
            Some(AbsoluteUrl(uri)) => clients.impersonate(uri, &[], &token.value).await,
            None => Ok(token),
        }
    }

    /// Reads the other issuer's current token.
    async fn subject_token(&self, clients: &TokenClients) -> Result<Secret, TokenError> {
        let source = &self.credential_source;
        let text = match (&source.file, &source.url) {
            (Some(file), _) => oauth::read_token_file(file)
                .await
                .map_err(|_| unavailable("the file of the subject token cannot be read"))?,
            (None, Some(AbsoluteUrl(uri))) => source.fetch(uri, clients).await?,
            (None, None) => {
                return Err(invalid("the credential_source has neither a file nor a url"));
            }
        };
        match &source.format {
            Format::Text => Ok(text),
            Format::Json { subject_token_field_name } => {
                let json: Option<Value> = serde_json::from_str(text.expose()).ok();
                let token = json.as_ref().and_then(|json| json.get(subject_token_field_name));
                let token = token.and_then(Value::as_str).ok_or_else(|| {
                    unavailable("the credential_source has no token at subject_token_field_name")
                })?;
                Ok(Secret::new(token.to_owned()))
            }
        }
    }
}

impl CredentialSource {
    async fn fetch(&self, uri: &Uri, clients: &TokenClients) -> Result<Secret, TokenError> {
        let mut request = oauth::get(uri);
        for (name, value) in &self.headers {
            let bad_header = || invalid("the credential_source has an invalid header");
            let name = HeaderName::try_from(name).map_err(|_| bad_header())?;
            let mut value = HeaderValue::try_from(value).map_err(|_| bad_header())?;
            value.set_sensitive(true);
            request.headers_mut().insert(name, value);
        }
        // A URL without TLS is a server of the machine itself.
        let is_local = uri.scheme() == Some(&Scheme::HTTP);
        let client = if is_local { &clients.direct } else { &clients.provider };
        let no_token = || unavailable("the url of the credential_source returned no token");
        let answer = client.fetch(request).await.map_err(|_| no_token())?;
        if !answer.status().is_success() {
            return Err(no_token());
        }
        let text = String::from_utf8(answer.into_body().to_vec());
        text.map(Secret::new).map_err(|_| no_token())
    }
}

fn unavailable(reason: &str) -> TokenError {
    TokenError::unreachable(format!("was not called: {reason}"))
}

fn invalid(reason: &str) -> TokenError {
    TokenError::refused(format!("was not called: {reason}"))
}
