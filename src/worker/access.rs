//! Reads the Secrets that are mounted for a run: one directory per Secret, one file per key.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use crate::copy::{AccessCatalog, AccessReference, SecretContent, SecretContentError};

/// Why a mounted Secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A file of it cannot be read.
    #[error("cannot read key {key} of Secret {secret}")]
    Read {
        /// The Secret.
        secret: String,
        /// The key, which is the name of the file.
        key: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its content is not what it should be.
    #[error("Secret {secret}: {source}")]
    Content {
        /// The Secret.
        secret: String,
        /// What is wrong; names the key, never the value.
        #[source]
        source: SecretContentError,
    },
}

/// Loads everything that `accesses` name.
pub(super) async fn load<'a>(
    accesses: impl IntoIterator<Item = &'a AccessReference>,
    credentials: &Path,
    certificates: &Path,
) -> Result<AccessCatalog, AccessError> {
    let mut catalog = AccessCatalog::default();
    let accesses: BTreeSet<_> = accesses.into_iter().collect();
    let names = |name: fn(&'a AccessReference) -> Option<&'a String>| -> BTreeSet<&'a String> {
        accesses.iter().copied().filter_map(name).collect()
    };
    for secret in names(|access| access.credentials.as_ref()) {
        let content = read(credentials, secret).await?;
        catalog
            .add_credentials(secret, &content)
            .map_err(content_error(secret))?;
    }
    for secret in names(|access| access.certificates.as_ref()) {
        let content = read(certificates, secret).await?;
        catalog
            .add_certificates(secret, &content)
            .map_err(content_error(secret))?;
    }
    Ok(catalog)
}

fn content_error(secret: &str) -> impl FnOnce(SecretContentError) -> AccessError + '_ {
    move |source| AccessError::Content {
        secret: secret.to_owned(),
        source,
    }
}

async fn read(directory: &Path, secret: &str) -> Result<SecretContent, AccessError> {
    let mut content = SecretContent::default();
    for key in SecretContent::KEYS {
        match tokio::fs::read(directory.join(secret).join(key)).await {
            Ok(value) => content.insert(key, value),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                return Err(AccessError::Read {
                    secret: secret.to_owned(),
                    key,
                    source,
                });
            }
        }
    }
    Ok(content)
}
