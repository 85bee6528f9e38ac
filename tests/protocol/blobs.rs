//! Blobs: uploads in one piece and in chunks, mounts, ranges, deletion.

use rstest::rstest;
use transship::oci::Digest;

use super::{Server, codes, completing, header, location, send};
use crate::support::any_registry::Kind;

const SHA512_OF_NOTHING: &str = "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
                                 47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e";

#[rstest]
#[tokio::test]
async fn a_blob_is_pushed_found_and_read(
    #[values(Kind::Fake, Kind::DockerRegistry, Kind::Distribution, Kind::Ocimem)] kind: Kind,
    #[values("", "content")] content: &str,
) {
    let server = Server::start(kind).await;
    let digest = Digest::sha256(content.as_bytes());
    let url = server.url(&format!("app/blobs/{digest}"));
    assert_eq!(send(server.http.head(url.clone())).await.status(), 404);
    let absent = send(server.http.get(url.clone())).await;
    assert_eq!(absent.status(), 404);
    let code = codes(absent).await;
    assert!(
        code == ["BLOB_UNKNOWN"] || code == ["NAME_UNKNOWN"],
        "{code:?}"
    );
    server.push_blob("app", content.as_bytes()).await;
    let head = send(server.http.head(url.clone())).await;
    let length = content.len().to_string();
    assert_eq!(
        (head.status().as_u16(), header(&head, "content-length")),
        (200, &*length)
    );
    let get = send(server.http.get(url)).await;
    assert_eq!(header(&get, "docker-content-digest"), digest.as_str());
    assert_eq!(get.text().await.unwrap(), content);
}

#[rstest]
#[tokio::test]
async fn chunks_arrive_in_order_or_not_at_all(
    #[values(Kind::Fake, Kind::DockerRegistry, Kind::Distribution, Kind::Ocimem)] kind: Kind,
) {
    let server = Server::start(kind).await;
    let session = server.open("app").await;
    let patch = |session, range: &'static str, body: &'static str| {
        let patch = server.http.patch(session).header("content-range", range);
        patch
            .header("content-type", "application/octet-stream")
            .body(body)
    };
    let first = send(patch(session, "0-3", "0123")).await;
    assert_eq!(
        (first.status().as_u16(), header(&first, "range")),
        (202, "0-3")
    );
    let session = location(&first);
    let state = send(server.http.get(session.clone())).await;
    assert_eq!(
        (state.status().as_u16(), header(&state, "range")),
        (204, "0-3")
    );
    let digest = Digest::sha256(b"012345");
    let end = server.http.put(completing(session.clone(), &digest));
    let end = send(end.header("content-range", "4-5").body("45")).await;
    assert_eq!(end.status(), 201);
    let blob = server.url(&format!("app/blobs/{digest}"));
    assert_eq!(
        send(server.http.get(blob)).await.text().await.unwrap(),
        "012345"
    );
    let after = send(server.http.get(session)).await.status();
    // ocimem still knows the session.
    assert_eq!(after, if kind == Kind::Ocimem { 204 } else { 404 });
}

/// docker-registry 2.8 does not look at `Content-Range` and adds the chunk to what it has.
#[rstest]
#[case(Kind::Fake, 416)]
#[case(Kind::Distribution, 416)]
#[case(Kind::Ocimem, 416)]
#[case(Kind::DockerRegistry, 202)]
#[tokio::test]
async fn case_23_a_chunk_after_a_gap_is_refused(#[case] kind: Kind, #[case] status: u16) {
    let server = Server::start(kind).await;
    let session = server.open("app").await;
    let patch = server.http.patch(session).header("content-range", "6-7");
    let patch = patch.header("content-type", "application/octet-stream");
    assert_eq!(send(patch.body("67")).await.status(), status);
}

#[rstest]
#[tokio::test]
async fn content_that_is_not_what_was_said_is_refused(
    #[values(Kind::Fake, Kind::DockerRegistry, Kind::Distribution, Kind::Ocimem)] kind: Kind,
) {
    let server = Server::start(kind).await;
    let digest = Digest::sha256(b"said");
    let url = completing(server.open("app").await, &digest);
    let refused = send(server.http.put(url).body("sent")).await;
    assert_eq!(refused.status(), 400);
    assert_eq!(codes(refused).await, ["DIGEST_INVALID"]);
    let blob = server.url(&format!("app/blobs/{digest}"));
    assert_eq!(send(server.http.head(blob)).await.status(), 404);
}

#[rstest]
#[tokio::test]
async fn a_session_is_given_up(
    #[values(Kind::Fake, Kind::DockerRegistry, Kind::Distribution)] kind: Kind,
) {
    let server = Server::start(kind).await;
    let session = server.open("app").await;
    assert_eq!(
        send(server.http.delete(session.clone())).await.status(),
        204
    );
    assert_eq!(send(server.http.get(session)).await.status(), 404);
}

