//! img: BuildKit of 2020 in one program, without a daemon. It is not maintained; that it still builds is no reason to
//! choose it.

use super::Builder;
use super::build::{Build, Refusal};
use super::container::{
    BuildContainer, Command, OUTPUT_ARCHIVE, Output, mounting, mounting_context, read_only,
};
use super::failure::Failure;

mod failure;

const SCRIPT: &str = concat!(
    include_str!("user_namespace.sh"),
    include_str!("img/build.sh")
);

pub(super) struct Img;

impl Builder for Img {
    fn container(&self, build: &Build) -> Result<BuildContainer, Refusal> {
        build.check()?;
        if !build.secrets.is_empty() {
            return Err(Refusal::SecretsUnsupported);
        }
        if build.base_images.is_some() {
            return Err(Refusal::RedirectionUnsupported);
        }
        if !build.insecure_registries.is_empty() {
            return Err(Refusal::InsecureRegistryUnsupported);
        }
        let mut arguments = vec![build.isolation.name().to_owned()];
        arguments.extend(arguments_of(build));
        let mut command = Command::script(SCRIPT, arguments);
        command.environment = vec![
            ("HOME", "/tmp".to_owned()),
            ("XDG_RUNTIME_DIR", "/tmp".to_owned()),
            ("TMPDIR", "/tmp".to_owned()),
        ];
        let context = read_only(mounting_context(build));
        Ok(mounting(
            build,
            command,
            context,
            Output::Archive(OUTPUT_ARCHIVE),
        ))
    }

    fn failure_in_log(&self, exit_code: i32, log: &str) -> Failure {
        failure::failure(exit_code, log)
    }
}

/// Arguments of `img`. What somebody chose stands behind a `=`, so that it is never taken for a flag.
fn arguments_of(build: &Build) -> Vec<String> {
    let mut arguments = vec![
        "build".to_owned(),
        "--state=/transship/state/img".to_owned(),
        "--no-console".to_owned(),
        format!("--file={}", build.dockerfile_path()),
        format!("--platform={}", build.platform),
        format!("--output=type=oci,dest={OUTPUT_ARCHIVE}"),
    ];
    if let Some(target) = &build.target {
        arguments.push(format!("--target={target}"));
    }
    for argument in &build.arguments {
        arguments.push(format!("--build-arg={}={}", argument.name, argument.value));
    }
    if let Some(cache) = &build.cache {
        arguments.push(format!("--cache-from=type=registry,ref={cache}"));
        arguments.push(format!("--cache-to=type=registry,ref={cache},mode=max"));
    }
    arguments.push(build.context.clone());
    arguments
}

#[cfg(test)]
mod tests;
