//! Builds for tests.

use k8s_openapi::api::core::v1::{Container, SecurityContext};

use super::{Build, BuildArgument, BuildContainer, BuildSecret, BuilderType, Isolation};

pub(super) const BUILDERS: [BuilderType; 4] = [
    BuilderType::BuildKit,
    BuilderType::Buildah,
    BuilderType::Kaniko,
    BuilderType::Img,
];

/// A build with nothing but what each has.
pub(super) fn small(isolation: Isolation) -> Build {
    let platform = "linux/arm64/v8".parse().unwrap();
    let context = "/transship/context/source";
    Build::new(context, "deploy/Dockerfile", platform, isolation)
}

/// A build with everything that every builder can do.
pub(super) fn large(isolation: Isolation) -> Build {
    Build {
        target: Some("runtime".to_owned()),
        arguments: vec![
            argument("VERSION", "1.2"),
            argument("FLAGS", "--push $(HOME) a=b"),
        ],
        authorities: Some("/transship/authorities/ca.crt".to_owned()),
        credentials_directory: Some("/transship/credentials".to_owned()),
        source_date_epoch: Some("/transship/source-date-epoch".to_owned()),
        ..small(isolation)
    }
}

/// The same with a cache, which not every builder has.
pub(super) fn cached(isolation: Isolation) -> Build {
    Build {
        cache: Some("registry.test/cache/app:arm64".parse().unwrap()),
        ..large(isolation)
    }
}

pub(super) fn argument(name: &str, value: &str) -> BuildArgument {
    BuildArgument {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

pub(super) fn secret(id: &str) -> BuildSecret {
    BuildSecret {
        id: id.to_owned(),
        path: format!("/transship/secrets/{id}"),
    }
}

pub(super) fn container(builder: BuilderType, build: &Build) -> BuildContainer {
    builder.builder().container(build).unwrap()
}

/// The arguments as the program gets them.
pub(super) fn arguments(container: &Container) -> Vec<String> {
    let arguments = container.args.iter().flatten();
    arguments.map(|argument| expand(argument)).collect()
}

/// The value of an environment variable as the program gets it.
pub(super) fn variable(container: &Container, name: &str) -> Option<String> {
    let mut variables = container.env.iter().flatten();
    let variable = variables.find(|variable| variable.name == name)?;
    Some(expand(variable.value.as_deref().unwrap()))
}

pub(super) fn security(container: &Container) -> &SecurityContext {
    container.security_context.as_ref().unwrap()
}

/// What Kubernetes makes of a word, when every variable is there and is `EXPANDED`.
pub(super) fn expand(word: &str) -> String {
    let mut expanded = String::new();
    let mut rest = word;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((_, after)) =
            rest.strip_prefix('(').and_then(|name| name.split_once(')'))
        {
            expanded.push_str("EXPANDED");
            rest = after;
        } else {
            expanded.push('$');
        }
    }
    expanded + rest
}
