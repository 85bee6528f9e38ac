//! With whose rights, and trusting which certificates, a registry is reached.
//!
//! Values here come from Secrets. Nothing in this file prints one, and nothing here knows where a
//! Secret is kept.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretSlice, SecretString};

/// How to reach one registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Who asks; [`None`] asks anonymously.
    pub credentials: Option<Credentials>,
    /// What is trusted and shown in the TLS handshake, beside the system's certificates.
    pub certificates: Certificates,
    /// Whether the registry may be unverified TLS or plain HTTP.
    ///
    /// It holds for the registry's own origin only, never for its token service or for a host that
    /// it redirects to.
    pub insecure: bool,
}

/// What a registry takes as a proof of who asks.
#[derive(Clone)]
pub enum Credentials {
    /// A user name and password, for the token service or for the registry itself.
    Password {
        /// The user name; some clouds put a fixed word or a token here.
        username: String,
        /// The password or token.
        password: SecretString,
    },
    /// What Docker calls an identity token: a refresh token of OAuth 2 (RFC 6749 §6), for the token
    /// service alone.
    IdentityToken {
        /// The user name that goes with it where the token service takes no `POST`.
        username: String,
        /// The token.
        token: SecretString,
    },
    /// What Docker calls a registry token: a bearer token for the registry, used as it is.
    RegistryToken(SecretString),
}

/// Only to find out whether a client with the same credentials exists.
impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        let same =
            |one: &SecretString, two: &SecretString| one.expose_secret() == two.expose_secret();
        match (self, other) {
            (
                Self::Password { username, password },
                Self::Password {
                    username: other,
                    password: others,
                },
            )
            | (
                Self::IdentityToken {
                    username,
                    token: password,
                },
                Self::IdentityToken {
                    username: other,
                    token: others,
                },
            ) => username == other && same(password, others),
            (Self::RegistryToken(one), Self::RegistryToken(two)) => same(one, two),
            _ => false,
        }
    }
}

impl Eq for Credentials {}

/// User names can be tokens, so no field is shown.
impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credentials([redacted])")
    }
}

/// Certificates beside those of the system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificates {
    /// PEM certificates of further authorities. They are trusted for this registry, its token
    /// service and the hosts it redirects to.
    pub ca_bundle: Option<Vec<u8>>,
    /// The certificate that the client shows, to the registry's own origin only.
    pub identity: Option<ClientIdentity>,
}

/// A client certificate with its key.
#[derive(Clone)]
pub struct ClientIdentity {
    /// PEM certificate chain, leaf first.
    pub certificate: Vec<u8>,
    /// PEM private key: PKCS #8, PKCS #1 or SEC 1, not encrypted.
    pub key: SecretSlice<u8>,
}

/// Only to find out whether a client with the same identity exists.
impl PartialEq for ClientIdentity {
    fn eq(&self, other: &Self) -> bool {
        self.certificate == other.certificate
            && self.key.expose_secret() == other.key.expose_secret()
    }
}

impl Eq for ClientIdentity {}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ClientIdentity([redacted])")
    }
}
