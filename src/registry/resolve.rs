//! Name resolution for registry connections.
//!
//! The system's resolver, wrapped so that a name without addresses is told apart from a host that
//! does not answer. Every connection passes here, which makes it the place for address rules.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The name has no addresses, or the resolver did not say.
#[derive(Debug, thiserror::Error)]
#[error("host name does not resolve")]
pub(super) struct UnresolvedName;

/// Resolves with the system's resolver, off the runtime's threads.
#[derive(Clone, Copy, Debug)]
pub(super) struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // The port is the connector's business; zero leaves it open.
            let addresses = tokio::net::lookup_host((name.as_str(), 0))
                .await
                .map_err(|_| UnresolvedName)?;
            let mut addresses = addresses.peekable();
            if addresses.peek().is_none() {
                return Err(UnresolvedName.into());
            }
            Ok(Box::new(addresses.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}
