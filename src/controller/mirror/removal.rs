//! Removes tags that a mirror wrote from destinations, and nothing that anybody else has put there.

use super::ledger::Written;
use crate::controller::registries::{Registries, naming_secret};
use crate::copy::{Failure, Side};
use crate::oci::{Digest, Reference};
use crate::reason::Reason;
use crate::registry::{Client, ManifestReference};

/// Most tags of a repository that are looked at before a manifest is removed from it.
const MAX_TAGS: usize = 1000;

/// What became of something that was to be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Removal {
    /// It was there, and is not any more.
    Removed,
    /// It was not there.
    Gone,
    /// Something else is there, which the mirror did not write.
    Moved,
    /// It is still there.
    Failed(Failure),
}

/// Removes what the mirror wrote, if it is still there.
pub(super) async fn remove(registries: &Registries, written: &Written) -> Removal {
    match try_remove(registries, written).await {
        Ok(removal) => removal,
        Err(failure) => Removal::Failed(naming_secret(failure, &written.access)),
    }
}

async fn try_remove(registries: &Registries, written: &Written) -> Result<Removal, Failure> {
    let (reference, access) = (&written.reference, &written.access);
    match registries
        .head(Side::Destination, reference, access)
        .await?
    {
        None => return Ok(Removal::Gone),
        Some(head) if head.digest != written.digest => return Ok(Removal::Moved),
        Some(_) => {}
    }
    let client = registries.client(Side::Destination, reference, access)?;
    let removed = match reference.tag() {
        Some(tag) => delete(&client, reference, ManifestReference::Tag(tag)).await?,
        None => false,
    };
    if !removed {
        remove_manifest(&client, written).await?;
    }
    match registries
        .head(Side::Destination, reference, access)
        .await?
    {
        None => Ok(Removal::Removed),
        Some(_) => Err(not_removed(
            reference,
            "its registry said so and still has it",
        )),
    }
}

/// Removes the manifest from a registry that cannot remove a tag alone, if no other tag goes with it.
async fn remove_manifest(client: &Client, written: &Written) -> Result<(), Failure> {
    let reference = &written.reference;
    if let Some(other) = other_tag(client, reference, &written.digest).await? {
        return Err(not_removed(
            reference,
            &format!(
                "its registry removes manifests with all their tags only, and {other} points at the same one"
            ),
        ));
    }
    if delete(
        client,
        reference,
        ManifestReference::Digest(&written.digest),
    )
    .await?
    {
        Ok(())
    } else {
        Err(not_removed(
            reference,
            "its registry does not allow it; whoever runs it can switch it on",
        ))
    }
}

/// A tag of the repository, another than the one of `reference`, that points at the digest, too.
async fn other_tag(
    client: &Client,
    reference: &Reference,
    digest: &Digest,
) -> Result<Option<String>, Failure> {
    let repository = reference.repository();
    let of_registry = |error| Failure::of_registry(Side::Destination, &error);
    let listed = client.list_tags(repository, MAX_TAGS).await;
    let Some(listed) = listed.map_err(of_registry)? else {
        return Ok(None);
    };
    if listed.truncated {
        return Err(not_removed(
            reference,
            &format!(
                "its repository has more than {MAX_TAGS} tags, and another one may point at the same manifest"
            ),
        ));
    }
    for tag in listed.tags {
        if Some(&tag) == reference.tag() {
            continue;
        }
        let head = client
            .head_manifest(repository, ManifestReference::Tag(&tag))
            .await
            .map_err(of_registry)?;
        if head.is_some_and(|head| head.digest == *digest) {
            return Ok(Some(tag.to_string()));
        }
    }
    Ok(None)
}

/// Whether the registry deletes this kind of thing.
async fn delete(
    client: &Client,
    reference: &Reference,
    target: ManifestReference<'_>,
) -> Result<bool, Failure> {
    client
        .delete_manifest(reference.repository(), target)
        .await
        .map_err(|error| Failure::of_registry(Side::Destination, &error))
}

fn not_removed(reference: &Reference, why: &str) -> Failure {
    Failure {
        reason: Reason::PruneFailed,
        message: format!("{reference} was not removed: {why}"),
    }
}
