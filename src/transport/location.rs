//! Where an image is, as people write it: the transports of skopeo, with the same names.
//!
//! Pure: text in, words out. Nothing is looked at here.

use std::path::PathBuf;

use crate::oci::{Digest, Reference, ReferenceError, Tag};

/// Names of places that skopeo knows and Transship does not; they must not be taken for an image.
const FOREIGN: [&str; 4] = ["containers-storage:", "ostree:", "sif:", "tarball:"];

/// A place, and which image there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// `HOST/REPOSITORY[:TAG][@DIGEST]`, with or without `docker://`. The text without that.
    Registry(String),
    /// `oci:PATH[:TAG|@DIGEST]`: an OCI image layout in a directory.
    Layout(PathBuf, Name),
    /// `oci-archive:PATH[:TAG|@DIGEST]`: an OCI image layout in a tar file.
    LayoutArchive(PathBuf, Name),
    /// `dir:PATH`: one image in a directory, as skopeo writes it.
    Directory(PathBuf),
    /// `docker-archive:PATH[:REPOSITORY:TAG]`: what `docker save` writes.
    DockerArchive(PathBuf, Option<Reference>),
    /// `docker-daemon:REPOSITORY:TAG`: an image of the Docker daemon of this machine.
    DockerDaemon(Reference),
}

/// Which image of a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// The one that there is.
    Only,
    /// The one with this name.
    Tag(Tag),
    /// The one with this digest.
    Digest(Digest),
}

/// A text names no place.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// A transport that is not supported.
    #[error(
        "the transport {0:?} is not supported: use a registry, oci:, oci-archive:, docker-archive:, docker-daemon: or dir:"
    )]
    Foreign(&'static str),
    /// No path.
    #[error("{0} needs a path")]
    Path(&'static str),
    /// What follows the path is no name.
    #[error("what follows the path in {transport}PATH is no {expected}")]
    Name {
        /// The transport.
        transport: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// No reference.
    #[error("{transport}: {problem}")]
    Reference {
        /// The transport.
        transport: &'static str,
        /// What is wrong with it.
        problem: ReferenceError,
    },
}

const LAYOUT: &str = "oci:";
const LAYOUT_ARCHIVE: &str = "oci-archive:";
const DIRECTORY: &str = "dir:";
const DOCKER_ARCHIVE: &str = "docker-archive:";
const DOCKER_DAEMON: &str = "docker-daemon:";

impl Location {
    /// Reads what somebody typed.
    ///
    /// As in skopeo, a path ends at the first colon. A relative path may stand for itself: `oci:.`.
    pub fn parse(text: &str) -> Result<Self, LocationError> {
        if let Some(foreign) = FOREIGN.iter().find(|name| text.starts_with(**name)) {
            return Err(LocationError::Foreign(foreign));
        }
        if let Some(rest) = text.strip_prefix(LAYOUT) {
            let (path, name) = layout(LAYOUT, rest)?;
            return Ok(Self::Layout(path, name));
        }
        if let Some(rest) = text.strip_prefix(LAYOUT_ARCHIVE) {
            let (path, name) = layout(LAYOUT_ARCHIVE, rest)?;
            return Ok(Self::LayoutArchive(path, name));
        }
        if let Some(rest) = text.strip_prefix(DIRECTORY) {
            return Ok(Self::Directory(path(DIRECTORY, rest)?));
        }
        if let Some(rest) = text.strip_prefix(DOCKER_ARCHIVE) {
            let (file, reference) = match rest.split_once(':') {
                Some((file, reference)) => (file, Some(parse(DOCKER_ARCHIVE, reference)?)),
                None => (rest, None),
            };
            return Ok(Self::DockerArchive(path(DOCKER_ARCHIVE, file)?, reference));
        }
        if let Some(rest) = text.strip_prefix(DOCKER_DAEMON) {
            return Ok(Self::DockerDaemon(parse(DOCKER_DAEMON, rest)?));
        }
        let reference = text.strip_prefix("docker://").unwrap_or(text);
        Ok(Self::Registry(reference.to_owned()))
    }
}

fn layout(transport: &'static str, text: &str) -> Result<(PathBuf, Name), LocationError> {
    if let Some((file, digest)) = text.rsplit_once('@')
        && let Ok(digest) = digest.parse()
    {
        return Ok((path(transport, file)?, Name::Digest(digest)));
    }
    let (file, name) = match text.split_once(':') {
        None => (text, Name::Only),
        Some((file, tag)) => {
            let tag = tag.parse().map_err(|_| LocationError::Name {
                transport,
                expected: "tag or digest",
            })?;
            (file, Name::Tag(tag))
        }
    };
    Ok((path(transport, file)?, name))
}

fn path(transport: &'static str, text: &str) -> Result<PathBuf, LocationError> {
    if text.is_empty() {
        return Err(LocationError::Path(transport));
    }
    Ok(PathBuf::from(text))
}

fn parse(transport: &'static str, text: &str) -> Result<Reference, LocationError> {
    text.parse()
        .map_err(|problem| LocationError::Reference { transport, problem })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn tag(text: &str) -> Name {
        Name::Tag(text.parse().unwrap())
    }

    #[rstest]
    #[case("oci:images", "images", Name::Only)]
    #[case("oci:/a/b:v1", "/a/b", tag("v1"))]
    #[case(&format!("oci:a/b@{DIGEST}"), "a/b", Name::Digest(DIGEST.parse().unwrap()))]
    #[case("oci:team@home", "team@home", Name::Only)]
    fn layouts(#[case] text: &str, #[case] path: &str, #[case] name: Name) {
        let expected = Location::Layout(PathBuf::from(path), name.clone());
        assert_eq!(Location::parse(text).unwrap(), expected);
        let archive = text.replacen("oci:", "oci-archive:", 1);
        let expected = Location::LayoutArchive(PathBuf::from(path), name);
        assert_eq!(Location::parse(&archive).unwrap(), expected);
    }

    #[rstest]
    #[case("docker://a.test/b:1", Location::Registry("a.test/b:1".to_owned()))]
    #[case("alpine", Location::Registry("alpine".to_owned()))]
    #[case("dir:a:b", Location::Directory("a:b".into()))]
    #[case("docker-archive:a.tar", Location::DockerArchive("a.tar".into(), None))]
    #[case(
        "docker-archive:a.tar:b:1",
        Location::DockerArchive("a.tar".into(), Some("b:1".parse().unwrap()))
    )]
    #[case("docker-daemon:b:1", Location::DockerDaemon("b:1".parse().unwrap()))]
    fn other_places(#[case] text: &str, #[case] expected: Location) {
        assert_eq!(Location::parse(text).unwrap(), expected);
    }

    #[rstest]
    #[case("oci:", "needs a path")]
    #[case("oci::v1", "needs a path")]
    #[case("oci:a:not/a/tag", "no tag")]
    #[case("dir:", "needs a path")]
    #[case("docker-archive:a.tar:UPPER", "docker-archive:")]
    #[case("docker-daemon:", "docker-daemon:")]
    #[case("containers-storage:a", "not supported")]
    fn what_names_no_place_is_refused(#[case] text: &str, #[case] expected: &str) {
        let error = Location::parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
