//! Reads what a registry answered: status, error code, digest.
//!
//! It decides what an answer means, and knows nothing of how it was obtained.

use jiff::Timestamp;
use reqwest::header::{AsHeaderName, CONTENT_ENCODING, HeaderMap};
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;

use super::error::Problem;
use super::http::Transport;
use super::patience::{retry_after, wait_after_too_many};
use crate::oci::Digest;

/// The digest of the content, in every answer about content (distribution-spec, "Pulling manifests").
pub(super) const DOCKER_CONTENT_DIGEST: &str = "docker-content-digest";

const MAX_ERROR_BYTES: usize = 8 * 1024;

/// The codes of the distribution specification ("Error Codes") and two that registries share.
/// Only these are ever shown.
const ERROR_CODES: [&str; 16] = [
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DENIED",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "TAG_INVALID",
    "TOOMANYREQUESTS",
    "UNAUTHORIZED",
    "UNAVAILABLE",
    "UNSUPPORTED",
];

/// A body of the error form that the specification defines.
#[derive(Deserialize)]
struct ErrorBody {
    errors: Vec<ErrorEntry>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    code: String,
}

/// Passes a successful answer on and turns any other into its problem.
pub(super) async fn expect_success(
    transport: &Transport,
    method: &Method,
    response: Response,
) -> Result<Response, Problem> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let retry_after = retry_after(response.headers(), Timestamp::now());
    Err(match status {
        StatusCode::TOO_MANY_REQUESTS => Problem::RateLimited {
            retry_after: wait_after_too_many(response.headers(), Timestamp::now()),
        },
        StatusCode::REQUEST_TIMEOUT
        | StatusCode::INTERNAL_SERVER_ERROR
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Problem::Unavailable {
            status,
            retry_after,
        },
        _ => {
            let code = if *method == Method::HEAD {
                None
            } else {
                error_code(transport, response).await
            };
            match status {
                StatusCode::FORBIDDEN => Problem::Denied { code },
                StatusCode::NOT_FOUND => Problem::NotFound { code },
                StatusCode::METHOD_NOT_ALLOWED => Problem::ReadOnly { code },
                _ => Problem::Rejected { status, code },
            }
        }
    })
}

/// The first known code in an error body; whatever else is there stays unread.
async fn error_code(transport: &Transport, response: Response) -> Option<&'static str> {
    let body = transport
        .read_body(response, MAX_ERROR_BYTES, "an error")
        .await
        .ok()?;
    known_code(&body)
}

fn known_code(body: &[u8]) -> Option<&'static str> {
    let body: ErrorBody = serde_json::from_slice(body).ok()?;
    body.errors.iter().find_map(|entry| {
        ERROR_CODES
            .into_iter()
            .find(|known| entry.code.eq_ignore_ascii_case(known))
    })
}

/// Refuses an answer whose body is not the content itself: nothing of that kind was asked for, and
/// what it is made of would be taken for something else.
pub(super) fn expect_uncompressed(response: &Response) -> Result<(), Problem> {
    match text(response.headers(), CONTENT_ENCODING) {
        None | Some("identity") => Ok(()),
        Some(_) => Err(Problem::Malformed(
            "the content is compressed for transport although that was not asked for",
        )),
    }
}

/// The digest that the answer claims, when it claims one that we can compute.
pub(super) fn content_digest(headers: &HeaderMap) -> Option<Digest> {
    text(headers, DOCKER_CONTENT_DIGEST)?.parse().ok()
}

/// Refuses an answer that claims another digest of the same algorithm than `expected`.
pub(super) fn check_content_digest(headers: &HeaderMap, expected: &Digest) -> Result<(), Problem> {
    match content_digest(headers) {
        Some(actual) if actual != *expected && same_algorithm(&actual, expected) => {
            Err(Problem::Digest {
                expected: expected.clone(),
                actual,
            })
        }
        _ => Ok(()),
    }
}

fn same_algorithm(one: &Digest, other: &Digest) -> bool {
    let algorithm = |digest: &Digest| digest.as_str().split(':').next().map(str::to_owned);
    algorithm(one) == algorithm(other)
}

/// A header as text, when it is there and is text.
pub(super) fn text(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(
        br#"{"errors":[{"code":"NAME_UNKNOWN","message":"canary"}]}"#,
        Some("NAME_UNKNOWN")
    )]
    #[case(br#"{"errors":[{"code":"canary"},{"code":"denied"}]}"#, Some("DENIED"))]
    #[case(br#"{"errors":[{"code":"canary"}]}"#, None)]
    #[case(br#"{"errors":[]}"#, None)]
    #[case(b"<html>canary</html>", None)]
    #[case(b"", None)]
    fn only_known_codes_leave_an_error_body(#[case] body: &[u8], #[case] code: Option<&str>) {
        assert_eq!(known_code(body), code);
    }
}
