//! Every call to the API server goes through here: none may take longer than a bound.

use std::future::Future;
use std::time::Duration;

/// The longest that one call may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// A call to the API server that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// No answer in time.
    #[error("the API server did not answer within {} s", REQUEST_TIMEOUT.as_secs())]
    Timeout,
    /// The client or the API server reported an error.
    #[error(transparent)]
    Kubernetes(#[from] kube::Error),
}

impl RequestError {
    /// What the API server says when it understood the request and refuses to carry it out:
    /// admission, quota or missing rights.
    pub(crate) fn refusal(&self) -> Option<&str> {
        match self {
            Self::Kubernetes(kube::Error::Api(status))
                if matches!(status.code, 400 | 403 | 422) =>
            {
                Some(&status.message)
            }
            Self::Kubernetes(_) | Self::Timeout => None,
        }
    }

    /// Whether there is no such object.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Kubernetes(kube::Error::Api(status)) if status.code == 404)
    }

    /// Whether the object to create exists already, or the one to replace is another version.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Kubernetes(kube::Error::Api(status)) if status.code == 409)
    }
}

/// Awaits a call, but not for ever.
pub(crate) async fn request<T>(
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, RequestError> {
    match tokio::time::timeout(REQUEST_TIMEOUT, call).await {
        Ok(answer) => Ok(answer?),
        Err(_elapsed) => Err(RequestError::Timeout),
    }
}
