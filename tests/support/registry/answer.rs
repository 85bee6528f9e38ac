//! Answers as the distribution specification forms them.

use axum::body::Body;
use axum::http::{HeaderName, Response, StatusCode};
use serde_json::Value;

/// An answer with headers and a body.
pub(super) fn answer(
    status: u16,
    headers: &[(&'static str, &str)],
    body: impl Into<Body>,
) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        let name = HeaderName::from_static(name);
        response.headers_mut().append(name, value.parse().unwrap());
    }
    response
}

pub(super) fn json(status: u16, body: &Value) -> Response<Body> {
    answer(
        status,
        &[("content-type", "application/json")],
        body.to_string(),
    )
}

/// An error with a code of the specification.
pub(super) fn error(status: u16, code: &str) -> Response<Body> {
    error_about(status, code, &Value::Null)
}

/// An error with a code and what it is about.
pub(super) fn error_about(status: u16, code: &str, detail: &Value) -> Response<Body> {
    let message = code.to_lowercase().replace('_', " ");
    json(
        status,
        &serde_json::json!({"errors": [{"code": code, "message": message, "detail": detail}]}),
    )
}
