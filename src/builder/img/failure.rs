//! The words of img.

use crate::builder::failure::{
    Failure, after, error_line, number_before, registry_reason, unknown,
};
use crate::reason::Reason;

/// The exit code of the script when there is no user namespace.
const EXIT_NO_NAMESPACE: i32 = 70;

/// Why img failed.
pub(super) fn failure(exit_code: i32, log: &str) -> Failure {
    let refused = log.lines().rev().find(|line| {
        ["newuidmap", "newgidmap", "unshare", "user namespace"]
            .iter()
            .any(|word| line.contains(word))
    });
    if let (Some(line), EXIT_NO_NAMESPACE) = (refused, exit_code) {
        return Failure::new(Reason::UserNamespaceRefused, line);
    }
    let Some(message) = error_line(log, &["Error: ", "error: "]) else {
        return match refused {
            Some(line) => Failure::new(Reason::UserNamespaceRefused, line),
            None => unknown(exit_code, None),
        };
    };
    let message = after(message, "failed to solve: ").unwrap_or(message);
    let message = after(message, "code = Unknown desc = ").unwrap_or(message);
    let line = number_before(message, "parse error line ")
        .or_else(|| number_before(message, "parse error on line "));
    match reason(message) {
        Some(reason) => Failure::new(reason, message).at(command(message), line),
        None => unknown(exit_code, Some(message)),
    }
}

fn reason(message: &str) -> Option<Reason> {
    let says = |words: &str| message.contains(words);
    if says("executor failed running") {
        return Some(Reason::RunCommandFailed);
    }
    if says("no space left on device") {
        return Some(Reason::DiskFull);
    }
    if says("parse error") || says("unknown instruction") {
        return Some(Reason::DockerfileInvalid);
    }
    if says("target stage") && says("could not be found") {
        return Some(Reason::TargetNotFound);
    }
    if says("failed to read dockerfile") || says("failed to resolve dockerfile") {
        return Some(Reason::DockerfileNotFound);
    }
    if says("failed to compute cache key") || says("failed to walk") {
        return Some(Reason::CopySourceNotFound);
    }
    registry_reason(message)
}

/// The command between brackets in `executor failed running [/bin/sh -c exit 42]: …`.
fn command(message: &str) -> Option<&str> {
    let rest = after(message, "executor failed running [")?;
    rest.rsplit_once("]: ").map(|(command, _)| command)
}
