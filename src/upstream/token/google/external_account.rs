//! Workload identity federation: the token of another issuer, traded for one of Google.
//! <https://google.aip.dev/auth/4117>

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Uri};
use serde::Deserialize;
use serde_json::Value;

use super::{Answered, SCOPE, address};
use crate::secret::Secret;
use crate::upstream::error::TokenError;
use crate::upstream::token::{Ways, oauth};

/// A file of the type `external_account`.
#[derive(Deserialize)]
pub(super) struct External {
    audience: String,
    subject_token_type: String,
    #[serde(with = "address")]
    token_url: Uri,
    credential_source: Where,
    service_account_impersonation_url: Option<Address>,
    /// For the whole of a workforce, which has no project of its own.
    workforce_pool_user_project: Option<String>,
}

/// Where the other issuer's token is. Those of AWS, which are signed, and of a program, which would
/// have to be run, are not among them.
#[derive(Deserialize)]
struct Where {
    file: Option<std::path::PathBuf>,
    url: Option<Address>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    format: Format,
}

#[derive(Deserialize)]
struct Address(#[serde(with = "address")] Uri);

/// How the token stands in its file or answer.
#[derive(Deserialize, Default)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Format {
    #[default]
    Text,
    Json {
        subject_token_field_name: String,
    },
}

impl External {
    pub(super) async fn token(&self, ways: &Ways) -> Answered {
        let subject = self.subject(ways).await?;
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
        let fields = fields.into_iter().chain(options.as_deref().map(|own| ("options", own)));
        let traded = oauth::token(&ways.outside, oauth::form(&self.token_url, fields)).await?;
        match &self.service_account_impersonation_url {
            Some(Address(uri)) => ways.impersonate(uri, &[], &traded.value).await,
            None => Ok(traded),
        }
    }

    /// The other issuer's token as it is now.
    async fn subject(&self, ways: &Ways) -> Result<Secret, TokenError> {
        let source = &self.credential_source;
        let text = match (&source.file, &source.url) {
            (Some(file), _) => oauth::file(file).await.map_err(|_| none_of("file"))?,
            (None, Some(Address(uri))) => source.fetched(uri, ways).await?,
            (None, None) => {
                let words = "was not asked: the credential_source is neither a file nor a url";
                return Err(TokenError::refused(words));
            }
        };
        match &source.format {
            Format::Text => Ok(text),
            Format::Json { subject_token_field_name } => {
                let whole: Option<Value> = serde_json::from_str(text.expose()).ok();
                let token = whole.as_ref().and_then(|whole| whole.get(subject_token_field_name));
                let token = token.and_then(Value::as_str).ok_or_else(|| none_of("source"))?;
                Ok(Secret::new(token.to_owned()))
            }
        }
    }
}

impl Where {
    async fn fetched(&self, uri: &Uri, ways: &Ways) -> Result<Secret, TokenError> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = uri.clone();
        for (name, value) in &self.headers {
            let name = HeaderName::try_from(name).map_err(|_| bad_header())?;
            let mut value = HeaderValue::try_from(value).map_err(|_| bad_header())?;
            value.set_sensitive(true);
            request.headers_mut().insert(name, value);
        }
        // Without TLS it is a server of the machine itself.
        let plain = uri.scheme() == Some(&http::uri::Scheme::HTTP);
        let client = if plain { &ways.machine } else { &ways.outside };
        let answer = client.fetch(request).await.map_err(|_| none_of("server"))?;
        if !answer.status().is_success() {
            return Err(none_of("server"));
        }
        String::from_utf8(answer.into_body().to_vec())
            .map(Secret::new)
            .map_err(|_| none_of("server"))
    }
}

fn none_of(place: &str) -> TokenError {
    TokenError::unreachable(format!("was not asked: the {place} of the subject token has none"))
}

fn bad_header() -> TokenError {
    TokenError::refused("was not asked: a header of the credential_source is none")
}
