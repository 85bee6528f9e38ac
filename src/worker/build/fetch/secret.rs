//! The Secret that a repository is read with, as it is mounted: one file per key.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::build::BuildFailure;
use crate::git::GitCredentials;
use crate::reason::Reason;
use crate::worker::build::failure::of_source;

/// Reads the Secret `name`, which is mounted in a directory of its name; without one, nothing.
pub(super) async fn read(
    directory: &Path,
    name: Option<&str>,
) -> Result<GitCredentials, BuildFailure> {
    let Some(name) = name else {
        return Ok(GitCredentials::default());
    };
    let unusable = |problem: &dyn std::fmt::Display| {
        of_source(Reason::SecretInvalid, format!("Secret {name}: {problem}"))
    };
    let mut values = BTreeMap::new();
    for key in GitCredentials::KEYS {
        match tokio::fs::read(directory.join(name).join(key)).await {
            Ok(value) => {
                values.insert(key.to_owned(), value);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unusable(&format_args!("cannot read key {key}: {error}"))),
        }
    }
    GitCredentials::parse(&values).map_err(|error| unusable(&error))
}
