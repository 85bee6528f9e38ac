//! What a builder has left, and which image of it is meant.

use std::path::Path;
use std::sync::Arc;

use super::overlay::Overlay;
use crate::build::{
    BuildFailure, FailureClass, ImageForm, OUTPUT_ARCHIVE, OUTPUT_LAYOUT, PlannedOutput,
};
use crate::convert::annotate;
use crate::copy::{Failure, Side};
use crate::oci::{Content, Digest, Manifest};
use crate::reason::Reason;
use crate::registry::ManifestReference;
use crate::transport::{self, DockerArchiveSource, LayoutSource, Source, open_foreign};
use crate::worker::build::only_image;

/// Indexes that may be around one image.
const MAX_INDEXES: usize = 3;

/// The image to publish.
pub(super) struct Image {
    pub(super) source: Arc<dyn Source>,
    pub(super) digest: Digest,
}

/// Opens what is in the directory `output`, and chooses the image. Messages call it by what it is, because
/// nobody else knows the directory.
pub(super) async fn open(plan: &PlannedOutput, output: &Path) -> Result<Image, BuildFailure> {
    let (source, digest) = match plan.image {
        ImageForm::Layout => layout(output).await,
        ImageForm::Archive => archive(output).await,
    }
    .map_err(|error| invalid(&Failure::of_place(Side::Source, &error)))?;
    let manifest = the_image(source.as_ref(), &digest).await?;
    let annotated = annotate(&manifest, &plan.annotations, &plan.conversion);
    let annotated = annotated.map_err(|error| {
        invalid(&Failure {
            reason: Reason::ConversionUnsupported,
            message: error.to_string(),
        })
    })?;
    let digest = annotated.digest().clone();
    Ok(Image {
        source: Arc::new(Overlay::new(source, annotated)),
        digest,
    })
}

type Opened = Result<(Arc<dyn Source>, Digest), transport::Error>;

async fn layout(output: &Path) -> Opened {
    let path = output.join(OUTPUT_LAYOUT);
    // Below it no link is followed; nor is it one itself.
    let there = tokio::fs::symlink_metadata(&path).await;
    if there.is_ok_and(|there| !there.is_dir()) {
        return Err(transport::Error::Malformed {
            place: format!("oci:{}", path.display()),
            problem: "it is no directory".to_owned(),
        });
    }
    let layout = LayoutSource::open_directory(&path).await?;
    let image = layout.only_image()?.clone();
    Ok((Arc::new(layout), image))
}

/// A tar file with a layout, or what `docker save` writes; img writes one that is both.
async fn archive(output: &Path) -> Opened {
    let place = format!("oci-archive:{OUTPUT_ARCHIVE}");
    let file = open_foreign(&place, output, OUTPUT_ARCHIVE).await?;
    let again = file.try_clone().map_err(|source| transport::Error::File {
        place: place.clone(),
        source,
    })?;
    match LayoutSource::of_archive(place, file).await {
        Ok(layout) => {
            let image = layout.only_image()?.clone();
            Ok((Arc::new(layout), image))
        }
        Err(no_layout) => {
            let place = format!("docker-archive:{OUTPUT_ARCHIVE}");
            match DockerArchiveSource::of_file(place, again, None).await {
                Ok(archive) => {
                    let image = archive.image().clone();
                    Ok((Arc::new(archive), image))
                }
                Err(_) => Err(no_layout),
            }
        }
    }
}

/// The image itself: a builder may have put it into an index, beside attestations that are ours to make.
async fn the_image(source: &dyn Source, digest: &Digest) -> Result<Manifest, BuildFailure> {
    let mut digest = digest.clone();
    for _ in 0..=MAX_INDEXES {
        let manifest = source.manifest(ManifestReference::Digest(&digest)).await;
        let manifest =
            manifest.map_err(|error| invalid(&Failure::of_place(Side::Source, &error)))?;
        let content = manifest.content();
        match content.map_err(|error| invalid(&Failure::of_manifest(&error)))? {
            Content::Image { .. } => return Ok(manifest),
            Content::Artifact { .. } => break,
            Content::Index { manifests, .. } => {
                let Some(only) = only_image(manifests) else {
                    break;
                };
                digest = only;
            }
        }
    }
    Err(invalid(&Failure {
        reason: Reason::SourceInvalid,
        message: format!("{} has not exactly one image", source.name()),
    }))
}

/// The builder said that it succeeded, and left something else than an image, or one that cannot be had in
/// the form that is asked for.
pub(super) fn invalid(failure: &Failure) -> BuildFailure {
    let (class, reason) = match failure.reason {
        Reason::StorageFailed => (FailureClass::Infrastructure, failure.reason),
        Reason::ConversionUnsupported => (FailureClass::Dockerfile, failure.reason),
        _ => (FailureClass::Dockerfile, Reason::OutputInvalid),
    };
    BuildFailure {
        class,
        reason,
        message: format!(
            "what the builder left cannot be published: {}",
            failure.message
        ),
    }
}
