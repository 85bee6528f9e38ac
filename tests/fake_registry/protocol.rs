//! The protocol beyond what the client of this project uses today, request by request.

use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use transship::oci::Digest;

use super::http;
use crate::support::registry::Registry;

const SHA512_OF_NOTHING: &str = "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
                                 47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e";

fn url(registry: &Registry, rest: &str) -> String {
    format!("http://{}/v2/{rest}", registry.host())
}

async fn send(request: RequestBuilder) -> Response {
    request.send().await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
}

#[tokio::test]
async fn chunks_arrive_in_order_or_not_at_all() {
    let registry = Registry::start().await;
    let http = http();
    let opened = send(http.post(url(&registry, "app/blobs/uploads/"))).await;
    assert_eq!(opened.status(), 202);
    let session = format!("http://{}{}", registry.host(), header(&opened, "location"));

    let patch = |range: &'static str| http.patch(&session).header("content-range", range);
    let first = send(patch("0-3").body("0123")).await;
    assert_eq!(
        (first.status().as_u16(), header(&first, "range")),
        (202, "0-3")
    );
    let gap = send(patch("6-7").body("67")).await;
    assert_eq!(gap.status(), 416);
    let state = send(http.get(&session)).await;
    assert_eq!(
        (state.status().as_u16(), header(&state, "range")),
        (204, "0-3")
    );

    let digest = Digest::sha256(b"012345");
    let end = send(http.put(format!("{session}?digest={digest}")).body("45")).await;
    assert_eq!(end.status(), 201);
    assert_eq!(header(&end, "docker-content-digest"), digest.as_str());
    assert_eq!(&registry.blob("app", &digest).unwrap()[..], b"012345");
    assert_eq!(send(http.get(&session)).await.status(), 404);
}

#[tokio::test]
async fn a_session_is_given_up() {
    let registry = Registry::start().await;
    let http = http();
    let opened = send(http.post(url(&registry, "app/blobs/uploads/"))).await;
    let session = format!("http://{}{}", registry.host(), header(&opened, "location"));
    assert_eq!(send(http.delete(&session)).await.status(), 204);
    assert_eq!(registry.open_sessions("app"), 0);
}

#[rstest::rstest]
#[case::from_another("mount", "&from=base", 201)]
#[case::from_itself("base", "&from=base", 201)]
#[case::from_nowhere("mount", "&from=none", 202)]
#[case::without_from_absent("mount", "", 202)]
#[case::without_from_present("base", "", 201)]
#[tokio::test]
async fn a_blob_is_mounted(#[case] to: &str, #[case] from: &str, #[case] status: u16) {
    let registry = Registry::start().await;
    let digest = registry.seed_blob("base", b"content");
    let target = url(
        &registry,
        &format!("{to}/blobs/uploads/?mount={digest}{from}"),
    );
    assert_eq!(send(http().post(target)).await.status(), status);
    assert_eq!(registry.blob(to, &digest).is_some(), status == 201);
    assert_eq!(registry.open_sessions(to), usize::from(status == 202));
}

#[rstest::rstest]
#[case("bytes=2-3", 206, "bytes 2-3/6")]
#[case("bytes=4-", 206, "bytes 4-5/6")]
#[case("bytes=-2", 206, "bytes 4-5/6")]
#[case("bytes=0-99", 206, "bytes 0-5/6")]
#[case("bytes=6-", 416, "bytes */6")]
#[tokio::test]
async fn a_range_is_answered(#[case] range: &str, #[case] status: u16, #[case] content: &str) {
    let registry = Registry::start().await;
    let digest = registry.seed_blob("app", b"012345");
    let blob = http().get(url(&registry, &format!("app/blobs/{digest}")));
    let response = send(blob.header("range", range)).await;
    assert_eq!(response.status(), status);
    assert_eq!(header(&response, "content-range"), content);
}

