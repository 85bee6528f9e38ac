//! The bill of materials that a scanner has left, attached to the image that it is about.

use std::path::Path;

use super::{Place, of_registry};
use crate::attestation::{AttachError, SbomError, attach_sbom};
use crate::build::{BuildFailure, FailureClass, SBOM_FILE};
use crate::copy::{Failure, Side};
use crate::oci::Digest;
use crate::reason::Reason;
use crate::transport::open_foreign;

/// Attaches what is in `directory` to `image`; gives the digest of the artifact.
pub(super) async fn attach(
    place: &Place,
    image: &Digest,
    directory: &Path,
) -> Result<Digest, BuildFailure> {
    let file = open_foreign("the bill of materials", directory, SBOM_FILE).await;
    let file = file.map_err(|error| of_scanner(&error))?;
    let attached = Box::pin(attach_sbom(&place.client, &place.reference, image, file)).await;
    let attached = attached.map_err(|error| match &error {
        SbomError::Attach(AttachError::Registry(error)) => {
            of_registry(Failure::of_registry(Side::Destination, error))
        }
        SbomError::Attach(_) => of_registry(Failure {
            reason: Reason::DestinationMismatch,
            message: error.to_string(),
        }),
        _ => of_scanner(&error),
    });
    let attached = attached.map_err(|failure| BuildFailure {
        message: format!(
            "the image is in the registry, its bill of materials is not: {} (attest.sbom: false does without)",
            failure.message
        ),
        ..failure
    })?;
    tracing::info!(sbom = %attached, "attached the bill of materials");
    Ok(attached)
}

/// The scanner said that it succeeded, and left something else.
fn of_scanner(error: &dyn std::error::Error) -> BuildFailure {
    BuildFailure {
        class: FailureClass::Infrastructure,
        reason: Reason::ScanFailed,
        message: error.to_string(),
    }
}
