//! Name resolution for registry connections.
//!
//! The system's resolver, wrapped so that a name without addresses is told apart from a host that
//! does not answer. Every connection to a name passes here, so that what the name stands for at this
//! moment is judged, and what was judged is what is connected to.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Url;

use super::reach::Neighbourhood;

/// The variables that name proxies, which the operator of this process chooses, not a registry.
const PROXY_VARIABLES: [&str; 6] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
];

static PROXIES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let values = PROXY_VARIABLES
        .iter()
        .filter_map(|name| std::env::var(name).ok());
    values.filter_map(|value| proxy_host(&value)).collect()
});

/// The name has no addresses, or the resolver did not say.
#[derive(Debug, thiserror::Error)]
#[error("host name does not resolve")]
pub(super) struct UnresolvedName;

/// Resolves with the system's resolver, off the runtime's threads, and leaves out addresses that a
/// registry must not lead to.
#[derive(Clone, Debug)]
pub(super) struct GuardedResolver(pub(super) Arc<Neighbourhood>);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let neighbourhood = Arc::clone(&self.0);
        Box::pin(async move {
            // The port is the connector's business; zero leaves it open.
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0))
                .await
                .map_err(|_| UnresolvedName)?
                .collect();
            if addresses.is_empty() {
                return Err(UnresolvedName.into());
            }
            if PROXIES.iter().any(|proxy| proxy == name.as_str()) {
                return Ok(Box::new(addresses.into_iter()) as Addrs);
            }
            let addresses = addresses.iter().map(SocketAddr::ip);
            let admitted: Vec<IpAddr> = neighbourhood.admit(name.as_str(), addresses)?;
            let admitted = admitted
                .into_iter()
                .map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(admitted) as Addrs)
        })
    }
}

/// The host of a proxy as its variable names it, with or without a scheme.
fn proxy_host(value: &str) -> Option<String> {
    let with_scheme = if value.contains("://") {
        Url::parse(value)
    } else {
        Url::parse(&format!("http://{value}"))
    };
    Some(with_scheme.ok()?.host_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("http://proxy.test:3128", Some("proxy.test"))]
    #[case("proxy.test:3128", Some("proxy.test"))]
    #[case("socks5://user:word@Proxy.test", Some("Proxy.test"))]
    #[case("", None)]
    fn proxies_are_known_by_their_host(#[case] value: &str, #[case] host: Option<&str>) {
        let found = proxy_host(value);
        assert!(
            found
                .as_deref()
                .zip(host)
                .is_none_or(|(found, host)| found.eq_ignore_ascii_case(host))
        );
        assert_eq!(found.is_some(), host.is_some());
    }

    #[tokio::test]
    async fn a_name_of_this_host_is_left_out_unless_the_registry_is_here() {
        let resolve = async |neighbourhood: &Arc<Neighbourhood>| {
            let resolver = GuardedResolver(Arc::clone(neighbourhood));
            let found = resolver.resolve("localhost".parse().unwrap()).await;
            found
                .map(Iterator::count)
                .map_err(|error| error.to_string())
        };
        let there = Arc::new(Neighbourhood::new("r.test"));
        there.admit("r.test", [IpAddr::from([8, 8, 8, 8])]).unwrap();
        let refusal = resolve(&there).await.unwrap_err();
        assert!(refusal.contains("further inside"), "{refusal}");
        let here = Arc::new(Neighbourhood::new("127.0.0.1"));
        here.admit("127.0.0.1", [IpAddr::from([127, 0, 0, 1])])
            .unwrap();
        assert!(resolve(&here).await.unwrap() > 0);
    }
}
