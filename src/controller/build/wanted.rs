//! What the spec of a build asks for, as checked values. Pure.
//!
//! Admission has refused most mistakes already; what it cannot say is refused here, with the field.

use std::time::Duration;

use croner::Cron;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::spec_error::SpecError;
use crate::api::{
    BuildCache, BuildOutput, BuildSource, BuilderType, GitReference, ImageBuildSpec,
    IntervalTrigger,
};
use crate::build::ContextPath;
use crate::controller::spec;
use crate::convert::Conversion;
use crate::copy::AccessReference;
use crate::git::{CommitId, GitUrl, ReferenceName};
use crate::oci::{Digest, Platform, Reference};

/// A spec that can be acted upon.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// How long one build may take.
    pub(super) timeout: Duration,
    /// Where the files come from.
    pub(super) source: WantedSource,
    /// The Dockerfile, below the context.
    pub(super) dockerfile: ContextPath,
    /// What the image runs on: at least one, each once.
    pub(super) platforms: Vec<Platform>,
    /// The repository of the cache. The tag of this reference means nothing.
    pub(super) cache: Option<Reference>,
    /// The repository of the image. The tag of this reference means nothing.
    pub(super) output: Reference,
    /// With whose rights the image is pushed.
    pub(super) output_access: AccessReference,
    /// The form of the image.
    pub(super) conversion: Conversion,
    /// How often the source is looked at.
    pub(super) source_interval: Option<Duration>,
    /// How often base images are looked at.
    pub(super) base_interval: Option<Duration>,
    schedule: Option<Schedule>,
}

/// Where the files of a build come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WantedSource {
    /// A Git repository.
    Git {
        url: GitUrl,
        revision: Revision,
        path: Option<ContextPath>,
        submodules: bool,
        secret: Option<String>,
        insecure: bool,
    },
    /// Files that stand in the spec, by their names.
    Inline(std::collections::BTreeMap<String, String>),
    /// A `ConfigMap`.
    ConfigMap(String),
    /// An image or artifact.
    Image {
        reference: Reference,
        access: AccessReference,
    },
    /// A tar file.
    Http {
        url: url::Url,
        checksum: Digest,
        insecure: bool,
    },
}

/// What of a repository is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Revision {
    /// What a branch or a tag points at.
    Reference(ReferenceName),
    /// This commit.
    Commit(CommitId),
}

/// Times at which a build is made.
#[derive(Clone, Debug)]
struct Schedule {
    cron: Box<Cron>,
    zone: TimeZone,
}

impl Wanted {
    pub(super) fn new(written: &ImageBuildSpec) -> Result<Self, SpecError> {
        let dockerfile = written.dockerfile.parse().map_err(|_| SpecError::Path {
            field: "dockerfile",
        })?;
        let triggers = &written.triggers;
        let interval = |field, trigger: Option<&IntervalTrigger>| {
            let interval = trigger.map(|trigger| duration(field, &trigger.interval));
            interval.transpose()
        };
        Ok(Self {
            platforms: platforms(&written.platforms)?,
            cache: cache(written.cache.as_ref())?,
            timeout: duration("timeout", &written.timeout)?,
            source: source(&written.source, &dockerfile)?,
            dockerfile,
            output: repository("output.repository", &written.output.repository)?,
            output_access: spec::access_reference(
                written.output.secret_ref.as_ref(),
                written.output.cert_secret_ref.as_ref(),
                written.output.insecure,
            ),
            conversion: conversion(&written.output)?,
            source_interval: interval("triggers.git.interval", triggers.git.as_ref())?,
            base_interval: interval("triggers.baseImage.interval", triggers.base_image.as_ref())?,
            schedule: triggers.schedule.as_deref().map(schedule).transpose()?,
        })
    }

    /// When the schedule builds next, after `now`.
    pub(super) fn next_scheduled(&self, now: Timestamp) -> Option<Timestamp> {
        let schedule = self.schedule.as_ref()?;
        let now = now.to_zoned(schedule.zone.clone());
        let next = schedule.cron.find_next_occurrence(&now, false).ok()?;
        Some(next.timestamp())
    }

    /// The shortest pause after which something outside is looked at.
    pub(super) fn check_interval(&self) -> Option<Duration> {
        self.source_interval
            .into_iter()
            .chain(self.base_interval)
            .min()
    }
}

fn platforms(written: &[String]) -> Result<Vec<Platform>, SpecError> {
    let mut platforms = Vec::new();
    for (index, text) in written.iter().enumerate() {
        let platform: Platform = text
            .parse()
            .map_err(|source| SpecError::Platform { index, source })?;
        if platforms.contains(&platform) {
            return Err(SpecError::PlatformTwice {
                index,
                platform: platform.to_string(),
            });
        }
        platforms.push(platform);
    }
    if platforms.is_empty() {
        platforms.push(own_platform()?);
    }
    Ok(platforms)
}

fn cache(cache: Option<&BuildCache>) -> Result<Option<Reference>, SpecError> {
    cache
        .map(|cache| repository("cache.repository", &cache.repository))
        .transpose()
}

fn own_platform() -> Result<Platform, SpecError> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("linux/{architecture}")
        .parse()
        .map_err(|_| SpecError::OwnPlatform)
}

