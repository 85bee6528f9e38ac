//! A registry that sends something else than what was asked for.

use axum::body::Body;
use axum::http::Response;
use bytes::Bytes;
use rstest::rstest;
use transship::oci::{Digest, MediaType};
use transship::registry::{ErrorKind, ManifestReference};

use crate::support::scripted_server::{ScriptedServer, broken_off, chunked, respond};
use crate::support::{blob, client, plain, pull_blob, repository};

const LAYER: &[u8] = b"the content of a layer";

#[derive(Clone, Copy, Debug)]
enum Lie {
    FlippedBit,
    TooLong,
    TooShort,
    TooLongWithoutLength,
    TooShortWithoutLength,
    BrokenOff,
    BrokenOffWithoutLength,
    Compressed,
}

fn tell(lie: Lie) -> Response<Body> {
    match lie {
        Lie::FlippedBit => respond(200, &[], &b"the content of a laxer"[..]),
        Lie::TooLong => respond(200, &[], &b"the content of a layer and more"[..]),
        Lie::TooShort => respond(200, &[], &b"the content"[..]),
        Lie::TooLongWithoutLength => respond(200, &[], chunked(b"the content of a layer and more")),
        Lie::TooShortWithoutLength => respond(200, &[], chunked(b"the content")),
        Lie::BrokenOff => respond(200, &[("content-length", "22")], broken_off(b"the content")),
        Lie::BrokenOffWithoutLength => respond(200, &[], broken_off(b"the content")),
        Lie::Compressed => respond(200, &[("content-encoding", "gzip")], LAYER),
    }
}

#[rstest]
#[case(Lie::FlippedBit, ErrorKind::Protocol, "has the digest")]
#[case(Lie::TooLong, ErrorKind::Protocol, "has 31 bytes, expected 22")]
#[case(Lie::TooShort, ErrorKind::Protocol, "has 11 bytes, expected 22")]
#[case(
    Lie::TooLongWithoutLength,
    ErrorKind::Protocol,
    "has at least 31 bytes, expected 22"
)]
#[case(
    Lie::TooShortWithoutLength,
    ErrorKind::Protocol,
    "has 11 bytes, expected 22"
)]
#[case(Lie::BrokenOff, ErrorKind::Unreachable, "broke off")]
#[case(Lie::BrokenOffWithoutLength, ErrorKind::Unreachable, "broke off")]
#[case(Lie::Compressed, ErrorKind::Protocol, "compressed for transport")]
#[tokio::test]
async fn cases_37_and_38_a_false_blob_ends_in_an_error(
    #[case] lie: Lie,
    #[case] kind: ErrorKind,
    #[case] words: &str,
) {
    let server = ScriptedServer::start(move |_| tell(lie)).await;
    let client = client(server.host(), &plain());
    let error = pull_blob(&client, &repository("app"), &blob(LAYER))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

#[tokio::test]
async fn case_38_no_compression_is_asked_for() {
    let server = ScriptedServer::start(|_| respond(200, &[], LAYER)).await;
    let client = client(server.host(), &plain());
    pull_blob(&client, &repository("app"), &blob(LAYER))
        .await
        .unwrap();
    let asked = server.asked();
    assert_eq!(asked[0].header("accept-encoding"), Some("identity"));
    assert!(
        asked[0]
            .header("user-agent")
            .unwrap()
            .starts_with("transship/")
    );
}

const MANIFEST: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

/// Serves [`MANIFEST`] with `headers` to GET and an empty answer with them to HEAD.
async fn manifest_server(headers: Vec<(&'static str, String)>) -> ScriptedServer {
    ScriptedServer::start(move |_| {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        respond(200, &headers, MANIFEST)
    })
    .await
}

#[tokio::test]
async fn case_2_a_pinned_digest_wins_over_what_the_registry_claims() {
    let other = Digest::sha256(b"another manifest");
    let server = manifest_server(vec![
        ("content-type", MediaType::OCI_INDEX.to_owned()),
        ("docker-content-digest", other.to_string()),
    ])
    .await;
    let client = client(server.host(), &plain());
    let app = repository("app");
    let error = client
        .get_manifest(&app, ManifestReference::Digest(&other))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.to_string().contains("has the digest"), "{error}");

    let tag = "v1".parse().unwrap();
    let error = client
        .get_manifest(&app, ManifestReference::Tag(&tag))
        .await
        .unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::Protocol,
        "claimed and computed differ"
    );

    let pinned = Digest::sha256(b"a third manifest");
    let error = client
        .head_manifest(&app, ManifestReference::Digest(&pinned))
        .await
        .unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::Protocol,
        "asked and claimed differ"
    );
}

