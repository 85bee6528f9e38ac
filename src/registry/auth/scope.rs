//! Token scopes (distribution, "Token Scope Documentation"): what a token gives the right to do.

use crate::oci::Repository;

/// The scopes of one request, in the order in which they are asked for.
///
/// Some registries look at the first scope only, so the repository that is written comes first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::registry) struct Scopes(Vec<String>);

impl Scopes {
    /// Reading from a repository.
    pub(in crate::registry) fn pull(repository: &Repository) -> Self {
        Self(vec![scope(repository, "pull")])
    }

    /// Writing to a repository.
    pub(in crate::registry) fn push(repository: &Repository) -> Self {
        Self(vec![scope(repository, "pull,push")])
    }

    /// Removing from a repository.
    pub(in crate::registry) fn delete(repository: &Repository) -> Self {
        Self(vec![scope(repository, "pull,delete")])
    }

    /// Writing to `target` what `source` already has.
    pub(in crate::registry) fn mount(target: &Repository, source: &Repository) -> Self {
        Self(vec![scope(target, "pull,push"), scope(source, "pull")])
    }

    /// Each scope as it is written in a token request.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

fn scope(repository: &Repository, actions: &str) -> String {
    format!("repository:{repository}:{actions}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_written_repository_comes_first() {
        let scopes = Scopes::mount(&"team/app".parse().unwrap(), &"base/os".parse().unwrap());
        assert_eq!(
            scopes.iter().collect::<Vec<_>>(),
            ["repository:team/app:pull,push", "repository:base/os:pull"]
        );
    }
}
