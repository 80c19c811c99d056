//! `vertex_key_config`

use std::path::PathBuf;

use http::uri::{Authority, Scheme};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value as Json;

use super::{Given, Place};
use crate::config::check::Check;
use crate::config::check::keys::Details;
use crate::config::check::resolve_source::{Lines, reason};
use crate::config::source::SecretSource;
use crate::config::{Cloud, Endpoint, GoogleAuth, Vertex, file};
use crate::secret::Secret;

/// What the text of a credentials file has, as far as it is looked at here. Secrets are passed over.
/// <https://google.aip.dev/auth/4110>
#[derive(Deserialize)]
struct Text {
    #[serde(rename = "type")]
    kind: Option<Json>,
    project_id: Option<Json>,
    client_email: Option<IgnoredAny>,
    private_key: Option<IgnoredAny>,
    client_id: Option<IgnoredAny>,
    client_secret: Option<IgnoredAny>,
    refresh_token: Option<IgnoredAny>,
    audience: Option<IgnoredAny>,
    subject_token_type: Option<IgnoredAny>,
    token_url: Option<IgnoredAny>,
    credential_source: Option<IgnoredAny>,
    service_account_impersonation_url: Option<IgnoredAny>,
    source_credentials: Option<IgnoredAny>,
}

/// Credentials and what is known of them.
struct Found {
    access: GoogleAuth,
    project: Option<String>,
    /// In words.
    source: String,
}

const PROJECT: &str = "GOOGLE_CLOUD_PROJECT";
const WHOLE: &str = "the whole text of the JSON file that the provider gave out";

impl Check<'_, '_> {
    pub(super) fn vertex(&mut self, at: &Place<'_>, written: Option<&file::Vertex>) -> Details {
        let Some(written) = written else {
            if !self.doubtful(at.table) {
                let help = "with region, and auth_credentials = { file = \"…\" }";
                self.error(at.key, "a vertex key needs `vertex_key_config`", help);
            }
            return Details::default();
        };
        let file::Vertex { region, auth_credentials, deployments, .. } = written;
        let deployments = self.deployments(at.table, deployments);
        let region = region.as_ref().and_then(|source| self.plain(&at.of("region"), source));
        let region = region.filter(|region| self.vertex_region(&at.of("region"), region));
        let endpoint = region.as_deref().filter(|_| !at.around.has_base).and_then(endpoint);
        let found = self.google(at, auth_credentials.as_ref());
        let project = self.vertex_project(at, written, found.as_ref());
        let (Some((project, number)), Some(region), Some(found)) = (project, region, found) else {
            return Details { endpoint, deployments, ..Details::default() };
        };
        let Found { access, source, .. } = found;
        let cloud = Cloud::Vertex(Vertex { project, number, region, auth: access });
        Details { endpoint, deployments, cloud, source: Some(source), ..Details::default() }
    }

    /// The project, and its number where that is given.
    fn vertex_project(
        &mut self,
        at: &Place<'_>,
        table: &file::Vertex,
        found: Option<&Found>,
    ) -> Option<(String, Option<String>)> {
        let file::Vertex { project_id, project_number, .. } = table;
        let number = match project_number {
            Some(source) => {
                let path = at.of("project_number");
                let number = self.plain(&path, source)?;
                self.number(&path, &number)?;
                Some(number)
            }
            None => None,
        };
        if let Some(source) = project_id {
            let path = at.of("project_id");
            let id = self.plain(&path, source)?;
            self.project(&path, "`project_id`", &id)?;
            return Some((id, number));
        }
        if let Some(id) = found.and_then(|found| found.project.clone()) {
            return Some((id, number));
        }
        if let Some(id) = self.variable_text(PROJECT) {
            self.project(at.table, &format!("environment variable `{PROJECT}`"), &id)?;
            return Some((id, number));
        }
        if number.is_none() && found.is_some() && !self.doubtful(at.table) {
            self.error(
                at.table,
                "`project_id` is missing, and the credentials do not name one",
                format!("for example project_id = \"my-project\", or set {PROJECT}").as_str(),
            );
        }
        Some((number.clone()?, number))
    }

    /// The credentials: the key's own, else those of the environment.
    fn google(&mut self, at: &Place<'_>, own: Option<&SecretSource>) -> Option<Found> {
        let path = at.of("auth_credentials");
        match (at.value, own) {
            (Given::Unknown, _) => None,
            (Given::Plain(_) | Given::Json(_), Some(_)) => {
                let help = "remove one of the two";
                self.misplaced(&path, "the key has a `value` and `auth_credentials`", help);
                None
            }
            (Given::Plain(value) | Given::Json(value), None) => {
                self.credentials(&at.value(), &value.text, &value.source, "")
            }
            (Given::Nothing, Some(source)) => {
                let value = self.secret(&path, source, Lines::Many)?;
                self.credentials(&path, &value.text, &value.source, "")
            }
            (Given::Nothing, None) if self.doubtful(&path) => None,
            (Given::Nothing, None) => self.application_default(at),
        }
    }

