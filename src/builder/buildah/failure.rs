//! The words of Buildah. It ends with the exit code of the step that failed, 125 for its own errors, and 1 when it
//! could not begin.

use crate::builder::failure::{
    Failure, FailureReason, after, error_line, number_before, quoted, registry_reason, unknown,
};

/// Why Buildah failed.
pub(super) fn failure(exit_code: i32, log: &str) -> Failure {
    // It goes on then, until a step needs a second user.
    if let Some(line) = log
        .lines()
        .find(|line| line.contains("Falling back to single mapping"))
    {
        return Failure::new(FailureReason::UserNamespaceRefused, line);
    }
    let message = error_line(log, &["Error: ", "error "]);
    let refused = log.lines().rev().find(|line| {
        line.contains("Error during unshare(")
            || (line.contains("error writing") && line.contains("_map"))
    });
    if let (Some(line), 1) = (refused, exit_code) {
        return Failure::new(FailureReason::UserNamespaceRefused, line);
    }
    let Some(message) = message else {
        return unknown(exit_code, None);
    };
    if let Some((instruction, rest)) = quoted(message, "building at STEP ") {
        let rest = rest.trim_start_matches([':', ' ']);
        return Failure::new(step_reason(rest), message).at(Some(&instruction), None);
    }
    match reason(message) {
        Some(reason) => {
            Failure::new(reason, message).at(None, number_before(message, "parse error on line "))
        }
        None => unknown(exit_code, Some(message)),
    }
}

/// Of an error that belongs to an instruction.
fn step_reason(message: &str) -> FailureReason {
    let says = |words: &str| message.contains(words);
    if message.starts_with("exit status ") || says("while running runtime: exit status ") {
        return FailureReason::RunCommandFailed;
    }
    if says("Unknown instruction") {
        return FailureReason::DockerfileInvalid;
    }
    if says("checking on sources under") || says("copier: stat:") || says("no items matching glob")
    {
        return FailureReason::CopySourceNotFound;
    }
    if says("secret required") || says("no secret with id") {
        return FailureReason::SecretNotFound;
    }
    if says("no space left on device") {
        return FailureReason::DiskFull;
    }
    if says("setting supplemental groups") || says("setting capabilities for process") {
        return FailureReason::CapabilityMissing;
    }
    FailureReason::InstructionFailed
}

/// Of an error that belongs to none.
fn reason(message: &str) -> Option<FailureReason> {
    let says = |words: &str| message.contains(words);
    if says("was not found in the provided Dockerfile") {
        return Some(FailureReason::TargetNotFound);
    }
    if says("parse error") || says("Unknown instruction") || says("parsing main Dockerfile") {
        return Some(FailureReason::DockerfileInvalid);
    }
    let missing =
        after(message, "stat ").is_some_and(|path| path.ends_with(": no such file or directory"));
    if missing && (message.starts_with("stat ") || says("reading build instructions")) {
        return Some(FailureReason::DockerfileNotFound);
    }
    if says("no space left on device") {
        return Some(FailureReason::DiskFull);
    }
    let pulls = [
        "creating build container",
        "initializing source",
        "pinging container registry",
        "copying system image",
    ];
    if pulls.iter().any(|words| says(words)) {
        return registry_reason(message);
    }
    None
}