fn duration(field: &'static str, text: &str) -> Result<Duration, SpecError> {
    spec::duration(text)
        .filter(|duration| !duration.is_zero())
        .ok_or(SpecError::Duration { field })
}

fn repository(field: &'static str, repository: &str) -> Result<Reference, SpecError> {
    let reference: Reference = repository
        .parse()
        .map_err(|source| SpecError::Reference { field, source })?;
    let name = repository.rsplit('/').next().unwrap_or_default();
    if name.contains([':', '@']) {
        return Err(SpecError::RepositoryWithTag { field });
    }
    Ok(reference)
}

fn source(source: &BuildSource, dockerfile: &ContextPath) -> Result<WantedSource, SpecError> {
    if let Some(git) = &source.git {
        let path = git.path.as_deref().map(str::parse).transpose();
        return Ok(WantedSource::Git {
            url: git.url.parse().map_err(SpecError::GitUrl)?,
            revision: revision(&git.r#ref)?,
            path: path.map_err(|_| SpecError::Path {
                field: "source.git.path",
            })?,
            submodules: git.submodules,
            secret: git.secret_ref.as_ref().map(|secret| secret.name.clone()),
            insecure: git.insecure,
        });
    }
    if let Some(inline) = &source.inline {
        let mut files = inline.files.clone();
        let name = dockerfile.to_string();
        if files
            .insert(name.clone(), inline.dockerfile.clone())
            .is_some()
        {
            return Err(SpecError::DockerfileTwice { name });
        }
        if let Some(name) = files.keys().find(|name| !is_file_name(name)) {
            return Err(SpecError::FileName { name: name.clone() });
        }
        return Ok(WantedSource::Inline(files));
    }
    if let Some(config_map) = &source.config_map_ref {
        return Ok(WantedSource::ConfigMap(config_map.name.clone()));
    }
    if let Some(image) = &source.image {
        let field = "source.image.reference";
        let reference = image
            .reference
            .parse()
            .map_err(|source| SpecError::Reference { field, source })?;
        let (credentials, certificates) =
            (image.secret_ref.as_ref(), image.cert_secret_ref.as_ref());
        return Ok(WantedSource::Image {
            reference,
            access: spec::access_reference(credentials, certificates, image.insecure),
        });
    }
    let Some(http) = &source.http else {
        return Err(SpecError::NoSource);
    };
    let url = http.url.parse().map_err(|_| SpecError::HttpUrl)?;
    let checksum = http.checksum.parse().map_err(|_| SpecError::Checksum)?;
    Ok(WantedSource::Http {
        url,
        checksum,
        insecure: http.insecure,
    })
}

fn revision(reference: &GitReference) -> Result<Revision, SpecError> {
    let of_reference = |field, name: Result<ReferenceName, crate::git::NameError>| {
        name.map(Revision::Reference)
            .map_err(|source| SpecError::GitName { field, source })
    };
    match reference {
        GitReference {
            commit: Some(commit),
            ..
        } => commit
            .parse()
            .map(Revision::Commit)
            .map_err(|source| SpecError::GitName {
                field: "commit",
                source,
            }),
        GitReference { tag: Some(tag), .. } => of_reference("tag", ReferenceName::tag(tag)),
        GitReference {
            branch: Some(branch),
            ..
        } => of_reference("branch", ReferenceName::branch(branch)),
        GitReference { .. } => Err(SpecError::NoRevision),
    }
}

/// Whether a `ConfigMap` can hold a file under this name.
fn is_file_name(name: &str) -> bool {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-._".contains(character);
    !name.is_empty()
        && name.len() <= 253
        && name.chars().all(is_plain)
        && !name.starts_with("..")
        && name != "."
}

fn conversion(output: &BuildOutput) -> Result<Conversion, SpecError> {
    let compression = spec::compression(&output.compression);
    Ok(Conversion {
        format: spec::format(output.format),
        compression: compression.map_err(|_| SpecError::Compression)?,
        ..Conversion::default()
    })
}

fn schedule(text: &str) -> Result<Schedule, SpecError> {
    let zone = |name: &str| TimeZone::get(name).map_err(|_| SpecError::TimeZone);
    let (zone, pattern) = match text.strip_prefix("CRON_TZ=") {
        None => (TimeZone::UTC, text),
        Some(rest) => {
            let (name, pattern) = rest.split_once(' ').ok_or(SpecError::Schedule)?;
            (zone(name)?, pattern)
        }
    };
    let cron = pattern.trim().parse().map_err(|_| SpecError::Schedule)?;
    Ok(Schedule {
        cron: Box::new(cron),
        zone,
    })
}

/// The builder that a spec names, as `builder` knows it.
pub(super) const fn builder_type(wanted: BuilderType) -> crate::builder::BuilderType {
    match wanted {
        BuilderType::BuildKit => crate::builder::BuilderType::BuildKit,
        BuilderType::Buildah => crate::builder::BuilderType::Buildah,
        BuilderType::Kaniko => crate::builder::BuilderType::Kaniko,
        BuilderType::Img => crate::builder::BuilderType::Img,
    }
}
