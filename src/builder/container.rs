//! The container of a build, as Kubernetes is told of it.

use k8s_openapi::api::core::v1::{
    Capabilities, Container, EmptyDirVolumeSource, EnvVar, SeccompProfile, SecurityContext, Volume,
    VolumeMount,
};

use super::build::{Build, Isolation, SeccompFilter};

/// Where the image is written to.
pub const OUTPUT_DIRECTORY: &str = "/transship/output";
/// The volume that is mounted there; the container that publishes the image mounts it too.
pub const OUTPUT_VOLUME: &str = "output";
/// The OCI image layout that all builders but img write.
pub(super) const OUTPUT_LAYOUT: &str = "/transship/output/layout";
/// The archive that img writes.
pub(super) const OUTPUT_ARCHIVE: &str = "/transship/output/image.tar";
/// Where builders keep layers while they build. A volume, since an overlay cannot lie on the container's own.
const STATE: Scratch = Scratch {
    name: "state",
    path: "/transship/state",
};
/// Temporary files of builders whose own root filesystem is read-only.
const TEMPORARY: Scratch = Scratch {
    name: "temporary",
    path: "/tmp",
};
const OUTPUT: Scratch = Scratch {
    name: OUTPUT_VOLUME,
    path: OUTPUT_DIRECTORY,
};

/// An empty volume.
#[derive(Clone, Copy)]
pub(super) struct Scratch {
    name: &'static str,
    path: &'static str,
}

/// Where the finished image is, in the [output directory](OUTPUT_DIRECTORY).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// A directory: an OCI image layout with one image.
    Layout(&'static str),
    /// A file: the same as a tar archive.
    Archive(&'static str),
}

/// A container that builds, and what its pod must have.
#[derive(Clone, Debug)]
pub struct BuildContainer {
    /// The container without its name, image and resources, and without the mounts of what it is given: the
    /// context, secrets, credentials and authorities. The pod must have no `seccompProfile` of its own.
    pub container: Container,
    /// The empty volumes that it mounts.
    pub volumes: Vec<Volume>,
    /// `hostUsers` of the pod.
    pub host_users: Option<bool>,
    /// Where the image is in the end.
    pub output: Output,
    /// The user that the container must have which reads the image; absent when any can.
    pub publish_user: Option<i64>,
}

/// A command line with its environment.
#[derive(Default)]
pub(super) struct Command {
    /// The program and its first arguments; the image's own entry point when empty.
    pub(super) program: Vec<String>,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(&'static str, String)>,
}

impl Command {
    /// A fixed script, which gets arguments as `"$@"`.
    pub(super) fn script(script: &str, arguments: Vec<String>) -> Self {
        let program = ["/bin/sh", "-c", script, "build"];
        Self {
            program: program.map(str::to_owned).to_vec(),
            arguments,
            environment: Vec::new(),
        }
    }
}

/// The container with these settings.
pub(super) fn container(
    command: Command,
    security_context: SecurityContext,
    scratch: &[Scratch],
) -> Container {
    let scratch = scratch.iter().chain([&OUTPUT]);
    let environment = command.environment.into_iter().map(|(name, value)| EnvVar {
        name: name.to_owned(),
        value: Some(escape(&value)),
        ..EnvVar::default()
    });
    let escaped = |words: Vec<String>| words.iter().map(|word| escape(word)).collect::<Vec<_>>();
    Container {
        command: Some(escaped(command.program)).filter(|program| !program.is_empty()),
        args: Some(escaped(command.arguments)),
        env: Some(environment.collect()),
        security_context: Some(security_context),
        volume_mounts: Some(
            scratch
                .map(|scratch| VolumeMount {
                    name: scratch.name.to_owned(),
                    mount_path: scratch.path.to_owned(),
                    ..VolumeMount::default()
                })
                .collect(),
        ),
        ..Container::default()
    }
}

/// A builder that mounts: with room for its state and for temporary files, and an image that anybody may read.
pub(super) fn mounting(
    build: &Build,
    mut command: Command,
    security_context: SecurityContext,
    output: Output,
) -> BuildContainer {
    command.environment.extend(access_environment(build));
    let scratch = [STATE, TEMPORARY];
    BuildContainer {
        container: container(command, security_context, &scratch),
        volumes: volumes(&scratch),
        host_users: host_users(build.isolation),
        output,
        publish_user: None,
    }
}

/// The volumes that [`container`] mounts.
pub(super) fn volumes(scratch: &[Scratch]) -> Vec<Volume> {
    let scratch = scratch.iter().chain([&OUTPUT]);
    scratch
        .map(|scratch| Volume {
            name: scratch.name.to_owned(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        })
        .collect()
}

/// Kubernetes replaces `$(NAME)` in commands and in values of variables, and `$$` by `$`.
fn escape(word: &str) -> String {
    word.replace('$', "$$")
}

/// The user of builders that are not root in their container.
const USER: i64 = 1000;

/// The security context of a builder that makes a user namespace, in which it mounts and starts containers.
///
/// In a pod with a user namespace it is root in the pod and maps all of its ids; `SETFCAP` is what mapping root
/// takes. Without one it is a user, and programs with file capabilities map for it, which `no_new_privs` would
/// forbid.
pub(super) fn mounting_context(build: &Build) -> SecurityContext {
    let (user, capabilities, escalation): (_, &[&str], _) = match build.isolation {
        Isolation::UserNamespace => (0, &["SETUID", "SETGID", "SETFCAP"], false),
        Isolation::Rootless => (USER, &["SETUID", "SETGID"], true),
    };
    SecurityContext {
        allow_privilege_escalation: Some(escalation),
        seccomp_profile: seccomp_profile(&build.seccomp),
        ..user_context(user, capabilities)
    }
}

/// The same for builders that write to their volumes only.
pub(super) fn read_only(context: SecurityContext) -> SecurityContext {
    SecurityContext {
        read_only_root_filesystem: Some(true),
        ..context
    }
}

/// A user with capabilities, and no more.
pub(super) fn user_context(user: i64, capabilities: &[&str]) -> SecurityContext {
    SecurityContext {
        run_as_user: Some(user),
        run_as_group: Some(user),
        run_as_non_root: Some(user != 0),
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            add: Some(capabilities.iter().map(|&name| name.to_owned()).collect()),
        }),
        ..SecurityContext::default()
    }
}

/// The profile for builders that mount.
fn seccomp_profile(filter: &SeccompFilter) -> Option<SeccompProfile> {
    let (type_, localhost_profile) = match filter {
        SeccompFilter::Unset => return None,
        SeccompFilter::Localhost(path) => ("Localhost", Some(path.clone())),
        SeccompFilter::Unconfined => ("Unconfined", None),
    };
    Some(SeccompProfile {
        type_: type_.to_owned(),
        localhost_profile,
    })
}

/// `hostUsers` of the pod.
pub(super) fn host_users(isolation: Isolation) -> Option<bool> {
    (isolation == Isolation::UserNamespace).then_some(false)
}

/// The variables by which programs written in Go find authorities and Docker's credentials.
pub(super) fn access_environment(build: &Build) -> Vec<(&'static str, String)> {
    let authorities = build
        .authorities
        .iter()
        .map(|file| ("SSL_CERT_FILE", file.clone()));
    let credentials = build.credentials_directory.iter();
    let credentials = credentials.map(|directory| ("DOCKER_CONFIG", directory.clone()));
    authorities.chain(credentials).collect()
}