#[rstest]
#[case::from_another("mount", "&from=base", 201)]
#[case::from_nowhere("mount", "&from=none", 202)]
#[tokio::test]
async fn a_blob_is_mounted(
    #[values(Kind::Fake, Kind::DockerRegistry, Kind::Distribution, Kind::Ocimem)] kind: Kind,
    #[case] to: &str,
    #[case] from: &str,
    #[case] status: u16,
) {
    let server = Server::start(kind).await;
    let digest = server.push_blob("base", b"content").await;
    let url = server.url(&format!("{to}/blobs/uploads/?mount={digest}{from}"));
    let answer = send(server.http.post(url)).await.status().as_u16();
    // Case 17: ocimem says that the source does not exist instead of opening a session.
    let ocimem_refuses = kind == Kind::Ocimem && status == 202;
    assert_eq!(answer, if ocimem_refuses { 404 } else { status });
    let blob = server.url(&format!("{to}/blobs/{digest}"));
    let found = send(server.http.head(blob)).await.status();
    assert_eq!(found, if status == 201 { 200 } else { 404 });
}

/// Case 18: by the specification a registry may find the blob in any of its repositories. None of
/// these does; the registry of the tests finds it in the same repository.
#[rstest]
#[tokio::test]
async fn case_18_a_mount_without_from_opens_a_session(
    #[values(Kind::Fake, Kind::DockerRegistry, Kind::Distribution, Kind::Ocimem)] kind: Kind,
) {
    let server = Server::start(kind).await;
    let digest = server.push_blob("base", b"content").await;
    let url = server.url(&format!("mount/blobs/uploads/?mount={digest}"));
    assert_eq!(send(server.http.post(url)).await.status(), 202);
}

#[rstest]
#[case("bytes=2-3", 206, "bytes 2-3/6", "23")]
#[case("bytes=4-", 206, "bytes 4-5/6", "45")]
#[case("bytes=0-99", 206, "bytes 0-5/6", "012345")]
#[tokio::test]
async fn a_range_is_answered(
    #[values(Kind::Fake, Kind::DockerRegistry, Kind::Distribution, Kind::Ocimem)] kind: Kind,
    #[case] range: &str,
    #[case] status: u16,
    #[case] named: &str,
    #[case] content: &str,
) {
    let server = Server::start(kind).await;
    let digest = server.push_blob("app", b"012345").await;
    let url = server.url(&format!("app/blobs/{digest}"));
    let response = send(server.http.get(url).header("range", range)).await;
    assert_eq!(
        (
            response.status().as_u16(),
            header(&response, "content-range")
        ),
        (status, named)
    );
    assert_eq!(response.text().await.unwrap(), content);
}

#[rstest]
// ocimem answers them with the whole (case 39) or with an error of its own.
#[case("bytes=-2", 206, "bytes 4-5/6")]
#[case("bytes=6-", 416, "bytes */6")]
#[tokio::test]
async fn a_range_at_the_end_is_answered(
    #[values(Kind::Fake, Kind::DockerRegistry, Kind::Distribution)] kind: Kind,
    #[case] range: &str,
    #[case] status: u16,
    #[case] named: &str,
) {
    let server = Server::start(kind).await;
    let digest = server.push_blob("app", b"012345").await;
    let url = server.url(&format!("app/blobs/{digest}"));
    let response = send(server.http.get(url).header("range", range)).await;
    assert_eq!(
        (
            response.status().as_u16(),
            header(&response, "content-range")
        ),
        (status, named)
    );
}

#[rstest]
#[case(Kind::Fake, 201)]
#[case(Kind::DockerRegistry, 201)]
#[case(Kind::Distribution, 201)]
// Ocimem knows sha256 only.
#[case(Kind::Ocimem, 400)]
#[tokio::test]
async fn case_58_sha512_is_a_digest_too(#[case] kind: Kind, #[case] status: u16) {
    let server = Server::start(kind).await;
    let digest = SHA512_OF_NOTHING.parse().unwrap();
    let url = completing(server.open("app").await, &digest);
    let put = server.http.put(url);
    let put = put.header("content-type", "application/octet-stream");
    assert_eq!(send(put.body("")).await.status(), status);
}

#[rstest]
#[tokio::test]
async fn a_blob_is_deleted(
    #[values(Kind::Fake, Kind::DockerRegistry, Kind::Distribution, Kind::Ocimem)] kind: Kind,
) {
    let server = Server::start(kind).await;
    let digest = server.push_blob("app", b"content").await;
    let url = server.url(&format!("app/blobs/{digest}"));
    assert_eq!(send(server.http.delete(url.clone())).await.status(), 202);
    assert_eq!(send(server.http.head(url)).await.status(), 404);
}
