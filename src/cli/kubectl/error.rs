//! Why the API server could not be used, in one sentence.
//!
//! The texts of the libraries are not printed where they can hold a secret: a kubeconfig that cannot be
//! read is quoted in its error, and so is all that a credential plugin printed.

use std::time::Duration;

use kube::client::AuthError;
use kube::config::KubeconfigError;
use kube::runtime::watcher;

use crate::cli::output::{harmless, said_once};

/// Why a command could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// There is no kubeconfig that can be used.
    #[error("cannot find out how to reach the API server: {0}; name a file with --kubeconfig")]
    Kubeconfig(String),
    /// The credentials of the kubeconfig cannot be had.
    #[error("no credentials for the API server: {0}")]
    Credentials(String),
    /// The API server did not answer.
    #[error(
        "the API server did not answer within {} s; --request-timeout allows more",
        .0.as_secs()
    )]
    Timeout(Duration),
    /// There is no such object.
    #[error("there is no {0}; see with `kubectl get imagemirrors,imagebuilds -A` which there are")]
    NotFound(String),
    /// The custom resources are not installed.
    #[error(
        "the API server does not know the resources of Transship: install the chart of Transship, or choose another cluster \
         with --context"
    )]
    NotInstalled,
    /// The API server understood the request and did not carry it out.
    #[error("the API server refused: {0}")]
    Refused(String),
    /// The request or its answer did not get through.
    #[error("cannot use the API server: {0}")]
    Failed(String),
    /// The object is not one that this version can read.
    #[error(
        "this version of Transship cannot read ImageMirror {name}: {cause}; use that of the operator"
    )]
    Unreadable { name: String, cause: String },
}

impl Error {
    /// Of a kubeconfig that was to be read. `error` is one of kube's two types for that.
    pub(super) fn of_config(error: &(dyn std::error::Error + 'static)) -> Self {
        let config = chain(error).find_map(|cause| cause.downcast_ref::<KubeconfigError>());
        Self::Kubeconfig(match config {
            Some(KubeconfigError::Parse(error)) => {
                let place = error.location().map_or_else(String::new, |location| {
                    format!(", line {} column {}", location.line(), location.column())
                });
                format!("the kubeconfig is not what it should be{place}")
            }
            Some(error) => harmless(&error.to_string()),
            None => "neither a kubeconfig nor a service account can be read".to_owned(),
        })
    }

    /// Of a request about `object`.
    pub(super) fn of_request(error: &kube::Error, object: &str) -> Self {
        if let kube::Error::Api(status) = error {
            // What the resource itself is unknown to has no details about an object.
            let names_object = status
                .details
                .as_ref()
                .is_some_and(|details| !details.name.is_empty());
            return match (status.code, names_object) {
                (404, true) => Self::NotFound(object.to_owned()),
                (404, false) => Self::NotInstalled,
                _ => Self::Refused(harmless(&status.message)),
            };
        }
        if let Some(error) = credentials_of(error) {
            return Self::Credentials(credentials(error));
        }
        if let kube::Error::SerdeError(_) = error {
            return Self::Failed("its answer is not what it should be".to_owned());
        }
        Self::Failed(harmless(&said_once(chain(error))))
    }

    /// Of a watch of `object`.
    pub(super) fn of_watch(error: &watcher::Error, object: &str) -> Self {
        match error {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => Self::of_request(error, object),
            watcher::Error::WatchError(status) => Self::Refused(harmless(&status.message)),
            watcher::Error::NoResourceVersion => {
                Self::Failed("its lists have no version".to_owned())
            }
        }
    }
}

/// Whether a watch that failed so may go on when it is tried again.
pub(super) fn may_pass(error: &watcher::Error) -> bool {
    let (watcher::Error::InitialListFailed(error)
    | watcher::Error::WatchStartFailed(error)
    | watcher::Error::WatchFailed(error)) = error
    else {
        // The version is too old: a new list has a newer one.
        return matches!(error, watcher::Error::WatchError(_));
    };
    match error {
        kube::Error::Api(status) => !matches!(status.code, 400 | 401 | 403 | 404 | 405 | 422),
        error => credentials_of(error).is_none(),
    }
}

fn chain<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

fn credentials_of(error: &kube::Error) -> Option<&AuthError> {
    chain(error).find_map(|cause| cause.downcast_ref())
}

/// What is known of credentials that cannot be had, without what a plugin printed or a file holds.
fn credentials(error: &AuthError) -> String {
    match error {
        // Its arguments and its environment are not shown either.
        AuthError::AuthExecRun { out, .. } => format!(
            "the command of the kubeconfig that gets them failed, {}; run it by hand",
            out.status
        ),
        AuthError::AuthExecStart(error) => {
            format!("the command of the kubeconfig cannot be started: {error}")
        }
        AuthError::ReadTokenFile(error, path) => {
            format!("cannot read {}: {error}", path.display())
        }
        AuthError::AuthExecParse(_) | AuthError::ExecPluginFailed => {
            "the command of the kubeconfig printed something else than credentials".to_owned()
        }
        _ => "what the kubeconfig says about the user cannot be used".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use kube::config::Kubeconfig;
    use kube::core::Status;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_kubeconfig_that_cannot_be_read_is_not_quoted() {
        for text in [
            "users: [{name: me, user: {token: [canary]}}]",
            "users: canary",
            "users:\n- name: me\n  user: {token: canary\nclusters: [",
        ] {
            let error = Kubeconfig::from_yaml(text).unwrap_err();
            let text = Error::of_config(&error).to_string();
            assert!(!text.contains("canary"), "{text}");
            assert!(text.contains("not what it should be"), "{text}");
        }
    }

    #[test]
    fn what_a_credential_plugin_printed_is_not_repeated() {
        use std::os::unix::process::ExitStatusExt as _;

        let out = Box::new(std::process::Output {
            status: std::process::ExitStatus::from_raw(256),
            stdout: b"canary".to_vec(),
            stderr: b"canary".to_vec(),
        });
        let cmd = "login --token canary".to_owned();
        let failed = AuthError::AuthExecRun { cmd, out };
        // As the middleware passes it on, and as the start of the client does.
        let errors = [
            kube::Error::Service(Box::new(failed)),
            kube::Error::Auth(AuthError::AuthExecParse(Box::new(
                serde_saphyr::from_str::<bool>("canary").unwrap_err(),
            ))),
        ];
        for error in errors {
            let text = Error::of_request(&error, "a/b").to_string();
            assert!(text.starts_with("no credentials"), "{text}");
            assert!(!text.contains("canary"), "{text}");
            assert!(!may_pass(&watcher::Error::WatchStartFailed(error)));
        }
    }

    #[test]
    fn a_mirror_that_is_not_there_is_told_from_a_cluster_without_mirrors() {
        let error = |status: serde_json::Value| {
            let status: Status = serde_json::from_value(status).unwrap();
            Error::of_request(&kube::Error::Api(Box::new(status)), "a/b").to_string()
        };
        let object = json!({
            "code": 404, "message": "imagemirrors.transship.dev \"b\" not found", "reason": "NotFound",
            "details": {"name": "b", "group": "transship.dev", "kind": "imagemirrors"},
        });
        assert!(error(object).starts_with("there is no a/b;"));
        let kind = json!({
            "code": 404, "message": "the server could not find the requested resource",
            "reason": "NotFound", "details": {},
        });
        assert!(error(kind).contains("install the chart"));
        let forbidden =
            json!({"code": 403, "message": "you may\u{1b}[2J not", "reason": "Forbidden"});
        assert_eq!(
            error(forbidden),
            "the API server refused: you may\u{fffd}[2J not"
        );
    }
}
