//! Manifests, tags and referrers.

use rstest::rstest;
use serde_json::{Value, json};
use transship::oci::Digest;

use super::{IMAGE, Server, codes, header, read_json, send};
use crate::support::any_registry::Kind;

#[rstest]
#[tokio::test]
async fn a_manifest_is_found_by_tag_and_digest_and_keeps_its_bytes(
    #[values(Kind::Fake, Kind::DockerRegistry, Kind::Distribution, Kind::Ocimem)] kind: Kind,
) {
    let server = Server::start(kind).await;
    let digest = server.push_image("v1").await;
    for name in ["v1", digest.as_str()] {
        let url = server.url(&format!("app/manifests/{name}"));
        let head = send(server.http.head(url.clone()).header("accept", IMAGE)).await;
        assert_eq!(
            (
                head.status().as_u16(),
                header(&head, "docker-content-digest"),
                header(&head, "content-type")
            ),
            (200, digest.as_str(), IMAGE)
        );
        let get = send(server.http.get(url).header("accept", IMAGE)).await;
        assert_eq!(Digest::sha256(&get.bytes().await.unwrap()), digest);
    }
    let absent = send(server.http.get(server.url("app/manifests/v2"))).await;
    assert_eq!(absent.status(), 404);
    assert_eq!(codes(absent).await, ["MANIFEST_UNKNOWN"]);
}

#[rstest]
#[tokio::test]
async fn a_manifest_without_its_parts_or_with_another_digest_is_refused(
    #[values(Kind::Fake, Kind::DockerRegistry, Kind::Distribution, Kind::Ocimem)] kind: Kind,
) {
    let server = Server::start(kind).await;
    let absent = Digest::sha256(b"absent");
    let mut incomplete = server.image("layer").await;
    incomplete["layers"][0]["digest"] = json!(absent);
    let refused = server.put_manifest("app/manifests/v1", &incomplete).await;
    // This code tells it apart from other refusals; ocimem does not know what to say.
    let said = match kind {
        Kind::Ocimem => (500, "UNKNOWN"),
        Kind::Fake | Kind::DockerRegistry | Kind::Distribution => (400, "MANIFEST_BLOB_UNKNOWN"),
    };
    let status = refused.status().as_u16();
    assert_eq!((status, &*codes(refused).await.concat()), said);
    let whole = server.image("layer").await;
    let name = format!("app/manifests/{absent}");
    let refused = server.put_manifest(&name, &whole).await;
    assert_eq!(refused.status(), 400);
    assert_eq!(codes(refused).await, ["DIGEST_INVALID"]);
    let tags = send(server.http.get(server.url("app/tags/list"))).await;
    let tags = read_json(tags).await;
    assert!(tags["tags"].as_array().is_none_or(Vec::is_empty), "{tags}");
}

#[rstest]
#[tokio::test]
async fn case_59_and_60_tags_come_in_pages(
    #[values(Kind::Fake, Kind::DockerRegistry, Kind::Distribution, Kind::Ocimem)] kind: Kind,
) {
    let server = Server::start(kind).await;
    for tag in ["c", "a", "b"] {
        server.push_image(tag).await;
    }
    let mut next = Some(server.url("app/tags/list?n=2"));
    let mut pages = Vec::new();
    while let Some(page) = next {
        let response = send(server.http.get(page)).await;
        let link = header(&response, "link");
        next = link.split_once(['<', '>']).map(|_| {
            let target = link.trim_start_matches('<').split('>').next().unwrap();
            response.url().join(target).unwrap()
        });
        pages.push(read_json(response).await["tags"].clone());
    }
    if kind == Kind::DockerRegistry {
        // Case 60: it has neither pages nor an order.
        let mut all = pages[0].as_array().unwrap().clone();
        all.sort_by_key(ToString::to_string);
        assert_eq!(
            (pages.len(), all),
            (1, vec![json!("a"), json!("b"), json!("c")])
        );
        return;
    }
    assert_eq!(pages, [json!(["a", "b"]), json!(["c"])]);
    let after = send(server.http.get(server.url("app/tags/list?n=5&last=a"))).await;
    assert_eq!(read_json(after).await["tags"], json!(["b", "c"]));
}

/// A signature of `subject`.
async fn signature(server: &Server, subject: &Digest) -> Value {
    let empty = server.push_blob("app", b"{}").await;
    let empty =
        json!({"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2});
    json!({
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "artifactType": "application/example.signature",
        "config": empty,
        "layers": [empty],
        "subject": {"mediaType": IMAGE, "digest": subject, "size": 1},
    })
}

/// The two of CNCF Distribution have no referrers API (case 55).
#[rstest]
#[case(Kind::Fake, true)]
#[case(Kind::Ocimem, true)]
#[case(Kind::DockerRegistry, false)]
#[case(Kind::Distribution, false)]
#[tokio::test]
async fn case_55_referrers_are_listed_and_filtered(#[case] kind: Kind, #[case] has_api: bool) {
    let server = Server::start(kind).await;
    let subject = server.push_image("v1").await;
    let document = signature(&server, &subject).await;
    let digest = Digest::sha256(document.to_string().as_bytes());
    let name = format!("app/manifests/{digest}");
    let response = server.put_manifest(&name, &document).await;
    assert_eq!(response.status(), 201);
    let noted = header(&response, "oci-subject");
    assert_eq!(noted, if has_api { subject.as_str() } else { "" });
    for (filter, count) in [
        ("", 1),
        ("?artifactType=application/example.signature", 1),
        ("?artifactType=application/other", 0),
    ] {
        let list = server.url(&format!("app/referrers/{subject}{filter}"));
        let response = send(server.http.get(list)).await;
        if !has_api {
            assert_eq!(response.status(), 404);
            continue;
        }
        let applied = header(&response, "oci-filters-applied") == "artifactType";
        assert_eq!(applied, !filter.is_empty());
        let index = read_json(response).await;
        // Ocimem writes null for none.
        let listed = index["manifests"].as_array().map_or(0, Vec::len);
        assert_eq!(listed, count);
    }
}

#[rstest]
#[tokio::test]
async fn manifests_are_deleted(
    #[values(Kind::Fake, Kind::DockerRegistry, Kind::Distribution, Kind::Ocimem)] kind: Kind,
) {
    let server = Server::start(kind).await;
    let digest = server.push_image("v1").await;
    let url = server.url(&format!("app/manifests/{digest}"));
    assert_eq!(send(server.http.delete(url.clone())).await.status(), 202);
    assert_eq!(send(server.http.head(url.clone())).await.status(), 404);
    assert_eq!(send(server.http.delete(url)).await.status(), 404);
}

/// docker-registry 2.8 wants a digest; the others take the tag away.
#[rstest]
#[case(Kind::Fake, 202)]
#[case(Kind::Distribution, 202)]
#[case(Kind::Ocimem, 202)]
#[case(Kind::DockerRegistry, 400)]
#[tokio::test]
async fn a_tag_is_deleted_and_the_image_stays(#[case] kind: Kind, #[case] status: u16) {
    let server = Server::start(kind).await;
    let digest = server.push_image("v1").await;
    let tag = server.url("app/manifests/v1");
    assert_eq!(send(server.http.delete(tag)).await.status(), status);
    let image = server.url(&format!("app/manifests/{digest}"));
    let image = send(server.http.head(image).header("accept", IMAGE)).await;
    assert_eq!(image.status(), 200);
}
