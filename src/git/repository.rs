//! One repository somewhere else: what its references are.

use std::path::Path;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::Instant;

use super::environment::Environment;
use super::failure::{GitError, Problem, of_process};
use super::process::{self, Output};
use super::{CommitId, GitCredentials, GitUrl, Protocol, ReferenceName};
use crate::reason::Reason;

/// With which rights a repository is read.
#[derive(Clone, Debug, Default)]
pub struct GitAccess {
    /// What to log in with, and whom to trust.
    pub credentials: GitCredentials,
    /// Whether plain HTTP is allowed.
    pub insecure: bool,
}

/// Everything that runs `git` for one repository.
#[derive(Debug)]
pub(super) struct Session<'a> {
    pub(super) url: &'a GitUrl,
    pub(super) environment: &'a Environment,
    pub(super) access: &'a GitAccess,
    /// When the last program must have ended.
    pub(super) deadline: Instant,
}

impl Session<'_> {
    /// Runs `git` with the arguments of `command`, whatever becomes of it.
    pub(super) async fn try_run(&self, command: &mut Command) -> Result<Output, GitError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let output = process::run(command, left).await;
        output.map_err(|error| {
            tracing::warn!(repository = %self.url, %error, "git did not end");
            of_process(self.url, &error)
        })
    }

    /// Runs `git` and takes what it gives, or what its messages mean. `wanted` is what messages call
    /// what was asked for.
    pub(super) async fn run(
        &self,
        command: &mut Command,
        wanted: &str,
    ) -> Result<Vec<u8>, GitError> {
        let output = self.try_run(command).await?;
        if output.status.success() {
            return Ok(output.given);
        }
        Err(self.failure(&output, wanted))
    }

    /// The error for a program that failed. Its own words go into the log only.
    pub(super) fn failure(&self, output: &Output, wanted: &str) -> GitError {
        let messages = self.access.credentials.scrub(output.messages.trim_end());
        tracing::warn!(repository = %self.url, status = %output.status, messages, "git failed");
        Problem::of(&output.messages).into_error(self.url, wanted)
    }
}

/// Refuses what `git` would not find out, or only with a message that helps nobody.
pub(super) fn check_protocol(url: &GitUrl, access: &GitAccess) -> Result<(), GitError> {
    match url.protocol() {
        Protocol::Http if !access.insecure => Err(GitError {
            reason: Reason::InvalidSpec,
            message: format!("{url} is read without TLS: write https, or allow it"),
        }),
        Protocol::Ssh if access.credentials.ssh.is_none() => Err(GitError {
            reason: Reason::SecretInvalid,
            message: format!(
                "{url} is read with ssh: its Secret needs the keys identity and known_hosts"
            ),
        }),
        Protocol::Http | Protocol::Https | Protocol::Ssh => Ok(()),
    }
}

/// The files that `git` needs could not be written.
pub(super) fn no_room(error: &std::io::Error) -> GitError {
    GitError {
        reason: Reason::StorageFailed,
        message: format!("cannot write what git needs: {error}"),
    }
}

/// The commit that a branch or tag of a repository is at now. `scratch` is where files with credentials
/// may be for as long as it takes.
pub async fn resolve(
    url: &GitUrl,
    reference: &ReferenceName,
    access: &GitAccess,
    scratch: &Path,
    limit: Duration,
) -> Result<CommitId, GitError> {
    check_protocol(url, access)?;
    let environment = Environment::create(url, access, scratch).map_err(|error| no_room(&error))?;
    let session = Session {
        url,
        environment: &environment,
        access,
        deadline: Instant::now() + limit,
    };
    // Of a tag with a message, what it is about.
    let peeled = format!("{reference}^{{}}");
    let mut command = environment.git();
    command.args(["ls-remote", "--quiet", "--", url.as_str()]);
    command.args([reference.as_str(), peeled.as_str()]);
    let wanted = reference.describe();
    let output = session.run(&mut command, &wanted).await?;
    find(&output, &[&peeled, reference.as_str()])
        .ok_or_else(|| Problem::ReferenceNotFound.into_error(url, &wanted))
}

/// The commit of the first of `names` that is listed. Git lists also what only ends with a name.
fn find(listing: &[u8], names: &[&str]) -> Option<CommitId> {
    let listing = String::from_utf8_lossy(listing);
    names.iter().find_map(|name| {
        listing.lines().find_map(|line| {
            let (commit, listed) = line.split_once('\t')?;
            (listed == *name).then(|| commit.parse().ok()).flatten()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_with_a_message_is_the_commit_that_it_is_about() {
        let [tag, commit, other] = ["a", "b", "c"].map(|digit| digit.repeat(40));
        let listing = format!(
            "{other}\trefs/heads/refs/tags/v1\n{tag}\trefs/tags/v1\n{commit}\trefs/tags/v1^{{}}\n"
        );
        let find = |names: &[&str]| find(listing.as_bytes(), names).map(String::from);
        assert_eq!(find(&["refs/tags/v1^{}", "refs/tags/v1"]), Some(commit));
        assert_eq!(find(&["refs/heads/v1^{}", "refs/tags/v1"]), Some(tag));
        assert_eq!(find(&["refs/heads/v1"]), None);
    }
}
