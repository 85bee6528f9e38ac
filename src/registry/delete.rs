//! Deleting manifests and tags (distribution-spec, "Content Management").

use reqwest::{Method, StatusCode};

use super::auth::Scopes;
use super::error::{Operation, Problem};
use super::exchange::Request;
use super::{Client, Error, ManifestReference};
use crate::oci::Repository;

impl Client {
    /// Deletes exactly what is named: a tag, or a manifest with all tags that point at it.
    ///
    /// Gives false when the registry says that it cannot delete this kind of thing. What is not
    /// there is an error: the name was probably mistyped.
    pub async fn delete_manifest(
        &self,
        repository: &Repository,
        reference: ManifestReference<'_>,
    ) -> Result<bool, Error> {
        let request = Request::new(
            Method::DELETE,
            format!("/v2/{repository}/manifests/{reference}"),
            Scopes::delete(repository),
        );
        match self.send(&request).await {
            Ok(_) => Ok(true),
            Err(Problem::ReadOnly { .. }) => Ok(false),
            // How registries say that a name is no digest, when they take digests only.
            Err(Problem::Rejected { status, .. })
                if status == StatusCode::BAD_REQUEST
                    && matches!(reference, ManifestReference::Tag(_)) =>
            {
                Ok(false)
            }
            Err(problem) => Err(Error::new(
                Operation::DeleteManifest,
                self.subject(repository, reference.suffix()),
                problem,
            )),
        }
    }
}
