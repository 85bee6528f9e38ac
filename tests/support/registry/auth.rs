//! Who may do what: Basic and token authentication, with the token service.

use std::collections::HashMap;
use std::fmt::Write as _;

use axum::body::Body;
use axum::http::{Method, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::answer::{error, json};
use super::log::Recorded;
use super::route::{Endpoint, Route, action};

/// What the registry asks of its clients.
#[derive(Clone, Default)]
pub(super) enum Guard {
    #[default]
    Open,
    Basic(String),
    Token(String),
}

/// The lifetime that tokens say they have, in seconds.
const LIFETIME: f64 = 300.0;

/// Tokens and what they allow: (repository, actions).
pub(super) struct Tokens {
    /// What each token says of its lifetime, in seconds. It is accepted until it is expired.
    pub(super) lifetime: f64,
    issued: HashMap<String, Vec<(String, String)>>,
    count: u64,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            lifetime: LIFETIME,
            issued: HashMap::new(),
            count: 0,
        }
    }
}

/// The value of an `Authorization: Basic` header.
pub(super) fn basic(username: &str, password: &str) -> String {
    format!(
        "Basic {}",
        STANDARD.encode(format!("{username}:{password}"))
    )
}

impl Tokens {
    /// No token that was issued so far is accepted any more.
    pub(super) fn expire(&mut self) {
        self.issued.clear();
    }

    /// The answer to those who may not go on.
    pub(super) fn refuse(
        &self,
        guard: &Guard,
        realm: &str,
        route: &Route<'_>,
        request: &Recorded,
    ) -> Option<Response<Body>> {
        let given = request.header("authorization");
        let challenge = match guard {
            Guard::Open => return None,
            Guard::Basic(_) | Guard::Token(_) if route.endpoint == Endpoint::Token => return None,
            Guard::Basic(expected) if given == Some(expected) => return None,
            Guard::Basic(_) => "Basic realm=\"registry\"".to_owned(),
            Guard::Token(_) => {
                let token = given.and_then(|value| value.strip_prefix("Bearer "));
                let scopes = token.and_then(|token| self.issued.get(token));
                let action = action(&request.method);
                if scopes.is_some_and(|scopes| {
                    route.endpoint == Endpoint::Ping || allows(scopes, route.repository, action)
                }) {
                    return None;
                }
                let mut challenge = format!("Bearer realm=\"{realm}\",service=\"registry\"");
                if route.endpoint != Endpoint::Ping {
                    let repository = route.repository;
                    let actions = if action == "push" {
                        "pull,push"
                    } else {
                        action
                    };
                    write!(challenge, ",scope=\"repository:{repository}:{actions}\"").unwrap();
                }
                if scopes.is_some() {
                    challenge.push_str(",error=\"insufficient_scope\"");
                }
                challenge
            }
        };
        let mut response = error(401, "UNAUTHORIZED");
        let challenge = challenge.parse().unwrap();
        response.headers_mut().insert("www-authenticate", challenge);
        Some(response)
    }

    /// The token service: a token for the scopes in the query.
    pub(super) fn issue(&mut self, guard: &Guard, request: &Recorded) -> Response<Body> {
        let Guard::Token(expected) = guard else {
            return error(404, "NOT_FOUND");
        };
        if request.method != Method::GET {
            return error(404, "NOT_FOUND");
        }
        if request.header("authorization") != Some(expected) {
            return error(401, "UNAUTHORIZED");
        }
        self.count += 1;
        let token = format!("token-{}", self.count);
        let scopes = request.query_values("scope");
        let scopes = scopes.iter().flat_map(|scopes| scopes.split(' '));
        let scopes = scopes.filter_map(|scope| {
            let (repository, actions) = scope.strip_prefix("repository:")?.rsplit_once(':')?;
            Some((repository.to_owned(), actions.to_owned()))
        });
        self.issued.insert(token.clone(), scopes.collect());
        json(
            200,
            &serde_json::json!({"token": token, "expires_in": self.lifetime}),
        )
    }

    /// Whether a request may pull from another repository, as a mount does.
    pub(super) fn may_pull(&self, guard: &Guard, repository: &str, request: &Recorded) -> bool {
        if !matches!(guard, Guard::Token(_)) {
            return true;
        }
        let token = request
            .header("authorization")
            .and_then(|value| value.strip_prefix("Bearer "));
        token
            .and_then(|token| self.issued.get(token))
            .is_some_and(|scopes| allows(scopes, repository, "pull"))
    }
}

fn allows(scopes: &[(String, String)], repository: &str, action: &str) -> bool {
    scopes.iter().any(|(name, actions)| {
        name == repository
            && actions
                .split(',')
                .any(|allowed| allowed == action || allowed == "*")
    })
}
