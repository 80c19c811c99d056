//! State that the next configuration takes over where it is the same: connection pools and tokens.

use std::io;
use std::sync::Arc;

use http::HeaderValue;

use super::aws::SigningKeys;
use super::client::{HttpClient, HttpClients};
use super::token::aws::{AwsSource, Role};
use super::token::entra::EntraSource;
use super::token::google::GoogleSource;
use super::token::{BearerCache, TokenCache, TokenCaches, TokenClients};
use crate::config::{EntraAuth, GoogleAuth, Transport};

/// The connection pools and tokens of one configuration.
#[derive(Debug, Default)]
pub struct CarryOver {
    clients: HttpClients,
    bearer_tokens: TokenCaches<HeaderValue>,
    aws_credentials: TokenCaches<SigningKeys>,
}

/// Makes the pools and tokens of one provider, or takes them over from the configuration before. `name`
/// is the name of the key, for the log. All methods must be called within the runtime.
pub(super) struct Builder<'a> {
    pub(super) transport: &'a Transport,
    pub(super) next: &'a mut CarryOver,
    pub(super) before: Option<&'a CarryOver>,
}

impl Builder<'_> {
    pub(super) fn client(&mut self, tls: bool) -> io::Result<HttpClient> {
        let before = self.before.map(|before| &before.clients);
        self.next.clients.client(self.transport, tls, before)
    }

    pub(super) fn entra_tokens(
        &mut self,
        entra: &EntraAuth,
        name: &str,
    ) -> io::Result<Arc<BearerCache>> {
        let source = EntraSource::new(entra, self.token_clients()?)?;
        let before = self.before.map(|before| &before.bearer_tokens);
        let identity = source.identity();
        Ok(self.next.bearer_tokens.cache(self.transport, identity, before, name, source))
    }

    pub(super) fn google_tokens(
        &mut self,
        google: &GoogleAuth,
        name: &str,
    ) -> io::Result<Arc<BearerCache>> {
        let source = GoogleSource::new(google, self.token_clients()?)?;
        let before = self.before.map(|before| &before.bearer_tokens);
        let identity = source.identity();
        Ok(self.next.bearer_tokens.cache(self.transport, identity, before, name, source))
    }

    /// Without a role: the credentials that AWS's default chain finds.
    pub(super) fn aws_credentials(
        &mut self,
        role: Option<Role>,
        name: &str,
    ) -> io::Result<Arc<TokenCache<SigningKeys>>> {
        let source = AwsSource::new(role, self.token_clients()?);
        let before = self.before.map(|before| &before.aws_credentials);
        let identity = source.identity();
        Ok(self.next.aws_credentials.cache(self.transport, identity, before, name, source))
    }

    pub(super) fn token_clients(&mut self) -> io::Result<TokenClients> {
        let before = self.before.map(|before| &before.clients);
        let direct = Transport { proxy: None, ca: None, ..self.transport.clone() };
        Ok(TokenClients {
            provider: self.client(true)?,
            direct: self.next.clients.client(&direct, false, before)?,
        })
    }
}
