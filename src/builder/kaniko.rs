//! Kaniko: unpacks base images over its own root filesystem and runs the steps there. It neither mounts nor makes
//! namespaces, so that every node can run it; but a step has all that the executor has.

use k8s_openapi::api::core::v1::{SeccompProfile, SecurityContext};

use super::Builder;
use super::build::{Build, Isolation, Refusal};
use super::container::{
    BuildContainer, Command, OUTPUT_LAYOUT, Output, access_environment, container, host_users,
    user_context, volumes,
};
use super::failure::Failure;
use crate::oci::Platform;

mod failure;

/// The executor's user, who alone can read the layers that it writes.
const ROOT: i64 = 0;
/// What giving files to other users and becoming them takes.
const CAPABILITIES: [&str; 5] = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"];
/// What base images with file capabilities take. On the node itself we do without.
const FILE_CAPABILITIES: &str = "SETFCAP";
/// All that is mounted lies below it, so that nothing of it becomes a part of the image.
const MOUNTS: &str = "/transship";

pub(super) struct Kaniko;

impl Builder for Kaniko {
    fn container(&self, build: &Build) -> Result<BuildContainer, Refusal> {
        build.check()?;
        if !build.secrets.is_empty() {
            return Err(Refusal::SecretsUnsupported);
        }
        if build.base_images.is_some() {
            return Err(Refusal::RedirectionUnsupported);
        }
        let command = Command {
            arguments: arguments_of(build),
            environment: access_environment(build),
            ..Command::default()
        };
        Ok(BuildContainer {
            container: container(command, security_context(build.isolation), &[]),
            volumes: volumes(&[]),
            host_users: host_users(build.isolation),
            output: Output::Layout(OUTPUT_LAYOUT),
            publish_user: Some(ROOT),
        })
    }

    fn failure_in_log(&self, exit_code: i32, log: &str) -> Failure {
        failure::failure(exit_code, log)
    }
}

fn security_context(isolation: Isolation) -> SecurityContext {
    let mut capabilities = CAPABILITIES.to_vec();
    if isolation == Isolation::UserNamespace {
        capabilities.push(FILE_CAPABILITIES);
    }
    SecurityContext {
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        }),
        ..user_context(ROOT, &capabilities)
    }
}

/// Arguments of the executor. What somebody chose stands behind a `=`, so that it is never taken for a flag.
fn arguments_of(build: &Build) -> Vec<String> {
    let mut arguments = vec![
        format!("--context=dir://{}", build.context),
        format!("--dockerfile={}", build.dockerfile_path()),
        format!("--custom-platform={}", build.platform),
        format!("--ignore-path={MOUNTS}"),
        "--skip-unused-stages=true".to_owned(),
        "--no-push".to_owned(),
        format!("--oci-layout-path={OUTPUT_LAYOUT}"),
        "--log-format=text".to_owned(),
    ];
    // Other builders know them by themselves.
    for (name, value) in platform_arguments(&build.platform) {
        if !build.arguments.iter().any(|argument| argument.name == name) {
            arguments.push(format!("--build-arg={name}={value}"));
        }
    }
    if let Some(target) = &build.target {
        arguments.push(format!("--target={target}"));
    }
    for argument in &build.arguments {
        arguments.push(format!("--build-arg={}={}", argument.name, argument.value));
    }
    if let Some(repository) = build.cache_repository() {
        arguments.push("--cache=true".to_owned());
        arguments.push(format!("--cache-repo={repository}"));
    }
    for host in &build.insecure_registries {
        arguments.push(format!("--insecure-registry={host}"));
        arguments.push(format!("--skip-tls-verify-registry={host}"));
    }
    arguments
}

/// What `ARG TARGETPLATFORM` and its parts mean.
fn platform_arguments(platform: &Platform) -> [(&'static str, String); 4] {
    [
        ("TARGETPLATFORM", platform.to_string()),
        ("TARGETOS", platform.os().to_owned()),
        ("TARGETARCH", platform.architecture().to_owned()),
        (
            "TARGETVARIANT",
            platform.variant().unwrap_or_default().to_owned(),
        ),
    ]
}

#[cfg(test)]
mod tests;
