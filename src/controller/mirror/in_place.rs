//! Which images the mirrors of a namespace have in place, for builds that take their base images from there.

use std::collections::{BTreeMap, BTreeSet};

use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};

use super::pages::Pages;
use crate::api::{Destination, ImageMirror, ImageState, ImageStatus};
use crate::build::MirroredImages;
use crate::controller::request::{RequestError, request};
use crate::controller::stored::{Stored, StoredMirror};
use crate::oci::{Reference, RegistryHost};

/// What the mirrors of a namespace have in place.
#[derive(Debug, Default)]
pub(in crate::controller) struct InPlace {
    /// The images.
    pub(in crate::controller) images: MirroredImages,
    /// Those of their registries that mirrors speak to without verified TLS.
    pub(in crate::controller) insecure: BTreeSet<RegistryHost>,
}

/// Asks the API server what the mirrors of a namespace have in place.
pub(in crate::controller) async fn in_place(
    client: &Client,
    namespace: &str,
) -> Result<InPlace, RequestError> {
    let api: Api<StoredMirror> = Api::namespaced(client.clone(), namespace);
    let pages = Pages::new(client, namespace);
    let mut found = Vec::new();
    for stored in request(api.list(&ListParams::default())).await?.items {
        let Stored::Readable(mirror) = stored else {
            continue;
        };
        let status = mirror.status.clone().unwrap_or_default();
        let remembered = pages.read_named(&mirror, &status.image_reports).await?;
        found.push((mirror, remembered.unwrap_or(status.images)));
    }
    // Of two that have the same image the one counts whose name comes first, whatever the order of the answer.
    found.sort_by_key(|(mirror, _)| mirror.name_any());
    Ok(of_mirrors(&found))
}

fn of_mirrors(mirrors: &[(Box<ImageMirror>, Vec<ImageStatus>)]) -> InPlace {
    let mut images: BTreeMap<String, Reference> = BTreeMap::new();
    let mut insecure = BTreeSet::new();
    for (mirror, statuses) in mirrors {
        for status in statuses {
            let Some(place) = place(status) else {
                continue;
            };
            if images.contains_key(&status.source) {
                continue;
            }
            let destinations = &mirror.spec.destinations;
            if destinations.iter().any(|each| is_insecure(each, &place)) {
                insecure.insert(place.registry().clone());
            }
            images.insert(status.source.clone(), place);
        }
    }
    InPlace {
        images: images.into_iter().collect(),
        insecure,
    }
}

/// Where an image is in place, by its digest.
fn place(status: &ImageStatus) -> Option<Reference> {
    let mut present = status
        .destinations
        .iter()
        .filter(|destination| destination.state == ImageState::Present);
    present.find_map(|destination| {
        let reference: Reference = destination.reference.parse().ok()?;
        let digest = destination.digest.as_ref()?.parse().ok()?;
        Some(reference.with_digest(digest))
    })
}

fn is_insecure(destination: &Destination, place: &Reference) -> bool {
    let host = destination.prefix.split('/').next();
    destination.insecure && host == Some(place.registry().to_string().as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::oci::Digest;

    fn mirror(name: &str) -> Box<ImageMirror> {
        let mirror = json!({
            "apiVersion": "transship.dev/v1alpha1", "kind": "ImageMirror", "metadata": {"name": name},
            "spec": {
                "sources": [{"image": "docker.io/library/alpine:3"}],
                "destinations": [{"prefix": "plain.test:5000/hub", "insecure": true}, {"prefix": "corp.test/hub"}],
            },
        });
        serde_json::from_value(mirror).unwrap()
    }

    fn image(tag: &str, host: &str, state: &str) -> ImageStatus {
        serde_json::from_value(json!({
            "source": format!("docker.io/library/alpine:{tag}"),
            "destinations": [{
                "reference": format!("{host}/hub/library/alpine:{tag}"),
                "digest": Digest::sha256(host.as_bytes()), "state": state,
            }],
        }))
        .unwrap()
    }

    #[test]
    fn only_what_is_in_place_counts() {
        let images = vec![
            image("1", "corp.test", "Present"),
            image("2", "corp.test", "Pending"),
            image("3", "corp.test", "Drifted"),
        ];
        let found = of_mirrors(&[(mirror("a"), images)]);
        let place = found.images.find("alpine:1").unwrap().to_string();
        let digest = Digest::sha256(b"corp.test");
        assert_eq!(place, format!("corp.test/hub/library/alpine@{digest}"));
        assert_eq!(found.images.count(), 1);
        assert!(found.insecure.is_empty());
    }

    #[test]
    fn the_first_mirror_counts_and_its_registry_is_as_secure_as_it_says() {
        let of = |host| vec![image("1", host, "Present")];
        let found = of_mirrors(&[
            (mirror("a"), of("plain.test:5000")),
            (mirror("b"), of("corp.test")),
        ]);
        let place = found.images.find("alpine:1").unwrap();
        assert_eq!(place.registry().to_string(), "plain.test:5000");
        let insecure: Vec<_> = found.insecure.iter().map(ToString::to_string).collect();
        assert_eq!(insecure, ["plain.test:5000"]);
    }
}