#[tokio::test]
async fn sha512_is_a_digest_too() {
    let registry = Registry::start().await;
    let target = format!("app/blobs/uploads/?digest={SHA512_OF_NOTHING}");
    assert_eq!(
        send(http().post(url(&registry, &target))).await.status(),
        201
    );
    assert!(
        registry
            .blob("app", &SHA512_OF_NOTHING.parse().unwrap())
            .is_some()
    );
}

#[tokio::test]
async fn tags_come_in_pages() {
    let registry = Registry::start().await;
    for tag in ["a", "b", "c"] {
        registry.seed_image("app", Some(tag), &[]);
    }
    let mut next = Some(url(&registry, "app/tags/list?n=2"));
    let mut pages = Vec::new();
    while let Some(page) = next {
        let response = send(http().get(page)).await;
        let link = response
            .headers()
            .get("link")
            .map(|link| link.to_str().unwrap());
        let path = link.and_then(|link| link.strip_prefix('<')?.strip_suffix(">; rel=\"next\""));
        next = path.map(|path| format!("http://{}{path}", registry.host()));
        let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        pages.push(body["tags"].clone());
    }
    assert_eq!(pages, [json!(["a", "b"]), json!(["c"])]);
}

/// A signature of `subject`.
fn signature(registry: &Registry, subject: &Digest) -> Value {
    let empty = registry.seed_blob("app", b"{}");
    let empty =
        json!({"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2});
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/example.signature",
        "config": empty,
        "layers": [empty],
        "subject": {
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": subject, "size": 1,
        },
    })
}

#[tokio::test]
async fn referrers_are_listed_and_filtered() {
    let registry = Registry::start().await;
    let subject = registry.seed_image("app", Some("v1"), &[]);
    let document = signature(&registry, &subject).to_string();
    let digest = Digest::sha256(document.as_bytes());
    let put = http().put(url(&registry, &format!("app/manifests/{digest}")));
    let put = put.header("content-type", "application/vnd.oci.image.manifest.v1+json");
    let response = send(put.body(document)).await;
    assert_eq!(response.status(), 201);
    assert_eq!(header(&response, "oci-subject"), subject.as_str());

    for (filter, applied, count) in [
        ("", false, 1),
        ("?artifactType=application/example.signature", true, 1),
        ("?artifactType=application/other", true, 0),
    ] {
        let list = http().get(url(&registry, &format!("app/referrers/{subject}{filter}")));
        let response = send(list).await;
        let named = response.headers().contains_key("oci-filters-applied");
        let index: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        assert_eq!(
            (named, index["manifests"].as_array().unwrap().len()),
            (applied, count)
        );
    }
}

#[tokio::test]
async fn an_incomplete_manifest_is_refused_unless_the_registry_is_permissive() {
    for (registry, status) in [
        (Registry::start().await, 400),
        (Registry::builder().permissive().start().await, 201),
    ] {
        let absent = json!({"mediaType": "a/b", "digest": Digest::sha256(b"absent"), "size": 6});
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let document = json!({
            "schemaVersion": 2, "mediaType": media_type, "config": absent, "layers": [],
        });
        let put = http().put(url(&registry, "app/manifests/v1"));
        let put = put
            .header("content-type", media_type)
            .body(document.to_string());
        let response = send(put).await;
        assert_eq!(response.status(), status);
        assert_eq!(registry.manifest("app", "v1").is_some(), status == 201);
        let text = response.text().await.unwrap();
        assert_eq!(text.contains("MANIFEST_BLOB_UNKNOWN"), status == 400);
    }
}

#[tokio::test]
async fn manifests_and_tags_are_deleted() {
    let registry = Registry::start().await;
    let digest = registry.seed_image("app", Some("v1"), &[]);
    let delete = |what: &str| http().delete(url(&registry, &format!("app/manifests/{what}")));
    assert_eq!(send(delete("v1")).await.status(), 202);
    assert!(registry.manifest("app", digest.as_str()).is_some());
    assert_eq!(send(delete(digest.as_str())).await.status(), 202);
    assert!(registry.manifest("app", digest.as_str()).is_none());
    assert_eq!(send(delete(digest.as_str())).await.status(), 404);
}
