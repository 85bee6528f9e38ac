//! What a spec asks for, as checked values: which image goes to which references with whose rights.
//!
//! Admission has refused most mistakes already; what it cannot say is refused here, with the field.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;

use crate::api::{Destination, ImageMirrorSpec, SecretReference, Source};
use crate::copy::{AccessReference, DestinationTemplate, PlannedDestination, TemplateError};
use crate::oci::{Reference, ReferenceError};

/// A spec that can be acted upon.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// How often to scan.
    pub(crate) interval: Duration,
    /// How long one run may take.
    pub(crate) timeout: Duration,
    /// What to keep where, in the order of the spec.
    pub(crate) images: Vec<WantedImage>,
}

/// One source image and all its destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WantedImage {
    pub(crate) source: Reference,
    pub(crate) access: AccessReference,
    pub(crate) destinations: Vec<PlannedDestination>,
}

/// Why a spec cannot be acted upon; each names the field to mend.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SpecError {
    #[error("spec.{field}: not a duration such as 30m or 1h30m")]
    Duration { field: &'static str },
    #[error("spec.sources[{index}].image: {source}")]
    Image {
        index: usize,
        source: ReferenceError,
    },
    #[error(
        "spec.sources[{first}].image and spec.sources[{second}].image are the same image {image}"
    )]
    RepeatedImage {
        first: usize,
        second: usize,
        image: String,
    },
    #[error("spec.destinations[{index}]: {source} (for source {image})")]
    Destination {
        index: usize,
        image: String,
        source: TemplateError,
    },
    #[error(
        "spec.destinations: {first} and {second} would both be stored as {reference}; use {{registry}}, {{repository}} and {{tag}} to keep them apart"
    )]
    Collision {
        first: String,
        second: String,
        reference: String,
    },
}

impl Wanted {
    /// Checks a spec.
    pub(crate) fn new(spec: &ImageMirrorSpec) -> Result<Self, SpecError> {
        let mut images: Vec<WantedImage> = Vec::with_capacity(spec.sources.len());
        let mut taken: BTreeMap<Reference, Reference> = BTreeMap::new();
        for (index, source) in spec.sources.iter().enumerate() {
            let image = wanted_image(index, source, &spec.destinations)?;
            if let Some(first) = images
                .iter()
                .position(|earlier| earlier.source == image.source)
            {
                return Err(SpecError::RepeatedImage {
                    first,
                    second: index,
                    image: image.source.to_string(),
                });
            }
            for destination in &image.destinations {
                let reference = destination.reference.clone();
                if let Some(first) = taken.insert(reference.clone(), image.source.clone()) {
                    return Err(SpecError::Collision {
                        first: first.to_string(),
                        second: image.source.to_string(),
                        reference: reference.to_string(),
                    });
                }
            }
            images.push(image);
        }
        Ok(Self {
            interval: duration("interval", &spec.interval)?,
            timeout: duration("timeout", &spec.timeout)?,
            images,
        })
    }
}

fn duration(field: &'static str, text: &str) -> Result<Duration, SpecError> {
    text.parse::<SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or(SpecError::Duration { field })
}

fn wanted_image(
    index: usize,
    source: &Source,
    destinations: &[Destination],
) -> Result<WantedImage, SpecError> {
    let image: Reference = source.image.parse().map_err(|error| SpecError::Image {
        index,
        source: error,
    })?;
    let destinations = destinations
        .iter()
        .enumerate()
        .map(|(index, destination)| {
            let template = DestinationTemplate {
                prefix: &destination.prefix,
                path: &destination.path,
                tag: &destination.tag,
            };
            let reference = template
                .apply(&image)
                .map_err(|source| SpecError::Destination {
                    index,
                    image: image.to_string(),
                    source,
                })?;
            let access = access_reference(
                destination.secret_ref.as_ref(),
                destination.cert_secret_ref.as_ref(),
                destination.insecure,
            );
            Ok(PlannedDestination { reference, access })
        })
        .collect::<Result<_, SpecError>>()?;
    let access = access_reference(
        source.secret_ref.as_ref(),
        source.cert_secret_ref.as_ref(),
        source.insecure,
    );
    Ok(WantedImage {
        source: image,
        access,
        destinations,
    })
}

