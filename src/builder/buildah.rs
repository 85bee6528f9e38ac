//! Buildah, with its isolation `chroot`: steps share the namespaces of the container. It writes to the container's
//! own root filesystem: to the home of its user, and where it puts together the root of a step.

use std::fmt::Write as _;

use super::Builder;
use super::build::{Build, Refusal};
use super::container::{
    BuildContainer, Command, OUTPUT_LAYOUT, Output, mounting, mounting_context,
};
use super::failure::Failure;

mod failure;

const SCRIPT: &str = include_str!("buildah/build.sh");

pub(super) struct Buildah;

impl Builder for Buildah {
    fn container(&self, build: &Build) -> Result<BuildContainer, Refusal> {
        build.check()?;
        // It pulls a step from its cache, and makes it all the same (measured with release 1.39).
        if build.cache.is_some() {
            return Err(Refusal::CacheUnsupported);
        }
        let mut command = Command::script(SCRIPT, arguments_of(build));
        command.environment = vec![
            ("PLATFORM", build.platform.to_string()),
            ("BUILDAH_ISOLATION", "chroot".to_owned()),
            ("HOME", "/tmp".to_owned()),
            ("XDG_RUNTIME_DIR", "/tmp".to_owned()),
            ("TMPDIR", "/tmp".to_owned()),
            ("REGISTRIES_CONFIG", registries(build)),
        ];
        command.environment.extend(build.files());
        let context = mounting_context(build);
        Ok(mounting(
            build,
            command,
            context,
            Output::Layout(OUTPUT_LAYOUT),
        ))
    }

    fn failure_in_log(&self, exit_code: i32, log: &str) -> Failure {
        failure::failure(exit_code, log)
    }
}

/// Arguments of `buildah build`. What somebody chose stands behind a `=`, so that it is never taken for a flag.
fn arguments_of(build: &Build) -> Vec<String> {
    let mut arguments = vec![
        format!("--file={}", build.dockerfile_path()),
        format!("--platform={}", build.platform),
        "--format=oci".to_owned(),
        "--layers".to_owned(),
        // The pod's network: nobody may make another.
        "--network=host".to_owned(),
        // The image is to be the same with the next release of Buildah.
        "--identity-label=false".to_owned(),
    ];
    if let Some(target) = &build.target {
        arguments.push(format!("--target={target}"));
    }
    for argument in &build.arguments {
        arguments.push(format!("--build-arg={}={}", argument.name, argument.value));
    }
    for secret in &build.secrets {
        arguments.push(format!("--secret=id={},src={}", secret.id, secret.path));
    }
    arguments.push(build.context.clone());
    arguments
}

/// The configuration of registries, in TOML. Names without a host mean Docker Hub, as in every other builder.
fn registries(build: &Build) -> String {
    let mut text =
        "unqualified-search-registries = [\"docker.io\"]\nshort-name-mode = \"disabled\"\n"
            .to_owned();
    for host in &build.insecure_registries {
        // Nothing in the name of a host needs to be escaped.
        let _ = writeln!(text, "[[registry]]\nlocation = \"{host}\"\ninsecure = true");
    }
    text
}

#[cfg(test)]
mod tests;