    /// Application default credentials.
    /// <https://cloud.google.com/docs/authentication/application-default-credentials>
    fn application_default(&mut self, at: &Place<'_>) -> Option<Found> {
        const NAMED: &str = "GOOGLE_APPLICATION_CREDENTIALS";
        const METADATA: &str = "GCE_METADATA_HOST";
        if let Some(file) = self.variable_text(NAMED) {
            let file = PathBuf::from(file);
            let of = format!(" in the file of {NAMED}");
            return match self.reader.read(&file).map(String::from_utf8) {
                Ok(Ok(text)) => {
                    self.credentials(at.table, &text, &format!("file {}", file.display()), &of)
                }
                Ok(Err(_)) => {
                    self.error(at.table, format!("the file of {NAMED} is not UTF-8 text"), None);
                    None
                }
                Err(error) => {
                    let why = reason(&error);
                    let message = format!("the file of {NAMED} cannot be read: {why}");
                    self.error(at.table, message, "or write auth_credentials = { file = \"…\" }");
                    None
                }
            };
        }
        let dir = self.variable_text("CLOUDSDK_CONFIG").map(PathBuf::from);
        let dir =
            dir.or_else(|| Some(PathBuf::from(self.variable_text("HOME")?).join(".config/gcloud")));
        let file = dir.map(|dir| dir.join("application_default_credentials.json"));
        if let Some(file) = file
            && let Ok(Ok(text)) = self.reader.read(&file).map(String::from_utf8)
        {
            let of = " in gcloud's application_default_credentials.json";
            return self.credentials(at.table, &text, &format!("file {}", file.display()), of);
        }
        let host = self.variable_text(METADATA);
        let host = host.unwrap_or_else(|| "metadata.google.internal".to_owned());
        let address = self.address_of(at.table, METADATA, "http", &host)?;
        let source = "metadata server".to_owned();
        Some(Found { access: GoogleAuth::MetadataServer(address), project: None, source })
    }

    /// The text of a credentials file. `of` says which, where the setting does not.
    fn credentials(&mut self, path: &str, text: &str, source: &str, of: &str) -> Option<Found> {
        let is_path = text.starts_with(['/', '.', '~']);
        let form = if is_path { "a path goes into { file = \"…\" }" } else { WHOLE };
        let parsed: Text = self.json(path, text, of, form)?;
        let kind = parsed.kind.as_ref().and_then(Json::as_str);
        let (words, wanted) = match kind {
            Some("service_account") => (
                "service account",
                vec![
                    ("client_email", parsed.client_email.is_some()),
                    ("private_key", parsed.private_key.is_some()),
                ],
            ),
            Some("authorized_user") => (
                "user credentials",
                vec![
                    ("client_id", parsed.client_id.is_some()),
                    ("client_secret", parsed.client_secret.is_some()),
                    ("refresh_token", parsed.refresh_token.is_some()),
                ],
            ),
            Some("external_account") => (
                "workload identity",
                vec![
                    ("audience", parsed.audience.is_some()),
                    ("subject_token_type", parsed.subject_token_type.is_some()),
                    ("token_url", parsed.token_url.is_some()),
                    ("credential_source", parsed.credential_source.is_some()),
                ],
            ),
            Some("impersonated_service_account") => (
                "impersonated service account",
                vec![
                    (
                        "service_account_impersonation_url",
                        parsed.service_account_impersonation_url.is_some(),
                    ),
                    ("source_credentials", parsed.source_credentials.is_some()),
                ],
            ),
            _ => {
                let fault =
                    if parsed.kind.is_some() { "is not one that is known" } else { "is missing" };
                self.error(
                    path,
                    format!("`type` of the credentials{of} {fault}"),
                    "service_account, authorized_user, external_account or impersonated_service_account",
                );
                return None;
            }
        };
        if let Some((name, _)) = wanted.iter().find(|(_, given)| !given) {
            self.error(path, format!("`{name}` of the credentials{of} is missing"), WHOLE);
            return None;
        }
        let project = parsed.project_id.as_ref().and_then(Json::as_str).map(str::to_owned);
        if let Some(project) = &project {
            self.project(path, &format!("`project_id` of the credentials{of}"), project)?;
        }
        let source = format!("{words} from {source}");
        Some(Found {
            access: GoogleAuth::Credentials(Secret::new(text.to_owned())),
            project,
            source,
        })
    }

    /// `my-project`, or `example.com:my-project` of before 2012.
    fn project(&mut self, path: &str, what: &str, id: &str) -> Option<()> {
        let small = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let good = !id.is_empty() && id.bytes().all(|byte| small(byte) || b"-.:".contains(&byte));
        if !good {
            let help = "an id has small letters, digits and `-`, for example \"my-project\"";
            self.error(path, format!("{what} is not the id of a project"), help);
        }
        good.then_some(())
    }

    fn number(&mut self, path: &str, number: &str) -> Option<()> {
        let good = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        if !good {
            let help = "for example project_number = \"123456789012\"; an id goes into project_id";
            self.error(path, "`project_number` has digits only", help);
        }
        good.then_some(())
    }

    fn vertex_region(&mut self, path: &str, region: &str) -> bool {
        let small = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let good = region.bytes().all(small) && region.starts_with(|first: char| first != '-');
        if !good {
            let help = "for example \"us-central1\", \"global\", or a multi-region: \"us\", \"eu\"";
            self.error(path, "`region` is not the name of a region", help);
        }
        good
    }
}

/// Where a region answers, as Google's and Anthropic's own clients have it.
/// <https://cloud.google.com/vertex-ai/generative-ai/docs/learn/locations>
fn endpoint(region: &str) -> Option<Endpoint> {
    let host = match region {
        "global" => "aiplatform.googleapis.com".to_owned(),
        "us" | "eu" => format!("aiplatform.{region}.rep.googleapis.com"),
        region => format!("{region}-aiplatform.googleapis.com"),
    };
    let authority = Authority::try_from(host).ok()?;
    Some(Endpoint { scheme: Scheme::HTTPS, authority, prefix: String::new() })
}
