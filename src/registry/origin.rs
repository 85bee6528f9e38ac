//! The one place that judges URLs which a registry chose: token realm, redirect, upload location.
//!
//! Pure: it knows URLs and nothing of credentials or connections. The callers attach credentials
//! only to what is allowed here. The reasons for the rules are in docs/adr/0007-registry-origins.md.

use url::{Host, Url};

/// Most redirects that one request follows.
pub(super) const MAX_REDIRECTS: usize = 5;

/// Why a URL is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// Not a URL, or of another kind than `http` and `https`.
    #[error("it is not an http or https URL")]
    NotHttp,
    /// A user name or password in the URL.
    #[error("it contains user information")]
    UserInformation,
    /// Plain HTTP, where the one who points there was reached with TLS.
    #[error(
        "it leads from https to http; if the registry is behind a proxy, the proxy must pass on X-Forwarded-Proto"
    )]
    Downgrade,
    /// Another scheme, host or port, where only the registry's own is allowed.
    #[error("it leads to another origin than the registry's")]
    OtherOrigin,
    /// A token service outside the registry's domain.
    #[error("it is outside the registry's domain, so no credentials are sent there")]
    OtherDomain,
    /// More hops than [`MAX_REDIRECTS`].
    #[error("more than {MAX_REDIRECTS} redirects")]
    TooManyHops,
    /// A redirect by a token service.
    #[error("it redirects instead of answering")]
    Redirected,
    /// A redirect of a request that writes.
    #[error("requests that write are not redirected")]
    Write,
}

/// Whether two URLs have the same scheme, host and port (RFC 6454 §4).
pub(super) fn same_origin(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
}

/// Resolves a `Location` that redirects a reading request against the URL that answered.
///
/// Any origin is allowed, because blob content lives in object stores; the caller leaves the
/// credentials behind on the first change of origin.
pub(super) fn redirect_target(answering: &Url, location: &str) -> Result<Url, Refusal> {
    resolve(answering, location)
}

/// Resolves the `Location` of an upload session against the URL that answered.
///
/// Only the registry's own origin is allowed: the token and the content go there.
pub(super) fn upload_location(answering: &Url, location: &str) -> Result<Url, Refusal> {
    let url = resolve(answering, location)?;
    if same_origin(answering, &url) {
        Ok(url)
    } else {
        Err(Refusal::OtherOrigin)
    }
}

/// The URL of the token service, when the registry at `registry` may name it.
///
/// With credentials it must be the registry's own host or a host in the same domain (see
/// [`same_domain`]), on the registry's port or the scheme's default port. Without credentials there
/// is nothing to steal and any host may issue the token.
pub(super) fn token_realm(
    registry: &Url,
    realm: &str,
    with_credentials: bool,
) -> Result<Url, Refusal> {
    // A realm is absolute by definition, so it is not resolved against anything.
    let url = checked(registry, Url::parse(realm).map_err(|_| Refusal::NotHttp)?)?;
    if !with_credentials || same_origin(registry, &url) {
        return Ok(url);
    }
    let port_is_trusted =
        url.port().is_none() || url.port_or_known_default() == registry.port_or_known_default();
    if port_is_trusted && same_domain(registry, &url) {
        Ok(url)
    } else {
        Err(Refusal::OtherDomain)
    }
}

fn resolve(base: &Url, location: &str) -> Result<Url, Refusal> {
    checked(base, base.join(location).map_err(|_| Refusal::NotHttp)?)
}

/// What holds for every URL that a registry names, whatever it is for.
fn checked(from: &Url, to: Url) -> Result<Url, Refusal> {
    match (from.scheme(), to.scheme()) {
        (_, "https") | ("http", "http") => {}
        (_, "http") => return Err(Refusal::Downgrade),
        _ => return Err(Refusal::NotHttp),
    }
    if to.username().is_empty() && to.password().is_none() {
        Ok(to)
    } else {
        Err(Refusal::UserInformation)
    }
}

