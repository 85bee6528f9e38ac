//! What single registries do differently from the specification: one entry, one test, one link each.
//!
//! No other file of this module may name a registry.

use crate::oci::RegistryHost;

/// The host and port that serve the API of `registry`.
///
/// Docker Hub's images are named `docker.io`, its API answers under another name:
/// <https://docs.docker.com/reference/api/registry/latest/>.
pub(super) fn api_host(registry: &RegistryHost) -> &str {
    if registry.is_docker_hub() {
        "registry-1.docker.io"
    } else {
        registry.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_hub_answers_under_another_name() {
        assert_eq!(
            api_host(&"docker.io".parse().unwrap()),
            "registry-1.docker.io"
        );
        assert_eq!(api_host(&"ghcr.io:443".parse().unwrap()), "ghcr.io:443");
    }
}
