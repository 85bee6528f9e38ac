//! Images that `docker save` wrote, as a place to read from.
//!
//! The layers of such an archive are usually not compressed. They are not hashed before they are
//! read: their digests stand in the configuration, and [`super::super::VerifiedBlob`] compares them
//! with the bytes when these pass by.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::path::Path;

use bytes::Bytes;
use futures::future::ready;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};

use super::super::archive::{ArchiveFile, Extent, blocking};
use super::super::{ByteStream, Error, Outcome, Source};
use super::table::{self, MAX_TABLE_BYTES, SavedImage, Selection, TABLE};
use super::{image, original};
use crate::oci::{
    Descriptor, Digest, ImageConfig, LayerCompression, MAX_CONFIG_BYTES, Manifest, MediaType,
    Reference, Tag,
};
use crate::registry::ManifestReference;

/// The images of one repository in an archive, or the only image there is.
#[derive(Debug)]
pub struct DockerArchiveSource {
    /// The place with the repository, so that two repositories of one archive are told apart.
    name: String,
    /// What was opened.
    image: Digest,
    tags: BTreeMap<Tag, Digest>,
    readable: Readable,
}

/// The part of the archive that has been looked at.
#[derive(Debug)]
struct Readable {
    file: ArchiveFile,
    manifests: HashMap<Digest, Manifest>,
    /// Blobs that are not found under their digest.
    content: HashMap<Digest, Extent>,
}

impl DockerArchiveSource {
    /// The image `wanted` of the archive at `path`, or the only one that it holds, with the other
    /// images of the same repository.
    ///
    /// Configurations are read at once, and compressed layers are hashed.
    pub async fn open(path: &Path, wanted: Option<&Reference>) -> Result<Self, Error> {
        let place = format!("docker-archive:{}", path.display());
        let path = path.to_owned();
        let file = blocking(&place, move || File::open(path)).await?;
        Self::of_file(place, file, wanted).await
    }

    /// The same of an archive that is open already and that messages call `place`.
    pub async fn of_file(
        place: String,
        file: File,
        wanted: Option<&Reference>,
    ) -> Result<Self, Error> {
        let file = ArchiveFile::open(place, file).await?;
        let extent = file.find(TABLE)?.ok_or_else(|| {
            file.malformed(format!(
                "it has no {TABLE}: it was not written by docker save"
            ))
        })?;
        let bytes = file.read(extent, MAX_TABLE_BYTES, TABLE).await?;
        let images = table::read(&bytes).map_err(|problem| file.malformed(problem))?;
        let selected =
            table::select(&images, wanted).map_err(|problem| failure(&file, wanted, problem))?;
        let repository = wanted.or_else(|| selected.names.first());
        let is_in_repository = |name: &&Reference| {
            repository.is_some_and(|wanted| {
                name.registry() == wanted.registry() && name.repository() == wanted.repository()
            })
        };
        let name = match repository {
            Some(name) => format!("{}:{}/{}", file.place(), name.registry(), name.repository()),
            None => file.place().to_owned(),
        };
        let mut readable = Readable::new(file);
        let image = readable.add(selected).await?;
        let mut tags = BTreeMap::new();
        for saved in &images {
            let names: Vec<_> = saved.names.iter().filter(is_in_repository).collect();
            if names.is_empty() {
                continue;
            }
            let digest = if std::ptr::eq(saved, selected) {
                image.clone()
            } else {
                readable.add(saved).await?
            };
            for tag in names.into_iter().filter_map(Reference::tag) {
                if let Some(other) = tags.insert(tag.clone(), digest.clone())
                    && other != digest
                {
                    let problem = format!("two of its images have the tag {tag}");
                    return Err(readable.file.malformed(problem));
                }
            }
        }
        Ok(Self {
            name,
            image,
            tags,
            readable,
        })
    }

    /// The image that was opened.
    #[must_use]
    pub const fn image(&self) -> &Digest {
        &self.image
    }

    fn find(&self, reference: ManifestReference<'_>) -> Option<&Manifest> {
        let manifests = &self.readable.manifests;
        match reference {
            ManifestReference::Tag(tag) => manifests.get(self.tags.get(tag)?),
            ManifestReference::Digest(digest) => manifests.get(digest),
        }
    }

    fn missing(&self, wanted: String) -> Error {
        Error::NotFound {
            place: self.name.clone(),
            wanted,
        }
    }
}

impl Readable {
    fn new(file: ArchiveFile) -> Self {
        Self {
            file,
            manifests: HashMap::new(),
            content: HashMap::new(),
        }
    }

    /// Makes an image readable and gives its digest.
    async fn add(&mut self, saved: &SavedImage) -> Result<Digest, Error> {
        let extent = self.file.file(&saved.config)?;
        let bytes = self
            .file
            .read(extent, MAX_CONFIG_BYTES, "configuration")
            .await?;
        let config = Descriptor::new(
            MediaType::new(MediaType::DOCKER_CONFIG),
            Digest::sha256(&bytes),
            extent.size,
        );
        if let Some(expected) = table::digest_in_name(&saved.config)
            && expected != config.digest
        {
            return Err(Error::Digest {
                place: self.file.place().to_owned(),
                expected,
                actual: config.digest,
            });
        }
        let mut manifests = original::find(&self.file, saved, &config.digest).await?;
        if manifests.is_empty() {
            let layers = self.layers(saved, &bytes).await?;
            let synthesised = image::synthesise(&config, &layers)
                .map_err(|error| self.file.malformed(error.to_string()))?;
            self.content.insert(config.digest, extent);
            manifests.push(synthesised);
        }
        let digest = manifests.first().map(|root| root.digest().clone());
        self.manifests.extend(
            manifests
                .into_iter()
                .map(|manifest| (manifest.digest().clone(), manifest)),
        );
        // There is at least the synthesised one.
        digest.ok_or_else(|| self.file.malformed("it has no manifest".to_owned()))
    }