/// Whether two hosts are the same, or names under one registrable domain.
///
/// Without a public suffix list, the shared part of the two names must have two labels; below a
/// two-letter (country) top-level domain a second label of up to three letters is taken for a
/// public suffix like `co.uk`, and three shared labels are needed. Addresses share nothing.
fn same_domain(one: &Url, other: &Url) -> bool {
    let (one, other) = match (one.host(), other.host()) {
        (Some(Host::Domain(one)), Some(Host::Domain(other))) if one != other => (one, other),
        (one, other) => return one.is_some() && one == other,
    };
    let mut shared = one
        .rsplit('.')
        .zip(other.rsplit('.'))
        .take_while(|(left, right)| left == right)
        .map(|(label, _)| label);
    let (Some(top), Some(second)) = (shared.next(), shared.next()) else {
        return false;
    };
    let labels = 2 + shared.count();
    let looks_like_public_suffix = top.len() == 2 && second.len() <= 3;
    !top.is_empty() && labels >= if looks_like_public_suffix { 3 } else { 2 }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[rstest]
    #[case::same_origin("https://r.example.test", "https://r.example.test/token")]
    #[case::sibling("https://r.example.test", "https://auth.example.test/token")]
    #[case::parent("https://registry.gitlab.com", "https://gitlab.com/jwt/auth")]
    #[case::default_port("https://git.example.test:5050", "https://git.example.test/jwt/auth")]
    #[case::docker_hub("https://registry-1.docker.io", "https://auth.docker.io/token")]
    #[case::country_domain("https://r.team.co.uk", "https://auth.team.co.uk/token")]
    #[case::address("https://10.0.0.5:5050", "https://10.0.0.5/token")]
    #[case::upper_case("https://r.example.test", "HTTPS://R.EXAMPLE.TEST/token")]
    #[case::plain_registry("http://r.example.test", "http://r.example.test/token")]
    fn credentials_go_to_realms_of_the_same_domain(#[case] registry: &str, #[case] realm: &str) {
        assert_eq!(
            token_realm(&url(registry), realm, true),
            Ok(url(realm)),
            "{realm}"
        );
    }

    #[rstest]
    #[case::other_host("https://r.example.test", "https://evil.test/token")]
    #[case::suffix_without_dot("https://r.example.test", "https://evilexample.test/token")]
    #[case::name_as_prefix("https://r.example.test", "https://r.example.test.evil.test/token")]
    #[case::public_suffix("https://team.co.uk", "https://evil.co.uk/token")]
    #[case::top_level("https://r.test", "https://evil.test/token")]
    #[case::one_label("https://registry", "https://auth/token")]
    #[case::other_port("https://r.example.test", "https://r.example.test:8443/token")]
    #[case::trailing_dot("https://r.example.test", "https://r.example.test./token")]
    #[case::look_alike("https://r.example.test", "https://r.exаmple.test/token")]
    #[case::mapped_address("https://10.0.0.5", "https://[::ffff:10.0.0.5]/token")]
    #[case::other_address("https://10.0.0.5", "https://10.0.0.6/token")]
    #[case::decimal_address("https://10.0.0.5", "https://167772166/token")]
    #[case::octal_address("https://10.0.0.5", "https://012.0.0.6/token")]
    #[case::loopback("https://r.example.test", "https://127.0.0.1/token")]
    #[case::metadata("https://r.example.test", "https://169.254.169.254/token")]
    fn credentials_do_not_leave_the_domain(#[case] registry: &str, #[case] realm: &str) {
        assert_eq!(
            token_realm(&url(registry), realm, true),
            Err(Refusal::OtherDomain)
        );
        assert!(
            token_realm(&url(registry), realm, false).is_ok(),
            "anonymous"
        );
    }

    #[rstest]
    #[case::downgrade(
        "https://r.example.test",
        "http://r.example.test/token",
        Refusal::Downgrade
    )]
    #[case::user(
        "https://r.example.test",
        "https://me@r.example.test/",
        Refusal::UserInformation
    )]
    #[case::password(
        "https://r.example.test",
        "https://:pw@r.example.test/",
        Refusal::UserInformation
    )]
    #[case::relative("https://r.example.test", "/token", Refusal::NotHttp)]
    #[case::protocol_relative("https://r.example.test", "//r.example.test/", Refusal::NotHttp)]
    #[case::empty("https://r.example.test", "", Refusal::NotHttp)]
    #[case::file("https://r.example.test", "file:///etc/passwd", Refusal::NotHttp)]
    #[case::no_host("https://r.example.test", "https://", Refusal::NotHttp)]
    fn some_realms_are_refused_even_without_credentials(
        #[case] registry: &str,
        #[case] realm: &str,
        #[case] refusal: Refusal,
    ) {
        for with_credentials in [true, false] {
            assert_eq!(
                token_realm(&url(registry), realm, with_credentials),
                Err(refusal)
            );
        }
    }

    #[rstest]
    #[case::relative("/v2/x?_state=a%2Fb", "https://r.test/v2/x?_state=a%2Fb")]
    #[case::sibling("session-1", "https://r.test/v2/a/blobs/uploads/session-1")]
    #[case::absolute("https://r.test/v2/x", "https://r.test/v2/x")]
    #[case::default_port("https://r.test:443/v2/x", "https://r.test/v2/x")]
    #[case::without_scheme("//r.test/v2/x", "https://r.test/v2/x")]
    fn cases_3_and_4_upload_locations_are_resolved(#[case] location: &str, #[case] expected: &str) {
        let answering = url("https://r.test/v2/a/blobs/uploads/");
        assert_eq!(upload_location(&answering, location), Ok(url(expected)));
    }

    #[rstest]
    #[case("https://evil.test/v2/x", Refusal::OtherOrigin)]
    #[case("//evil.test/v2/x", Refusal::OtherOrigin)]
    #[case("https://r.test:8443/v2/x", Refusal::OtherOrigin)]
    #[case("https://r.test.evil.test/v2/x", Refusal::OtherOrigin)]
    #[case("http://r.test/v2/x", Refusal::Downgrade)]
    #[case("https://r.test@evil.test/v2/x", Refusal::UserInformation)]
    #[case("ftp://r.test/v2/x", Refusal::NotHttp)]
    #[case("https://[::zz]/", Refusal::NotHttp)]
    fn upload_locations_stay_at_the_registry(#[case] location: &str, #[case] refusal: Refusal) {
        let answering = url("https://r.test/v2/a/blobs/uploads/");
        assert_eq!(upload_location(&answering, location), Err(refusal));
    }

    #[test]
    fn case_8_redirects_may_change_origin_but_not_lose_tls() {
        let answering = url("https://r.test/v2/a/blobs/sha256:00");
        assert!(redirect_target(&answering, "https://store.test/b?sig=1").is_ok());
        assert_eq!(
            redirect_target(&answering, "http://store.test/b"),
            Err(Refusal::Downgrade)
        );
        assert!(redirect_target(&url("http://r.test/v2/"), "https://r.test/v2/").is_ok());
    }
}
