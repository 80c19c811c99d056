//! `vertex_key_config`

use std::path::PathBuf;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value as Json;

use super::CloudKey;
use crate::config::check::key_parts::{KeyValue, KindSettings};
use crate::config::check::report::Check;
use crate::config::check::resolve_source::Lines;
use crate::config::input_files::describe_io_error;
use crate::config::source::SecretSource;
use crate::config::{Cloud, Endpoint, GoogleAuth, Vertex, file};
use crate::secret::Secret;

/// The members of a credentials file that are checked here. Secrets are not read.
/// <https://google.aip.dev/auth/4110>
#[derive(Deserialize)]
struct CredentialsFile {
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

/// The credentials of a key.
struct SourcedAuth {
    auth: GoogleAuth,
    project: Option<String>,
    /// The source for display.
    source: String,
}

const PROJECT_VARIABLE: &str = "GOOGLE_CLOUD_PROJECT";
const EXPECTED: &str = "write the complete JSON text of the credentials file";

impl Check<'_, '_> {
    pub(super) fn vertex(
        &mut self,
        at: &CloudKey<'_>,
        written: Option<&file::Vertex>,
    ) -> KindSettings {
        let Some(written) = written else {
            if !self.is_reported(at.table) {
                let help = "add it with region, and auth_credentials = { file = \"/path/of/credentials.json\" }";
                self.error(at.key, "a vertex key needs `vertex_key_config`", help);
            }
            return KindSettings::default();
        };
        let file::Vertex { region, auth_credentials, deployments, .. } = written;
        let deployments = self.deployments(at.table, deployments);
        let region = region.as_ref().and_then(|source| self.plain(&at.path("region"), source));
        let region = region.filter(|region| self.check_vertex_region(&at.path("region"), region));
        let endpoint = region.as_deref().filter(|_| !at.context.has_base_url).and_then(endpoint);
        let found = self.google(at, auth_credentials.as_ref());
        let project = self.vertex_project(at, written, found.as_ref());
        let (Some((project, number)), Some(region), Some(found)) = (project, region, found) else {
            return KindSettings { endpoint, deployments, ..KindSettings::default() };
        };
        let SourcedAuth { auth, source, .. } = found;
        let cloud = Cloud::Vertex(Vertex { project, number, region, auth });
        KindSettings {
            endpoint,
            deployments,
            cloud,
            source: Some(source),
            ..KindSettings::default()
        }
    }

    /// Returns the project, and its number if that is set.
    fn vertex_project(
        &mut self,
        at: &CloudKey<'_>,
        table: &file::Vertex,
        found: Option<&SourcedAuth>,
    ) -> Option<(String, Option<String>)> {
        let file::Vertex { project_id, project_number, .. } = table;
        let number = match project_number {
            Some(source) => {
                let path = at.path("project_number");
                let number = self.plain(&path, source)?;
                self.check_project_number(&path, &number)?;
                Some(number)
            }
            None => None,
        };
        if let Some(source) = project_id {
            let path = at.path("project_id");
            let id = self.plain(&path, source)?;
            self.check_project(&path, "`project_id`", &id)?;
            return Some((id, number));
        }
        if let Some(id) = found.and_then(|found| found.project.clone()) {
            return Some((id, number));
        }
        if let Some(id) = self.variable_text(PROJECT_VARIABLE) {
            self.check_project(
                at.table,
                &format!("environment variable `{PROJECT_VARIABLE}`"),
                &id,
            )?;
            return Some((id, number));
        }
        if number.is_none() && found.is_some() && !self.is_reported(at.table) {
            self.error(
                at.table,
                "`project_id` is missing, and the credentials have none",
                format!("for example project_id = \"my-project\", or set {PROJECT_VARIABLE}")
                    .as_str(),
            );
        }
        Some((number.clone()?, number))
    }

    /// Returns the credentials of the key, else those of the environment.
    fn google(&mut self, at: &CloudKey<'_>, own: Option<&SecretSource>) -> Option<SourcedAuth> {
        let path = at.path("auth_credentials");
        match (at.value, own) {
            (KeyValue::Unknown, _) => None,
            (KeyValue::Plain(_) | KeyValue::Json(_), Some(_)) => {
                let help = "remove one of the two";
                self.name_error(&path, "the key has both a `value` and `auth_credentials`", help);
                None
            }
            (KeyValue::Plain(value) | KeyValue::Json(value), None) => {
                self.credentials(&at.value_path(), &value.text, &value.source, "")
            }
            (KeyValue::Absent, Some(source)) => {
                let value = self.secret(&path, source, Lines::Many)?;
                self.credentials(&path, &value.text, &value.source, "")
            }
            (KeyValue::Absent, None) if self.is_reported(&path) => None,
            (KeyValue::Absent, None) => self.application_default(at),
        }
    }

