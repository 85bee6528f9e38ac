//! What a build asks the world around it: registries, Git servers, and the mirrors of its namespace.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::ResourceExt as _;

use super::source::{ResolvedSource, Sources};
use super::wanted::{Wanted, WantedSource};
use super::{Reconciler, registry};
use crate::api::{BaseImage, BaseImagePolicy, ImageBuildStatus};
use crate::build::BuildFailure;
use crate::controller::mirror::{InPlace, in_place};
use crate::controller::registries::Registries;
use crate::controller::request::RequestError;
use crate::controller::spec;
use crate::copy::AccessReference;
use crate::oci::Digest;

impl Reconciler<'_> {
    /// Whether the registry still has the image of the status.
    pub(super) async fn image_there(
        &self,
        previous: &ImageBuildStatus,
        wanted: &Wanted,
        registries: &Registries,
    ) -> Result<bool, BuildFailure> {
        let image = previous.image.as_ref();
        match image.and_then(|image| image.digest.parse::<Digest>().ok()) {
            None => Ok(true),
            Some(digest) => registry::is_there(registries, wanted, &digest).await,
        }
    }

    /// The base images of the last build, as they are now.
    pub(super) async fn base_images(
        &self,
        wanted: &Wanted,
        registries: &Registries,
        previous: &ImageBuildStatus,
    ) -> Result<Vec<BaseImage>, RequestError> {
        let known = &previous.base_images;
        if wanted.base_interval.is_none() {
            return Ok(known.clone());
        }
        if let Some(in_place) = self.in_place().await? {
            return Ok(registry::mirrored(&in_place.images, known));
        }
        let names = known.iter().map(|image| image.from.as_str());
        Ok(registry::base_images(registries, &self.pull_access(), names, known).await)
    }

    /// Where base images are to come from, if not from where the Dockerfile says.
    pub(super) async fn in_place(&self) -> Result<Option<InPlace>, RequestError> {
        if self.object.spec.base_images == BaseImagePolicy::AsWritten {
            return Ok(None);
        }
        let namespace = self.object.namespace().unwrap_or_default();
        in_place(&self.context.client, &namespace).await.map(Some)
    }

    /// What the source is now.
    pub(super) async fn source(
        &self,
        wanted: &Wanted,
        registries: &Registries,
    ) -> Result<Result<ResolvedSource, BuildFailure>, RequestError> {
        let sources = Sources {
            secrets: &self.secrets,
            config_maps: &self.config_maps,
            registries,
        };
        sources.resolve(&wanted.source).await
    }

    /// The registries of the output, of base images and of the source.
    pub(super) async fn registries(&self, wanted: &Wanted) -> Result<Registries, RequestError> {
        let mut accesses = BTreeSet::from([wanted.output_access.clone(), self.pull_access()]);
        if let WantedSource::Image { access, .. } = &wanted.source {
            accesses.insert(access.clone());
        }
        let pool = Arc::clone(&self.context.registries);
        let creation_times = Arc::clone(&self.context.creation_times);
        Registries::open(&self.secrets, &accesses, pool, creation_times).await
    }

    /// With whose rights base images are read.
    pub(super) fn pull_access(&self) -> AccessReference {
        let spec = &self.object.spec;
        spec::access_reference(
            spec.pull_secret_ref.as_ref(),
            spec.pull_cert_secret_ref.as_ref(),
            false,
        )
    }
}
