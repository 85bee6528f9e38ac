//! BuildKit: a daemon that lives as long as the build.
//!
//! In a pod with a user namespace `buildkitd` runs as root of a second one. Without, `rootlesskit` makes the only one.

use std::fmt::Write as _;

use super::Builder;
use super::build::{Build, Refusal};
use super::container::{
    BuildContainer, Command, OUTPUT_LAYOUT, Output, mounting, mounting_context, read_only,
};
use super::failure::Failure;

mod failure;

const SCRIPT: &str = concat!(
    include_str!("user_namespace.sh"),
    include_str!("buildkit/build.sh")
);

/// The exit code of the script when the daemon did not start.
const EXIT_NOT_STARTED: i32 = 70;

pub(super) struct BuildKit;

impl Builder for BuildKit {
    fn container(&self, build: &Build) -> Result<BuildContainer, Refusal> {
        build.check()?;
        let output = format!("type=oci,tar=false,oci-mediatypes=true,dest={OUTPUT_LAYOUT}");
        let mut arguments = vec![build.isolation.name().to_owned(), output];
        arguments.extend(arguments_of(build));
        let mut command = Command::script(SCRIPT, arguments);
        // Programs that are nobody's look for directories of their user.
        command.environment = vec![
            ("HOME", "/tmp".to_owned()),
            ("XDG_RUNTIME_DIR", "/tmp".to_owned()),
            ("TMPDIR", "/tmp".to_owned()),
            ("BUILDKITD_CONFIG", configuration(build)),
        ];
        command.environment.extend(build.files());
        let context = read_only(mounting_context(build));
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

/// Arguments of `buildctl build`. What somebody chose stands behind a `=`, so that it is never taken for a flag.
fn arguments_of(build: &Build) -> Vec<String> {
    let context = &build.context;
    let mut arguments = vec![
        "--progress=plain".to_owned(),
        "--frontend=dockerfile.v0".to_owned(),
        format!("--local=context={context}"),
        format!("--local=dockerfile={context}"),
        format!("--opt=filename={}", build.dockerfile),
        format!("--opt=platform={}", build.platform),
    ];
    if let Some(target) = &build.target {
        arguments.push(format!("--opt=target={target}"));
    }
    for argument in &build.arguments {
        arguments.push(format!(
            "--opt=build-arg:{}={}",
            argument.name, argument.value
        ));
    }
    for secret in &build.secrets {
        arguments.push(format!("--secret=id={},src={}", secret.id, secret.path));
    }
    if let Some(cache) = &build.cache {
        // An image is worth more than its cache.
        arguments.push(format!("--import-cache=type=registry,ref={cache}"));
        arguments.push(format!(
            "--export-cache=type=registry,ref={cache},mode=max,ignore-error=true"
        ));
    }
    arguments
}

/// The daemon's configuration, in TOML. Both settings together mean: without verification, and without TLS where
/// there is none.
fn configuration(build: &Build) -> String {
    let mut text = String::new();
    for host in &build.insecure_registries {
        // Nothing in the name of a host needs to be escaped.
        let _ = writeln!(text, "[registry.\"{host}\"]\nhttp = true\ninsecure = true");
    }
    text
}

#[cfg(test)]
mod tests;