    /// Returns the application default credentials.
    /// <https://cloud.google.com/docs/authentication/application-default-credentials>
    fn application_default(&mut self, at: &CloudKey<'_>) -> Option<SourcedAuth> {
        const FILE_VARIABLE: &str = "GOOGLE_APPLICATION_CREDENTIALS";
        const METADATA_VARIABLE: &str = "GCE_METADATA_HOST";
        if let Some(file) = self.variable_text(FILE_VARIABLE) {
            let file = PathBuf::from(file);
            let location = format!(" in the file of {FILE_VARIABLE}");
            return match self.reader.read(&file).map(String::from_utf8) {
                Ok(Ok(text)) => {
                    let text = Secret::new(text);
                    self.credentials(
                        at.table,
                        &text,
                        &format!("file {}", file.display()),
                        &location,
                    )
                }
                Ok(Err(_)) => {
                    self.error(
                        at.table,
                        format!("the file of {FILE_VARIABLE} is not UTF-8 text"),
                        None,
                    );
                    None
                }
                Err(error) => {
                    let why = describe_io_error(&error);
                    let message = format!("the file of {FILE_VARIABLE} cannot be read: {why}");
                    self.error(at.table, message, "make the file readable, or write auth_credentials = { file = \"/path/of/credentials.json\" }");
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
            let text = Secret::new(text);
            let location = " in gcloud's application_default_credentials.json";
            return self.credentials(
                at.table,
                &text,
                &format!("file {}", file.display()),
                location,
            );
        }
        let host = self.variable_text(METADATA_VARIABLE);
        let host = host.unwrap_or_else(|| "metadata.google.internal".to_owned());
        let address = self.variable_endpoint(at.table, METADATA_VARIABLE, "http", &host)?;
        let source = "metadata server".to_owned();
        Some(SourcedAuth { auth: GoogleAuth::MetadataServer(address), project: None, source })
    }

    /// Checks the text of a credentials file. `location` names the file if the path does not.
    fn credentials(
        &mut self,
        path: &str,
        text: &Secret,
        source: &str,
        location: &str,
    ) -> Option<SourcedAuth> {
        let is_path = text.inspect_text(|text| text.starts_with(['/', '.', '~']));
        let expected = if is_path { "write a path as { file = \"…\" }" } else { EXPECTED };
        let parsed: CredentialsFile = self.json(path, text, location, expected)?;
        let kind = parsed.kind.as_ref().and_then(Json::as_str);
        let (name, required) = match kind {
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
                let problem =
                    if parsed.kind.is_some() { "is not a known type" } else { "is missing" };
                self.error(
                    path,
                    format!("`type` of the credentials{location} {problem}"),
                    "service_account, authorized_user, external_account or impersonated_service_account",
                );
                return None;
            }
        };
        if let Some((name, _)) = required.iter().find(|(_, given)| !given) {
            self.error(path, format!("`{name}` of the credentials{location} is missing"), EXPECTED);
            return None;
        }
        let project = parsed.project_id.as_ref().and_then(Json::as_str).map(str::to_owned);
        if let Some(project) = &project {
            self.check_project(
                path,
                &format!("`project_id` of the credentials{location}"),
                project,
            )?;
        }
        let source = format!("{name} from {source}");
        Some(SourcedAuth { auth: GoogleAuth::Credentials(text.clone()), project, source })
    }

    /// Checks a project ID: `my-project`, or `example.com:my-project` from before 2012.
    fn check_project(&mut self, path: &str, what: &str, id: &str) -> Option<()> {
        let small = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_valid =
            !id.is_empty() && id.bytes().all(|byte| small(byte) || b"-.:".contains(&byte));
        if !is_valid {
            let help = "an ID has lower-case letters, digits and `-`, for example \"my-project\"";
            self.error(path, format!("{what} is not a project ID"), help);
        }
        is_valid.then_some(())
    }

    fn check_project_number(&mut self, path: &str, number: &str) -> Option<()> {
        let is_valid = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        if !is_valid {
            let help = "for example project_number = \"123456789012\"; write an ID in project_id";
            self.error(path, "`project_number` must have digits only", help);
        }
        is_valid.then_some(())
    }

    fn check_vertex_region(&mut self, path: &str, region: &str) -> bool {
        let small = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_valid = region.bytes().all(small) && region.starts_with(|first: char| first != '-');
        if !is_valid {
            let help = "for example \"us-central1\", \"global\", or a multi-region: \"us\", \"eu\"";
            self.error(path, "`region` is not the name of a region", help);
        }
        is_valid
    }
}

/// Returns the address of a region, as the client libraries of Google and Anthropic build it.
/// <https://cloud.google.com/vertex-ai/generative-ai/docs/learn/locations>
fn endpoint(region: &str) -> Option<Endpoint> {
    let host = match region {
        "global" => "aiplatform.googleapis.com".to_owned(),
        "us" | "eu" => format!("aiplatform.{region}.rep.googleapis.com"),
        region => format!("{region}-aiplatform.googleapis.com"),
    };
    Endpoint::https(host)
}
