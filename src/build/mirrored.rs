//! Base images that are taken from where mirrors have put them. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::dockerfile::BaseImages;
use super::{BuildFailure, FailureClass};
use crate::oci::{Digest, Reference};
use crate::reason::Reason;

/// Where mirrors have images in place: the image by its digest, under the name of its source, fully written out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MirroredImages(BTreeMap<String, Reference>);

/// The base images of one Dockerfile, where mirrors have them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirection {
    /// For each image a line with three words: its name fully written out, its name as BuildKit writes it, and where it
    /// is.
    pub lines: String,
    /// The digests of the images by their names in the Dockerfile.
    pub digests: BTreeMap<String, Digest>,
}

impl FromIterator<(String, Reference)> for MirroredImages {
    fn from_iter<I: IntoIterator<Item = (String, Reference)>>(images: I) -> Self {
        Self(images.into_iter().collect())
    }
}

impl MirroredImages {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Where the image is that a Dockerfile calls `name`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Reference> {
        self.place(&name.parse().ok()?)
    }

    fn place(&self, wanted: &Reference) -> Option<&Reference> {
        let Some(digest) = wanted.digest() else {
            return self.0.get(&wanted.to_string());
        };
        let mut candidates = self.0.iter().filter(|(source, place)| {
            let source: Option<Reference> = source.parse().ok();
            place.digest() == Some(digest)
                && source.is_some_and(|source| source.name() == wanted.name())
        });
        candidates.next().map(|(_, place)| place)
    }

    /// Where all base images of a Dockerfile are. Not one of them may come from elsewhere.
    pub fn redirect(&self, images: &BaseImages) -> Result<Redirection, BuildFailure> {
        if images.is_unreadable {
            return Err(BuildFailure {
                class: FailureClass::Dockerfile,
                reason: Reason::DockerfileInvalid,
                message: "the Dockerfile cannot be understood, and spec.baseImages Mirrored has to know its images; correct it"
                    .to_owned(),
            });
        }
        if let Some(unclear) = images.unclear.first() {
            return Err(not_mirrored(format!(
                "cannot tell which image {unclear} is; spec.baseImages Mirrored needs names that stand in the Dockerfile \
                 or in spec.buildArgs"
            )));
        }
        let mut redirection = Redirection {
            lines: String::new(),
            digests: BTreeMap::new(),
        };
        for name in &images.names {
            let wanted: Option<Reference> = name.parse().ok();
            let found = wanted
                .as_ref()
                .and_then(|wanted| Some((wanted, self.place(wanted)?)));
            let (wanted, place) = found.ok_or_else(|| {
                not_mirrored(format!(
                    "no ImageMirror of this namespace has {name} in place; add it to one, or set spec.baseImages AsWritten"
                ))
            })?;
            let line = format!("{wanted} {} {place}\n", wanted.familiar());
            redirection.lines.push_str(&line);
            let digest = place.digest().cloned();
            redirection
                .digests
                .extend(digest.map(|digest| (name.clone(), digest)));
        }
        Ok(redirection)
    }
}

fn not_mirrored(message: String) -> BuildFailure {
    BuildFailure {
        class: FailureClass::Source,
        reason: Reason::BaseImageNotMirrored,
        message,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn digest() -> Digest {
        Digest::sha256(b"alpine")
    }

    fn images() -> MirroredImages {
        let place = format!("corp.test/hub/library/alpine@{}", digest());
        let place: Reference = place.parse().unwrap();
        let sources = [
            "docker.io/library/alpine:3",
            "docker.io/library/alpine:latest",
        ];
        sources
            .map(|source| (source.to_owned(), place.clone()))
            .into_iter()
            .collect()
    }

    fn of(names: &[&str]) -> BaseImages {
        BaseImages {
            names: names.iter().map(|&name| name.to_owned()).collect(),
            unclear: Vec::new(),
            is_unreadable: false,
        }
    }

    #[rstest]
    #[case("alpine:3", "docker.io/library/alpine:3 alpine:3")]
    #[case("docker.io/library/alpine:3", "docker.io/library/alpine:3 alpine:3")]
    #[case("alpine", "docker.io/library/alpine:latest alpine")]
    fn an_image_is_found_however_it_is_written(#[case] name: &str, #[case] names: &str) {
        let redirection = images().redirect(&of(&[name])).unwrap();
        let expected = format!("{names} corp.test/hub/library/alpine@{}\n", digest());
        assert_eq!(redirection.lines, expected);
        assert_eq!(redirection.digests[name], digest());
    }

    #[test]
    fn a_digest_is_found_whatever_its_tag() {
        let name = format!("alpine@{}", digest());
        assert!(images().find(&name).is_some());
        let other = format!("alpine@{}", Digest::sha256(b"other"));
        assert_eq!(images().find(&other), None);
        let elsewhere = format!("corp.test/alpine@{}", digest());
        assert_eq!(images().find(&elsewhere), None);
    }

    #[test]
    fn nothing_comes_from_elsewhere() {
        let refused = |images: &BaseImages| self::images().redirect(images).unwrap_err();
        let missing = refused(&of(&["alpine:3", "debian:12"]));
        assert_eq!(missing.reason, Reason::BaseImageNotMirrored);
        assert!(missing.message.contains("debian:12"), "{missing:?}");
        let unclear = BaseImages {
            unclear: vec!["${BASE}".to_owned()],
            ..of(&[])
        };
        assert!(refused(&unclear).message.contains("${BASE}"));
    }
}