    /// The layers of an image that was saved without its manifest.
    async fn layers(
        &mut self,
        saved: &SavedImage,
        config: &Bytes,
    ) -> Result<Vec<Descriptor>, Error> {
        let config =
            ImageConfig::parse(config).map_err(|error| self.file.malformed(error.to_string()))?;
        if config.diff_ids.len() != saved.layers.len() {
            return Err(self.file.malformed(format!(
                "an image of it has {} layers, but its configuration names {}",
                saved.layers.len(),
                config.diff_ids.len()
            )));
        }
        let mut hashed: HashMap<Extent, Descriptor> = HashMap::new();
        let mut layers = Vec::with_capacity(saved.layers.len());
        for (name, diff_id) in saved.layers.iter().zip(config.diff_ids) {
            let extent = self.file.file(name)?;
            let layer = match hashed.get(&extent) {
                Some(known) if known.media_type.as_str() == MediaType::DOCKER_LAYER_GZIP => {
                    known.clone()
                }
                _ => self.layer(extent, diff_id).await?,
            };
            hashed.insert(extent, layer.clone());
            self.content.insert(layer.digest.clone(), extent);
            layers.push(layer);
        }
        Ok(layers)
    }

    async fn layer(&self, extent: Extent, diff_id: Digest) -> Result<Descriptor, Error> {
        let start = Extent {
            size: extent.size.min(image::MAGIC_BYTES),
            ..extent
        };
        let start = self.file.read(start, usize::MAX, "layer").await?;
        let (media_type, digest) = match image::compression(&start) {
            Some(LayerCompression::None) => (MediaType::DOCKER_LAYER, diff_id),
            Some(LayerCompression::Gzip) => {
                let hasher = Digest::sha256(b"").hasher();
                let hasher = self
                    .file
                    .stream(extent, 0)
                    .try_fold(hasher, |mut hasher, piece| async move {
                        hasher.update(&piece);
                        Ok(hasher)
                    })
                    .await?;
                (MediaType::DOCKER_LAYER_GZIP, hasher.finish())
            }
            Some(LayerCompression::Zstd) | None => {
                return Err(self.file.malformed(
                    "a layer of it is compressed with something else than gzip: unpack the layer and save the image again".to_owned(),
                ));
            }
        };
        Ok(Descriptor::new(
            MediaType::new(media_type),
            digest,
            extent.size,
        ))
    }
}

fn failure(file: &ArchiveFile, wanted: Option<&Reference>, problem: Selection) -> Error {
    match problem {
        Selection::Empty => file.malformed("it holds no image".to_owned()),
        Selection::Several(names) => file.malformed(format!(
            "it holds several images, name one of them: {names}"
        )),
        Selection::Twice(name) => file.malformed(format!("two of its images are called {name}")),
        Selection::Missing(names) => Error::NotFound {
            place: file.place().to_owned(),
            wanted: format!(
                "image {}, but {names}",
                wanted.map(ToString::to_string).unwrap_or_default()
            ),
        },
    }
}

impl Source for DockerArchiveSource {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn find_manifest<'a>(
        &'a self,
        reference: ManifestReference<'a>,
    ) -> Outcome<'a, Option<Digest>> {
        let found = self
            .find(reference)
            .map(|manifest| manifest.digest().clone());
        ready(Ok(found)).boxed()
    }

    fn manifest<'a>(&'a self, reference: ManifestReference<'a>) -> Outcome<'a, Manifest> {
        let found = self
            .find(reference)
            .cloned()
            .ok_or_else(|| self.missing(format!("manifest {reference}")));
        ready(found).boxed()
    }

    fn blob(&self, blob: &Descriptor, offset: u64) -> ByteStream {
        let Readable { file, content, .. } = &self.readable;
        let extent = match content.get(&blob.digest) {
            Some(extent) => Ok(Some(*extent)),
            None => file.blob(&blob.digest),
        };
        match extent {
            Ok(Some(extent)) => file.stream(extent, offset),
            Ok(None) => {
                let missing = self.missing(format!("blob {}", blob.digest));
                stream::iter([Err(missing)]).boxed()
            }
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    /// An archive has no place for them.
    fn referrers<'a>(
        &'a self,
        _subject: &'a Digest,
        _tags: Option<&'a BTreeSet<Tag>>,
    ) -> Outcome<'a, Vec<Descriptor>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn tags(&self, limit: usize) -> Outcome<'_, Option<BTreeSet<Tag>>> {
        let tags = (self.tags.len() <= limit).then(|| self.tags.keys().cloned().collect());
        ready(Ok(tags)).boxed()
    }
}
