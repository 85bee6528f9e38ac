//! With whose rights, and trusting which certificates, a registry is reached.
//!
//! Values here come from Secrets. Nothing in this file prints one, and nothing here knows where a
//! Secret is kept.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretSlice, SecretString};

/// How to reach one registry.
#[derive(Clone, Debug, Default)]
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

/// A user name and password, or whatever a registry takes in their place.
#[derive(Clone)]
pub struct Credentials {
    /// The user name; some clouds put a fixed word or a token here.
    pub username: String,
    /// The password or token.
    pub password: SecretString,
}

/// Only to find out whether a client with the same credentials exists.
impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        self.username == other.username
            && self.password.expose_secret() == other.password.expose_secret()
    }
}

impl Eq for Credentials {}

/// Both fields can hold a token, so neither is shown.
impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credentials([redacted])")
    }
}

/// Certificates beside those of the system.
#[derive(Clone, Debug, Default)]
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

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ClientIdentity([redacted])")
    }
}
