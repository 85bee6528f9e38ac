//! The manifest that the copy of an image begins with. It knows nothing of destinations.

use super::{Failure, Selection, Side};
use crate::oci::{Digest, Manifest};
use crate::registry::ManifestReference;
use crate::transport::Source;

/// What the source has, and what is to be written for it.
#[derive(Debug)]
pub(crate) struct Root {
    /// The digest that the source has.
    pub(crate) source: Digest,
    /// The manifest to write: the same, or what the selection of platforms makes of it.
    pub(crate) manifest: Manifest,
}

impl Root {
    /// Reads the image `reference` of `source`, and chooses the platforms of an index.
    pub(crate) async fn read(
        source: &dyn Source,
        reference: ManifestReference<'_>,
        platforms: &Selection,
    ) -> Result<Self, Failure> {
        let read = |reference| async move {
            source
                .manifest(reference)
                .await
                .map_err(|error| Failure::of_place(Side::Source, &error))
        };
        let found = read(reference).await?;
        Ok(Self {
            source: found.digest().clone(),
            manifest: match platforms.image(&found)? {
                Some(image) => read(ManifestReference::Digest(&image)).await?,
                None => platforms.apply(found)?,
            },
        })
    }
}
