//! The Secrets of a build: whether they are there before a pod waits for them, and their values taken out of what
//! is shown of a log.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use super::attestation::signing_key;
use super::pod::needed_secrets;
use super::source::{of_failure, source_failure};
use crate::api::ImageBuild;
use crate::build::BuildFailure;
use crate::controller::registries::secret_not_found;
use crate::controller::request::{RequestError, request};
use crate::reason::Reason;

/// Values that are shorter are everywhere.
const MIN_SCRUBBED_BYTES: usize = 4;
/// What stands in their place.
const SCRUBBED: &str = "***";

/// Why the build could not end well, if a Secret that its pod mounts, a key of it, or what signs is not there.
pub(super) async fn missing(
    secrets: &Api<Secret>,
    object: &ImageBuild,
) -> Result<Option<BuildFailure>, RequestError> {
    for (name, keys) in needed_secrets(object) {
        let Some(secret) = request(secrets.get_opt(name)).await? else {
            return Ok(Some(of_failure(&secret_not_found(name))));
        };
        let data = secret.data.unwrap_or_default();
        if let Some(key) = keys.into_iter().find(|key| !data.contains_key(*key)) {
            let message = format!("Secret {name}: key {key} is missing");
            return Ok(Some(source_failure(Reason::SecretInvalid, &message)));
        }
    }
    // The pod does not get it; a build that nobody can sign in the end is not begun.
    let key = signing_key(secrets, &object.spec.attest).await?;
    Ok(key.err())
}

/// The values of the Secrets that the container had which builds. There is nothing to print.
pub(super) struct SecretValues(Vec<Vec<u8>>);

impl SecretValues {
    pub(super) async fn read(
        secrets: &Api<Secret>,
        object: &ImageBuild,
    ) -> Result<Self, RequestError> {
        let mut values = Vec::new();
        for name in needed_secrets(object).into_keys() {
            let secret = request(secrets.get_opt(name)).await?;
            let data = secret.and_then(|secret| secret.data).unwrap_or_default();
            values.extend(data.into_values().map(|value| value.0));
        }
        Ok(Self(values))
    }

    /// `text` without any of them. It has to be whole: a part of a value is not found.
    pub(super) fn scrub(&self, text: String) -> String {
        without(text, &self.0)
    }
}

/// `text` without any of `values`, and without any line of them.
fn without(text: String, values: &[Vec<u8>]) -> String {
    let mut parts: Vec<&str> = values
        .iter()
        .filter_map(|value| std::str::from_utf8(value).ok())
        .flat_map(|value| std::iter::once(value.trim()).chain(value.lines().map(str::trim)))
        .filter(|part| part.len() >= MIN_SCRUBBED_BYTES)
        .collect();
    // A part of another is not to leave the rest of it.
    parts.sort_unstable_by_key(|part| std::cmp::Reverse(part.len()));
    parts.dedup();
    parts
        .into_iter()
        .fold(text, |text, part| text.replace(part, SCRUBBED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_their_lines_are_taken_out() {
        let values = [
            b"token-1234\nsecond line\n".to_vec(),
            b"abc".to_vec(),
            vec![0xff, 0xfe],
        ];
        let text = "got token-1234 and second line, abc".to_owned();
        assert_eq!(without(text, &values), "got *** and ***, abc");
    }
}