fn access_reference(
    secret: Option<&SecretReference>,
    certificates: Option<&SecretReference>,
    insecure: bool,
) -> AccessReference {
    AccessReference {
        credentials: secret.map(|secret| secret.name.clone()),
        certificates: certificates.map(|secret| secret.name.clone()),
        insecure,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn spec(sources: &[&str], destinations: &serde_json::Value) -> ImageMirrorSpec {
        let sources: Vec<_> = sources
            .iter()
            .map(|image| json!({"image": image}))
            .collect();
        serde_json::from_value(json!({"sources": sources, "destinations": destinations})).unwrap()
    }

    #[test]
    fn every_image_goes_to_every_destination() {
        let wanted = Wanted::new(&spec(
            &["alpine:3", "ghcr.io/a/b:1"],
            &json!([{"prefix": "one.test", "secretRef": {"name": "push"}}, {"prefix": "two.test/m", "insecure": true}]),
        ))
        .unwrap();
        let references: Vec<_> = wanted
            .images
            .iter()
            .flat_map(|image| {
                image
                    .destinations
                    .iter()
                    .map(|destination| destination.reference.to_string())
            })
            .collect();
        assert_eq!(
            references,
            [
                "one.test/docker.io/library/alpine:3",
                "two.test/m/docker.io/library/alpine:3",
                "one.test/ghcr.io/a/b:1",
                "two.test/m/ghcr.io/a/b:1",
            ]
        );
        assert_eq!(wanted.interval, Duration::from_hours(1));
        let [one, two] = &wanted.images[0].destinations[..] else {
            panic!("two destinations")
        };
        assert_eq!(one.access.credentials.as_deref(), Some("push"));
        assert!(two.access.insecure && !one.access.insecure);
    }

    #[rstest]
    #[case::same_image(
        spec(&["alpine:3", "docker.io/library/alpine:3"], &json!([{"prefix": "one.test"}])),
        "spec.sources[0].image and spec.sources[1].image are the same image docker.io/library/alpine:3")]
    #[case::collision(
        spec(&["alpine:3", "quay.io/x/alpine:3"], &json!([{"prefix": "one.test", "path": "alpine"}])),
        "spec.destinations: docker.io/library/alpine:3 and quay.io/x/alpine:3 would both be stored as one.test/alpine:3; use {registry}, {repository} and {tag} to keep them apart")]
    #[case::address(
        spec(&["[::1]:5000/a:1"], &json!([{"prefix": "one.test"}])),
        "spec.destinations[0]: {registry} cannot stand for an IPv6 address; write a fixed path instead (for source [::1]:5000/a:1)")]
    #[case::image(
        spec(&["ghcr.io/A/b"], &json!([{"prefix": "one.test"}])),
        "spec.sources[0].image: malformed repository: expected lower-case letters, digits and single separators . _ - in components joined by /")]
    fn what_admission_cannot_say_is_refused(#[case] spec: ImageMirrorSpec, #[case] expected: &str) {
        assert_eq!(Wanted::new(&spec).unwrap_err().to_string(), expected);
    }

    #[test]
    fn hostile_durations_are_refused() {
        for text in ["", "1", "-1h", "999999999999999999999h", "1d2"] {
            let mut spec = spec(&["alpine:3"], &json!([{"prefix": "one.test"}]));
            spec.timeout = text.to_owned();
            assert_eq!(
                Wanted::new(&spec).unwrap_err(),
                SpecError::Duration { field: "timeout" },
                "{text}"
            );
        }
    }
}
