//! Tokens that clouds give for a credential, minted in the background.
//!
//! ```text
//! cell.rs     one credential's current token: single flight, early refresh, what failures mean
//! oauth.rs    the answer of a token endpoint
//! entra.rs    Microsoft Entra ID and Azure's managed identities
//! aws.rs      the default chain and assumed roles of AWS
//! google.rs   Google: files of credentials, the metadata server
//! ```
//!
//! Each credential has a cell with a task of its own, so that an issuer that hangs delays nobody else.
//! Cells outlive the configuration they were made for, like connections.

mod aws;
mod cell;
mod entra;
mod google;
mod oauth;

use std::io;
use std::sync::Arc;

use http::HeaderValue;

pub use aws::sts as aws_sts;
pub use cell::{Cell, Fresh, Mint, Minted, NoToken};

use super::Kept;
use super::aws::Keys;
use super::client::Client;
use crate::config::{AwsCredentials, EntraAuth, GoogleAuth, Transport};
use crate::secret::{Fingerprint, Secret};

/// The cells of one configuration that hold one type of token.
#[derive(Debug)]
pub struct Cells<T> {
    known: Vec<(Transport, Fingerprint, Arc<Cell<T>>)>,
}

impl<T: Send + Sync + 'static> Cells<T> {
    /// The cell of this credential, by the way to its issuer and what it hashes to: one made before, or
    /// from `before`, or a new one. Must be called within the runtime.
    pub fn cell<M: Mint<T>>(
        &mut self,
        transport: &Transport,
        credential: Fingerprint,
        before: Option<&Self>,
        name: &str,
        mint: impl FnOnce() -> io::Result<M>,
    ) -> io::Result<Arc<Cell<T>>> {
        let same = |(t, c, _): &&(Transport, Fingerprint, _)| *c == credential && t == transport;
        if let Some((_, _, cell)) = self.known.iter().find(same) {
            return Ok(cell.clone());
        }
        let kept = before.and_then(|cells| cells.known.iter().find(same));
        let cell = match kept {
            Some((_, _, cell)) => cell.clone(),
            None => Cell::new(name.to_owned(), mint()?),
        };
        self.known.push((transport.clone(), credential, cell.clone()));
        Ok(cell)
    }
}

impl<T> Default for Cells<T> {
    fn default() -> Self {
        Self { known: Vec::new() }
    }
}

/// A value of `authorization`, marked sensitive: `Bearer TOKEN`.
pub type Bearer = Cell<HeaderValue>;

/// The token itself, as an answer might echo it.
pub fn text(bearer: &HeaderValue) -> &[u8] {
    bearer.as_bytes().strip_prefix(b"Bearer ").unwrap_or_default()
}

/// How a mint gets to where it asks.
#[derive(Clone, Debug)]
struct Ways {
    /// The provider's own: its proxy, its certificates.
    outside: Client,
    /// Straight on: what the machine itself answers means another machine when a proxy asks.
    machine: Client,
}

impl Ways {
    fn new(transport: &Transport, kept: &mut Kept, before: Option<&Kept>) -> io::Result<Self> {
        let clients = before.map(|kept| &kept.clients);
        let direct = Transport { proxy: None, ca: None, ..transport.clone() };
        Ok(Self {
            outside: kept.clients.client(transport, true, clients)?,
            machine: kept.clients.client(&direct, false, clients)?,
        })
    }
}

/// The cell for a credential of Entra ID, over this provider's way. `name` is for the log.
pub fn entra(
    entra: &EntraAuth,
    name: &str,
    transport: &Transport,
    kept: &mut Kept,
    before: Option<&Kept>,
) -> io::Result<Arc<Bearer>> {
    let ways = Ways::new(transport, kept, before)?;
    let cells = before.map(|kept| &kept.bearers);
    let mint = || entra::Minter::new(entra, ways);
    kept.bearers.cell(transport, entra::identity(entra), cells, name, mint)
}

/// The cell for a credential of Google, over this provider's way. `name` is for the log.
pub fn google(
    google: &GoogleAuth,
    name: &str,
    transport: &Transport,
    kept: &mut Kept,
    before: Option<&Kept>,
) -> io::Result<Arc<Bearer>> {
    let ways = Ways::new(transport, kept, before)?;
    let cells = before.map(|kept| &kept.bearers);
    let mint = || google::Minter::new(google, ways);
    kept.bearers.cell(transport, google::identity(google), cells, name, mint)
}

/// The cell for what AWS's default chain finds or, with an ARN, for a role assumed by that pair or by
/// what the chain finds, at the STS of a region.
pub fn aws(
    role: Option<(&str, &str)>,
    from: Option<&AwsCredentials>,
    name: &str,
    transport: &Transport,
    kept: &mut Kept,
    before: Option<&Kept>,
) -> io::Result<Arc<Cell<Keys>>> {
    let ways = Ways::new(transport, kept, before)?;
    let cells = before.map(|kept| &kept.aws);
    let mint = || {
        Ok(match role {
            Some((arn, region)) => aws::Minter::role(arn, region, from, ways),
            None => aws::Minter::chain(ways),
        })
    };
    kept.aws.cell(transport, aws::identity(role, from), cells, name, mint)
}

/// What a credential hashes to, from everything that decides which token it gets.
fn identity(parts: &[&str]) -> Fingerprint {
    Secret::new(format!("{parts:?}")).fingerprint()
}

#[cfg(test)]
mod tests;
