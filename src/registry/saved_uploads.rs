//! Open uploads in files, so that a process that was killed can go on with them when it is started
//! again.
//!
//! It knows nothing of HTTP. The files are a help and never the truth: one that is missing, damaged
//! or stale costs bytes that are sent again, nothing else.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use url::Url;

use crate::oci::{Digest, RegistryHost, Repository};

/// Most bytes of a file; the location of a session is all that can be long.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// A directory with one file for each open upload of a large blob.
#[derive(Clone, Debug)]
pub(super) struct SavedUploads {
    directory: PathBuf,
}

/// An open upload.
///
/// It has no `Debug`: the location can be all that is needed to write to the repository.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SavedUpload {
    registry: String,
    repository: String,
    digest: Digest,
    /// Where the session was when the last chunk was acknowledged.
    pub(super) location: String,
    /// The bytes that the registry has acknowledged.
    pub(super) acknowledged: u64,
}

impl SavedUpload {
    /// The state of the upload of a blob to a repository of a registry.
    pub(super) fn new(
        registry: &RegistryHost,
        repository: &Repository,
        digest: &Digest,
        location: &Url,
        acknowledged: u64,
    ) -> Self {
        Self {
            registry: registry.to_string(),
            repository: repository.to_string(),
            digest: digest.clone(),
            location: location.to_string(),
            acknowledged,
        }
    }

    fn key(&self) -> String {
        format!("{}/{}@{}", self.registry, self.repository, self.digest)
    }
}

impl SavedUploads {
    /// Uploads that are kept in `directory`, which must exist to be of use.
    pub(super) const fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// The upload of a blob that was left open, if there is one that can be read.
    pub(super) async fn load(
        &self,
        registry: &RegistryHost,
        repository: &Repository,
        digest: &Digest,
    ) -> Option<SavedUpload> {
        let bytes = read(&self.path(&key(registry, repository, digest)))
            .await
            .ok()?;
        let saved: SavedUpload = serde_json::from_slice(&bytes).ok()?;
        (saved.key() == key(registry, repository, digest)).then_some(saved)
    }

    /// Writes down how far an upload is, in one step: a reader finds the old file or the new one.
    pub(super) async fn save(&self, upload: &SavedUpload) {
        let path = self.path(&upload.key());
        if let Err(error) = write(&path, upload).await {
            tracing::warn!(
                digest = %upload.digest,
                %error,
                "the state of an upload cannot be saved; a process that is started again sends the whole blob"
            );
        }
    }

    /// Removes what was written down about an upload.
    pub(super) async fn forget(
        &self,
        registry: &RegistryHost,
        repository: &Repository,
        digest: &Digest,
    ) {
        // A file that stays is found to be stale when it is used.
        let _ = tokio::fs::remove_file(self.path(&key(registry, repository, digest))).await;
    }

    /// The name is a hash, because a key has characters that file names have not.
    fn path(&self, key: &str) -> PathBuf {
        let name = Digest::sha256(key.as_bytes()).as_str().replace(':', "-");
        self.directory.join(name).with_extension("json")
    }
}

/// What an upload is told from others by.
fn key(registry: &RegistryHost, repository: &Repository, digest: &Digest) -> String {
    format!("{registry}/{repository}@{digest}")
}

async fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = tokio::fs::File::open(path).await?;
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

async fn write(path: &Path, upload: &SavedUpload) -> io::Result<()> {
    let bytes = serde_json::to_vec(upload)?;
    let fresh = path.with_extension("new");
    let mut options = tokio::fs::OpenOptions::new();
    // Nobody else may read a location.
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&fresh).await?;
    file.write_all(&bytes).await?;
    file.flush().await?;
    tokio::fs::rename(&fresh, path).await
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn names() -> (RegistryHost, Repository, Digest) {
        (
            "registry.example.test:5000".parse().unwrap(),
            "team/app".parse().unwrap(),
            Digest::sha256(b"layer"),
        )
    }

    async fn save(saved: &SavedUploads, acknowledged: u64) {
        let (registry, repository, digest) = names();
        let location = "https://registry.example.test:5000/v2/u?_state=secret";
        let location = location.parse().unwrap();
        let upload = SavedUpload::new(&registry, &repository, &digest, &location, acknowledged);
        saved.save(&upload).await;
    }

    async fn load(saved: &SavedUploads) -> Option<u64> {
        let (registry, repository, digest) = names();
        let loaded = saved.load(&registry, &repository, &digest).await?;
        assert!(loaded.location.ends_with("_state=secret"));
        Some(loaded.acknowledged)
    }

    #[tokio::test]
    async fn the_last_state_is_read_back_until_it_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let saved = SavedUploads::new(directory.path().to_owned());
        assert_eq!(load(&saved).await, None);
        save(&saved, 1).await;
        save(&saved, 2).await;
        assert_eq!(load(&saved).await, Some(2));
        let modes: Vec<_> = std::fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().permissions().mode() & 0o777)
            .collect();
        assert_eq!(modes, [0o600], "one file, for nobody else");
        let (registry, repository, digest) = names();
        let other = "team/other".parse().unwrap();
        assert!(saved.load(&registry, &other, &digest).await.is_none());
        saved.forget(&registry, &repository, &digest).await;
        assert_eq!(load(&saved).await, None);
    }

    #[tokio::test]
    async fn a_damaged_file_and_a_missing_directory_are_no_state() {
        let directory = tempfile::tempdir().unwrap();
        let saved = SavedUploads::new(directory.path().to_owned());
        save(&saved, 1).await;
        let (registry, repository, digest) = names();
        let path = saved.path(&key(&registry, &repository, &digest));
        for content in ["", "{}", "{\"registry\":1}"] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(load(&saved).await, None, "{content}");
        }
        let nowhere = SavedUploads::new(directory.path().join("nowhere"));
        save(&nowhere, 1).await;
        assert_eq!(load(&nowhere).await, None);
    }
}
