//! The words of Buildah. It ends with the exit code of the step that failed, 125 for its own errors, and 1 when it
//! could not begin.

use crate::builder::failure::{
    Failure, after, error_line, number_before, registry_reason, unknown,
};
use crate::reason::Reason;

/// Why Buildah failed.
pub(super) fn failure(exit_code: i32, log: &str) -> Failure {
    // It goes on then, until a step needs a second user.
    if let Some(line) = log
        .lines()
        .find(|line| line.contains("Falling back to single mapping"))
    {
        return Failure::new(Reason::UserNamespaceRefused, line);
    }
    let message = error_line(log, &["Error: ", "error "]).map(without_dump);
    let refused = log.lines().rev().find(|line| {
        line.contains("Error during unshare(")
            || (line.contains("error writing") && line.contains("_map"))
    });
    if let (Some(line), 1) = (refused, exit_code) {
        return Failure::new(Reason::UserNamespaceRefused, line);
    }
    let Some(message) = message else {
        return unknown(exit_code, None);
    };
    if let Some((instruction, rest)) = step(message) {
        return Failure::new(step_reason(rest), message).at(Some(instruction), None);
    }
    match reason(message) {
        Some(reason) => {
            Failure::new(reason, message).at(None, number_before(message, "parse error on line "))
        }
        None => unknown(exit_code, Some(message)),
    }
}

/// Without the structure that Buildah shows of an instruction that it does not know.
fn without_dump(message: &str) -> &str {
    let (message, _) = message
        .split_once(" &imagebuilder.")
        .unwrap_or((message, ""));
    message
}

/// The instruction between quotation marks and what went wrong with it. Marks within it are not escaped; the exit code
/// of a command is the only error that never has one.
fn step(message: &str) -> Option<(&str, &str)> {
    let step = after(message, "building at STEP \"")?;
    match step.rsplit_once("\": ") {
        Some((instruction, rest)) if is_exit_code(rest) => Some((instruction, rest)),
        _ => step.split_once("\": "),
    }
}

fn is_exit_code(message: &str) -> bool {
    message.starts_with("exit status ") || message.contains("while running runtime: exit status ")
}

/// Of an error that belongs to an instruction.
fn step_reason(message: &str) -> Reason {
    let says = |words: &str| message.contains(words);
    if is_exit_code(message) {
        return Reason::RunCommandFailed;
    }
    if says("Unknown instruction") {
        return Reason::DockerfileInvalid;
    }
    if says("checking on sources under") || says("copier: stat:") || says("no items matching glob")
    {
        return Reason::CopySourceNotFound;
    }
    if says("secret required") || says("no secret with id") {
        return Reason::SecretNotFound;
    }
    if says("no space left on device") {
        return Reason::DiskFull;
    }
    if says("setting supplemental groups") || says("setting capabilities for process") {
        return Reason::CapabilityMissing;
    }
    Reason::InstructionFailed
}

/// Of an error that belongs to none.
fn reason(message: &str) -> Option<Reason> {
    let says = |words: &str| message.contains(words);
    if says("was not found in the provided Dockerfile") {
        return Some(Reason::TargetNotFound);
    }
    if says("parse error") || says("Unknown instruction") || says("parsing main Dockerfile") {
        return Some(Reason::DockerfileInvalid);
    }
    let missing =
        after(message, "stat ").is_some_and(|path| path.ends_with(": no such file or directory"));
    if missing && (message.starts_with("stat ") || says("reading build instructions")) {
        return Some(Reason::DockerfileNotFound);
    }
    if says("no space left on device") {
        return Some(Reason::DiskFull);
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
