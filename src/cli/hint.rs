//! What somebody at a command line can do about a failure. The sentences of the library know neither
//! options nor commands, because the operator says them too.

use anyhow::anyhow;

use super::output::sentence;
use crate::copy::{Failure, Side};
use crate::reason::Reason;
use crate::{registry, transport};

/// How many places a command has options for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Places {
    /// One: `--creds-file`.
    One,
    /// A source and a destination: `--src-creds-file` and `--dest-creds-file`.
    Two,
}

/// The error of a command, with what to do next where there is something to say.
pub(super) fn add(error: anyhow::Error, places: Places) -> anyhow::Error {
    let step = error
        .chain()
        .find_map(reason)
        .and_then(|reason| next_step(reason, places));
    match step {
        Some(step) => anyhow!("{}; {step}", sentence(&error)),
        None => error,
    }
}

fn reason(cause: &(dyn std::error::Error + 'static)) -> Option<Reason> {
    if let Some(failure) = cause.downcast_ref::<Failure>() {
        return Some(failure.reason);
    }
    if let Some(error) = cause.downcast_ref::<transport::Error>() {
        return Some(Failure::of_place(Side::Source, error).reason);
    }
    let error = cause.downcast_ref::<registry::Error>()?;
    Some(Failure::of_registry(Side::Source, error).reason)
}

/// What to do about a failure with this reason.
pub(super) const fn next_step(reason: Reason, places: Places) -> Option<&'static str> {
    Some(match (reason, places) {
        (Reason::AuthenticationFailed, Places::One) => {
            "log in with `docker login`, `podman login` or `skopeo login`, or name a file with \
             --creds-file"
        }
        (Reason::AuthenticationFailed, Places::Two) => {
            "log in with `docker login`, `podman login` or `skopeo login`, or name a file with \
             --src-creds-file or --dest-creds-file"
        }
        (Reason::TlsUntrusted, Places::One) => {
            "name its authority with --ca-file, or do without verification with --insecure"
        }
        (Reason::TlsUntrusted, Places::Two) => {
            "name its authority with --src-ca-file or --dest-ca-file, or do without verification \
             with --src-insecure or --dest-insecure"
        }
        (Reason::SourceNotFound, _) => "see with `transship list-tags` what there is",
        (Reason::RateLimited, _) => "wait, or log in: many registries then allow more",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_added_to_the_sentence_of_an_error_that_has_one() {
        let failure = |reason| Failure {
            reason,
            message: "it failed".to_owned(),
        };
        let refused = add(failure(Reason::AuthenticationFailed).into(), Places::Two);
        let text = refused.to_string();
        assert!(text.starts_with("it failed; log in"), "{text}");
        assert!(text.ends_with("--dest-creds-file"), "{text}");
        let other = add(failure(Reason::RegistryError).into(), Places::One);
        assert_eq!(other.to_string(), "it failed");
    }
}
