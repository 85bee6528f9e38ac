//! Writes an archive entry by entry, and its table of contents at the end.
//!
//! The format is sequential: while one blob is written, others wait.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::super::archive::TarWriter;
use super::super::{BlobError, Error, VerifiedBlob};
use super::image::{self, Unsuitable};
use super::table::{self, SavedImage, TABLE};
use crate::oci::{Digest, ImageConfig, MAX_CONFIG_BYTES, Manifest, Reference};

/// Characters of a digest in the name of a file: all of sha256, and enough of sha512 for a header.
const NAME_LENGTH: usize = 64;

/// An archive that is being written.
#[derive(Debug)]
pub(super) struct Builder {
    archive: TarWriter,
    /// The names of the blobs that are in the archive.
    files: HashMap<Digest, String>,
    /// How many layers the configurations in the archive name.
    layer_counts: HashMap<Digest, usize>,
    images: Vec<Image>,
    attempts: u64,
    /// Something was not taken, so that images without a name are parts of what is not there.
    has_refused: bool,
}

#[derive(Debug)]
struct Image {
    manifest: Manifest,
    config: Digest,
    layers: Vec<Digest>,
    names: BTreeSet<Reference>,
    /// Whether it was meant to be stored without a name.
    is_nameless: bool,
}

impl Builder {
    pub(super) fn new(archive: TarWriter) -> Self {
        Self {
            archive,
            files: HashMap::new(),
            layer_counts: HashMap::new(),
            images: Vec::new(),
            attempts: 0,
            has_refused: false,
        }
    }

    pub(super) fn has_blob(&self, digest: &Digest) -> bool {
        self.files.contains_key(digest)
    }

    /// The manifest that was stored as `digest`.
    pub(super) fn manifest(&self, digest: &Digest) -> Option<&Manifest> {
        self.images
            .iter()
            .map(|image| &image.manifest)
            .find(|manifest| manifest.digest() == digest)
    }

    /// The manifest that was stored under `name`.
    pub(super) fn named(&self, name: &Reference) -> Option<&Manifest> {
        self.images
            .iter()
            .find(|image| image.names.contains(name))
            .map(|image| &image.manifest)
    }

    /// All names in the archive.
    pub(super) fn names(&self) -> impl Iterator<Item = &Reference> {
        self.images.iter().flat_map(|image| &image.names)
    }

    /// Adds a blob as a file, unless it is there.
    pub(super) async fn add_blob(&mut self, content: &VerifiedBlob) -> Result<(), BlobError> {
        let blob = content.descriptor();
        if self.has_blob(&blob.digest) {
            return Ok(());
        }
        image::check_blob(&blob.media_type).map_err(|problem| {
            self.has_refused = true;
            BlobError::Destination(self.unsupported(problem))
        })?;
        let hex: String = blob
            .digest
            .as_str()
            .chars()
            .skip_while(|character| *character != ':')
            .skip(1)
            .take(NAME_LENGTH)
            .collect();
        if !blob.media_type.is_image_config() {
            // What was sent to a daemon cannot be taken back: another attempt has another name.
            self.attempts += 1;
            let name = if self.archive.can_go_back() {
                format!("{hex}.tar")
            } else {
                format!("{hex}-{}.tar", self.attempts)
            };
            self.archive
                .add_file(&name, blob.size, content.read_from(0))
                .await?;
            self.files.insert(blob.digest.clone(), name);
            return Ok(());
        }
        let config = self.read_config(content).await?;
        let name = format!("{hex}.json");
        let parsed = ImageConfig::parse(&config).map_err(|_| {
            BlobError::Destination(self.unsupported(Unsuitable {
                what: "an image whose configuration cannot be read",
                remedy: "build the image again, or write to oci: or oci-archive:",
            }))
        })?;
        self.archive
            .add_file(&name, blob.size, stream::iter([Ok(config)]).boxed())
            .await?;
        self.files.insert(blob.digest.clone(), name);
        self.layer_counts
            .insert(blob.digest.clone(), parsed.diff_ids.len());
        Ok(())
    }

    async fn read_config(&self, content: &VerifiedBlob) -> Result<Bytes, BlobError> {
        if content.descriptor().size > MAX_CONFIG_BYTES as u64 {
            return Err(BlobError::Source(Error::Malformed {
                place: content.place(),
                problem: format!("the configuration has more than {MAX_CONFIG_BYTES} bytes"),
            }));
        }
        content
            .read_from(0)
            .try_fold(Vec::new(), |mut config, piece| async move {
                config.extend_from_slice(&piece);
                Ok(config)
            })
            .await
            .map(Bytes::from)
            .map_err(BlobError::Source)
    }

    /// Adds an image whose blobs are there, under `name` or without one.
    pub(super) fn add_image(
        &mut self,
        manifest: &Manifest,
        name: Option<&Reference>,
    ) -> Result<(), Error> {
        let (config, layers) = image::parts(manifest).map_err(|refused| {
            self.has_refused = true;
            refused.at(self.archive.place())
        })?;
        if let Some(missing) = std::iter::once(&config)
            .chain(&layers)
            .find(|blob| !self.has_blob(&blob.digest))
        {
            return Err(Error::NotFound {
                place: self.archive.place().to_owned(),
                wanted: format!("blob {}, which {} needs", missing.digest, manifest.digest()),
            });
        }
        if self.layer_counts.get(&config.digest) != Some(&layers.len()) {
            self.has_refused = true;
            return Err(self.unsupported(Unsuitable {
                what: "an image whose configuration names other layers than its manifest",
                remedy: "build the image again, or write to oci: or oci-archive:",
            }));
        }
        for image in &mut self.images {
            if let Some(name) = name {
                image.names.remove(name);
            }
        }
        let digest = manifest.digest();
        let known = self
            .images
            .iter_mut()
            .find(|image| image.manifest.digest() == digest);
        if let Some(known) = known {
            known.names.extend(name.cloned());
            known.is_nameless |= name.is_none();
        } else {
            self.images.push(Image {
                manifest: manifest.clone(),
                config: config.digest,
                layers: layers.into_iter().map(|layer| layer.digest).collect(),
                names: name.cloned().into_iter().collect(),
                is_nameless: name.is_none(),
            });
        }
        Ok(())
    }

    /// Writes the table of contents and hands the archive over. Without images nothing is left.
    pub(super) async fn finish(&mut self) -> Result<(), Error> {
        let images: Vec<_> = self
            .images
            .iter()
            .filter(|image| !image.names.is_empty() || (image.is_nameless && !self.has_refused))
            .map(|image| self.saved(image))
            .collect();
        if self.archive.is_closed() || images.is_empty() {
            self.archive.discard();
            return Ok(());
        }
        let table = table::write(images).map_err(|error| Error::Malformed {
            place: self.archive.place().to_owned(),
            problem: error.to_string(),
        })?;
        let size = table.len() as u64;
        let content = stream::iter([Ok(Bytes::from(table))]).boxed();
        self.archive
            .add_file(TABLE, size, content)
            .await
            .map_err(BlobError::into_error)?;
        self.archive.finish().await
    }

    fn saved(&self, image: &Image) -> SavedImage {
        let file = |digest| self.files.get(digest).cloned().unwrap_or_default();
        SavedImage {
            config: file(&image.config),
            names: image.names.iter().cloned().collect(),
            layers: image.layers.iter().map(file).collect(),
        }
    }

    fn unsupported(&self, problem: Unsuitable) -> Error {
        problem.at(self.archive.place())
    }
}
