//! Writes an archive entry by entry, and its table of contents at the end.
//!
//! The format is sequential: while one blob is written, others wait.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tar::Header;

use super::super::archive::BLOCK;
use super::super::{BlobError, ByteStream, Error, VerifiedBlob};
use super::image::{self, Unsuitable};
use super::sink::Sink;
use super::table::{self, SavedImage, TABLE};
use crate::oci::{Digest, ImageConfig, MAX_CONFIG_BYTES, Manifest, Reference};

/// Characters of a digest in the name of a file: all of sha256, and enough of sha512 for a header.
const NAME_LENGTH: usize = 64;
/// Zeros that are written at once.
const ZEROS: Bytes = Bytes::from_static(&[0; 64 * 1024]);

/// An archive that is being written.
#[derive(Debug)]
pub(super) struct Builder {
    place: String,
    /// [`None`] once everything is written.
    sink: Option<Sink>,
    position: u64,
    /// The names of the blobs that are in the archive.
    files: HashMap<Digest, String>,
    /// How many layers the configurations in the archive name.
    layer_counts: HashMap<Digest, usize>,
    images: Vec<Image>,
    attempts: u64,
    /// An entry was begun and not ended.
    is_torn: bool,
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
    pub(super) fn new(place: String, sink: Sink) -> Self {
        Self {
            place,
            sink: Some(sink),
            position: 0,
            files: HashMap::new(),
            layer_counts: HashMap::new(),
            images: Vec::new(),
            attempts: 0,
            is_torn: false,
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
            let name = match &self.sink {
                Some(sink) if sink.can_go_back() => format!("{hex}.tar"),
                _ => format!("{hex}-{}.tar", self.attempts),
            };
            self.add_file(&name, blob.size, content.read_from(0))
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
        self.add_file(&name, blob.size, stream::iter([Ok(config)]).boxed())
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
            refused.at(&self.place)
        })?;
        if let Some(missing) = std::iter::once(&config)
            .chain(&layers)
            .find(|blob| !self.has_blob(&blob.digest))
        {
            return Err(Error::NotFound {
                place: self.place.clone(),
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
        if self.sink.is_none() || images.is_empty() {
            self.sink = None;
            return Ok(());
        }
        let table = table::write(images).map_err(|error| Error::Malformed {
            place: self.place.clone(),
            problem: error.to_string(),
        })?;
        let size = table.len() as u64;
        let content = stream::iter([Ok(Bytes::from(table))]).boxed();
        self.add_file(TABLE, size, content)
            .await
            .map_err(|error| match error {
                BlobError::Source(error) | BlobError::Destination(error) => error,
            })?;
        // Two blocks of zeros are the end mark.
        self.write_zeros(BLOCK * 2).await?;
        match self.sink.take() {
            Some(sink) => sink.commit(&self.place, self.position).await,
            None => Ok(()),
        }
    }

    fn saved(&self, image: &Image) -> SavedImage {
        let file = |digest| self.files.get(digest).cloned().unwrap_or_default();
        SavedImage {
            config: file(&image.config),
            names: image.names.iter().cloned().collect(),
            layers: image.layers.iter().map(file).collect(),
        }
    }

    /// Adds a file of `size` bytes. One whose content breaks off leaves no trace in a file; in what
    /// a daemon gets it is filled up, and nothing refers to it.
    async fn add_file(
        &mut self,
        name: &str,
        size: u64,
        content: ByteStream,
    ) -> Result<(), BlobError> {
        if self.is_torn {
            return Err(BlobError::Destination(self.torn()));
        }
        self.is_torn = true;
        let start = self.position;
        let header = self.header(name, size).map_err(BlobError::Destination)?;
        self.write(header).await.map_err(BlobError::Destination)?;
        let end = self.position + size;
        let result = self.write_content(content, end).await;
        match &result {
            Err(BlobError::Source(_)) if self.sink.as_ref().is_some_and(Sink::can_go_back) => {
                self.position = start;
            }
            Ok(()) | Err(BlobError::Source(_)) => {
                let padded = end.next_multiple_of(BLOCK);
                self.write_zeros(padded - self.position)
                    .await
                    .map_err(BlobError::Destination)?;
            }
            Err(BlobError::Destination(_)) => return result,
        }
        self.is_torn = false;
        result
    }

    async fn write_content(&mut self, mut content: ByteStream, end: u64) -> Result<(), BlobError> {
        while let Some(piece) = content.try_next().await.map_err(BlobError::Source)? {
            if self.position + piece.len() as u64 > end {
                // The source has been held to the size; more would overwrite what follows.
                return Err(BlobError::Destination(self.torn()));
            }
            self.write(piece).await.map_err(BlobError::Destination)?;
        }
        Ok(())
    }

    fn header(&self, name: &str, size: u64) -> Result<Bytes, Error> {
        let mut header = Header::new_gnu();
        header.set_path(name).map_err(|source| Error::File {
            place: self.place.clone(),
            source,
        })?;
        header.set_size(size);
        // The same image makes the same archive, whoever writes it and when.
        header.set_mode(0o444);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        Ok(Bytes::copy_from_slice(header.as_bytes()))
    }

    async fn write_zeros(&mut self, mut count: u64) -> Result<(), Error> {
        while count > 0 {
            let piece = ZEROS.slice(
                ..ZEROS
                    .len()
                    .min(usize::try_from(count).unwrap_or(usize::MAX)),
            );
            count -= piece.len() as u64;
            self.write(piece).await?;
        }
        Ok(())
    }

    async fn write(&mut self, piece: Bytes) -> Result<(), Error> {
        let length = piece.len() as u64;
        match &mut self.sink {
            Some(sink) => sink.write(&self.place, self.position, piece).await?,
            None => return Err(self.torn()),
        }
        self.position += length;
        Ok(())
    }

    fn torn(&self) -> Error {
        Error::Malformed {
            place: self.place.clone(),
            problem: "writing it was interrupted: write it anew".to_owned(),
        }
    }

    fn unsupported(&self, problem: Unsuitable) -> Error {
        problem.at(&self.place)
    }
}
