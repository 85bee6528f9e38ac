//! The words of Kaniko. It ends with the exit code of the step that failed, and with 1 for all else.

use crate::builder::failure::{
    Failure, error_line, number_before, quoted, registry_reason, unknown,
};
use crate::reason::Reason;

/// Why Kaniko failed.
pub(super) fn failure(exit_code: i32, log: &str) -> Failure {
    let message = error_line(
        log,
        &[
            "error building image: ",
            "Error: ",
            "error checking push permissions",
        ],
    );
    let Some(message) = message else {
        return unknown(exit_code, None);
    };
    let message = message
        .strip_prefix("error building stage: ")
        .unwrap_or(message);
    let instruction = last_instruction(log);
    let line = number_before(message, "parse error on line ");
    match reason(message) {
        Some(reason) => {
            let at_step = matches!(
                reason,
                Reason::RunCommandFailed | Reason::CopySourceNotFound | Reason::CapabilityMissing
            );
            Failure::new(reason, message).at(instruction.as_deref().filter(|_| at_step), line)
        }
        None => unknown(exit_code, Some(message)),
    }
}

fn reason(message: &str) -> Option<Reason> {
    let says = |words: &str| message.contains(words);
    if says("waiting for process to exit: ") {
        return Some(Reason::RunCommandFailed);
    }
    if says("operation not permitted") || says("mkdir /bin: permission denied") {
        return Some(Reason::CapabilityMissing);
    }
    if says("starting command: ") {
        return Some(Reason::RunCommandFailed);
    }
    if says("is not a valid target build stage") {
        return Some(Reason::TargetNotFound);
    }
    if says("error resolving dockerfile path") {
        return Some(Reason::DockerfileNotFound);
    }
    if says("parsing dockerfile: ") {
        return Some(Reason::DockerfileInvalid);
    }
    if says("failed to get files used from context") || says("failed to get fileinfo for") {
        return Some(Reason::CopySourceNotFound);
    }
    if says("no space left on device") {
        return Some(Reason::DiskFull);
    }
    if says("http://") || says("https://") {
        return Some(registry_reason(message).unwrap_or(Reason::RegistryError));
    }
    says("failed to execute command: ").then_some(Reason::InstructionFailed)
}

/// The instruction that was begun last. Each is announced in a line of `time="…" level=info msg="RUN …"`.
fn last_instruction(log: &str) -> Option<String> {
    const INSTRUCTIONS: [&str; 9] = [
        "RUN", "COPY", "ADD", "WORKDIR", "USER", "VOLUME", "ENV", "LABEL", "ARG",
    ];
    log.lines().rev().find_map(|line| {
        let announced = announced(line)?;
        let word = announced.split_whitespace().next()?;
        INSTRUCTIONS.contains(&word).then_some(announced)
    })
}

fn announced(line: &str) -> Option<String> {
    if let Some((message, _)) = quoted(line, "level=info msg=") {
        return Some(message);
    }
    // `INFO[0001] RUN …`
    let rest = line.strip_prefix("INFO[")?;
    rest.split_once("] ").map(|(_, message)| message.to_owned())
}
