//! The words of BuildKit.

use super::EXIT_NOT_STARTED;
use crate::builder::failure::{Failure, error_line, number_before, registry_reason, unknown};
use crate::reason::Reason;

/// Why BuildKit failed.
pub(super) fn failure(exit_code: i32, log: &str) -> Failure {
    if exit_code == EXIT_NOT_STARTED {
        return not_started(log);
    }
    let Some(message) = error_line(log, &["error: "]) else {
        return unknown(exit_code, None);
    };
    let message = message.strip_prefix("failed to solve: ").unwrap_or(message);
    let (block, instruction) = failing_instruction(log).unzip();
    let line = number_before(message, "parse error on line ").or(block);
    let reason = reason(message, log, instruction.is_some());
    match reason {
        Some(reason) => Failure::new(reason, message).at(instruction, line),
        None => unknown(exit_code, Some(message)),
    }
}

fn reason(message: &str, log: &str, at_instruction: bool) -> Option<Reason> {
    let says = |words: &str| message.contains(words);
    if says("did not complete successfully: exit code") {
        // The node forbids what starting a container takes, which looks like the step's own failure.
        let refused =
            log.contains("runc run failed: ") || log.contains("error during container init");
        return Some(if refused {
            Reason::NestedContainerRefused
        } else {
            Reason::RunCommandFailed
        });
    }
    if says("failed to read dockerfile") {
        return Some(if says("operation not permitted") {
            Reason::CapabilityMissing
        } else {
            Reason::DockerfileNotFound
        });
    }
    if says("no space left on device") {
        return Some(Reason::DiskFull);
    }
    if says("target stage") && says("could not be found") {
        return Some(Reason::TargetNotFound);
    }
    if says("parse error on line") {
        return Some(Reason::DockerfileInvalid);
    }
    if says("failed to calculate checksum of ref") {
        return Some(Reason::CopySourceNotFound);
    }
    if message.starts_with("secret ") && says("not found") {
        return Some(Reason::SecretNotFound);
    }
    if says("failed to resolve source metadata") {
        return Some(registry_reason(message).unwrap_or(Reason::RegistryError));
    }
    // Layers of base images are fetched later than what says which.
    if says("http://") || says("https://") {
        return registry_reason(message);
    }
    at_instruction.then_some(Reason::InstructionFailed)
}

/// The line and the text of the instruction that BuildKit shows:
///
/// ```text
/// Dockerfile:3
/// --------------------
///    1 |     FROM base
///    2 |
///    3 | >>> RUN exit 42
/// --------------------
/// ```
fn failing_instruction(log: &str) -> Option<(u32, &str)> {
    log.lines().rev().find_map(|line| {
        let (number, text) = line.split_once('|')?;
        let text = text.trim_start().strip_prefix(">>>")?;
        Some((number.trim().parse().ok()?, text.trim()))
    })
}

/// Why the daemon does not run; the script shows its log.
fn not_started(log: &str) -> Failure {
    let refused = log.lines().rev().find(|line| {
        let words = [
            "uid_map",
            "newuidmap",
            "newgidmap",
            "unshare",
            "user namespace",
            "fork/exec /proc/self/exe",
        ];
        words.iter().any(|word| line.contains(word))
    });
    match refused {
        Some(line) => Failure::new(Reason::UserNamespaceRefused, line),
        None => Failure::new(
            Reason::BuilderNotStarted,
            log.lines().next_back().unwrap_or("buildkitd did not start"),
        ),
    }
}