#[rstest]
#[case::nothing_claimed(vec![])]
#[case::says_nothing(vec![("content-type", "application/json; charset=utf-8".to_owned())])]
#[case::unknown_algorithm(vec![("docker-content-digest", "md5:d41d8cd98f00b204e9800998ecf8427e".to_owned())])]
#[case::nonsense(vec![("docker-content-digest", "../../etc".to_owned()), ("content-type", "text/plain".to_owned())])]
#[case::other_algorithm(vec![("docker-content-digest", format!("sha512:{}", "0".repeat(128)))])]
#[tokio::test]
async fn cases_1_and_65_what_a_registry_leaves_out_is_found_in_the_content(
    #[case] headers: Vec<(&'static str, String)>,
) {
    let server = manifest_server(headers).await;
    let client = client(server.host(), &plain());
    let app = repository("app");
    let tag = "v1".parse().unwrap();
    let expected = Digest::sha256(MANIFEST.as_bytes());
    let head = client
        .head_manifest(&app, ManifestReference::Tag(&tag))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(head.digest, expected);
    assert_eq!(head.media_type.as_str(), MediaType::OCI_INDEX);
    assert_eq!(head.size, Some(MANIFEST.len() as u64));
    let manifest = client
        .get_manifest(&app, ManifestReference::Digest(&expected))
        .await
        .unwrap();
    assert_eq!(manifest.bytes(), MANIFEST);
}

#[tokio::test]
async fn case_64_a_manifest_has_a_largest_size() {
    let server = ScriptedServer::start(|asked| match asked.path() {
        "/v2/app/manifests/endless" => {
            let piece = Bytes::from(vec![b' '; 64 * 1024]);
            let endless = futures::stream::repeat(Ok::<_, std::convert::Infallible>(piece));
            respond(200, &[], Body::from_stream(endless))
        }
        _ => respond(200, &[], vec![b' '; 4 * 1024 * 1024 + 1]),
    })
    .await;
    let client = client(server.host(), &plain());
    for tag in ["announced", "endless"] {
        let tag = tag.parse().unwrap();
        let error = client
            .get_manifest(&repository("app"), ManifestReference::Tag(&tag))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(error.to_string().contains("4194304"), "{error}");
    }
}

#[tokio::test]
async fn a_manifest_without_a_type_is_refused() {
    let server = ScriptedServer::start(|_| respond(200, &[], "canary")).await;
    let client = client(server.host(), &plain());
    let tag = "v1".parse().unwrap();
    let error = client
        .get_manifest(&repository("app"), ManifestReference::Tag(&tag))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(!format!("{error:?} {error}").contains("canary"));
}

#[tokio::test]
async fn a_registry_that_stores_another_manifest_is_caught() {
    let other = Digest::sha256(b"other").to_string();
    let server =
        ScriptedServer::start(move |_| respond(201, &[("docker-content-digest", &other)], ""))
            .await;
    let client = client(server.host(), &plain());
    let manifest = crate::support::image(&blob(b"{}"), &blob(LAYER));
    let tag = "v1".parse().unwrap();
    let error = client
        .put_manifest(&repository("app"), &manifest, Some(&tag))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    let asked = server.asked();
    assert_eq!(asked[0].body.as_ref(), Some(manifest.bytes()));
    assert_eq!(
        asked[0].header("content-type"),
        Some(MediaType::OCI_MANIFEST)
    );
    assert_eq!(asked[0].target, "/v2/app/manifests/v1");
}

#[rstest]
#[case::case_77_child_not_visible(400, "MANIFEST_BLOB_UNKNOWN", ErrorKind::ContentMissing, true)]
#[case::case_63_conflict(409, "DENIED", ErrorKind::TagImmutable, false)]
#[case::case_63_precondition(412, "PRECONDITION", ErrorKind::TagImmutable, false)]
#[case::case_63_tag_invalid(400, "TAG_INVALID", ErrorKind::TagImmutable, false)]
#[case::other_refusal(400, "MANIFEST_INVALID", ErrorKind::Protocol, false)]
#[tokio::test]
async fn why_a_manifest_was_not_taken(
    #[case] code: u16,
    #[case] name: &'static str,
    #[case] kind: ErrorKind,
    #[case] transient: bool,
) {
    let server = ScriptedServer::start(move |asked| match asked.path() {
        "/v2/" => respond(200, &[], ""),
        _ => respond(code, &[], format!(r#"{{"errors":[{{"code":"{name}"}}]}}"#)),
    })
    .await;
    let client = client(server.host(), &plain());
    let manifest = crate::support::image(&blob(b"{}"), &blob(LAYER));
    let tag = "v1".parse().unwrap();
    let error = client
        .put_manifest(&repository("app"), &manifest, Some(&tag))
        .await
        .unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (kind, transient));
}
