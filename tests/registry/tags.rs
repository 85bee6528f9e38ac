//! Tag lists with many pages, none, or endless ones; and what is removed.

use rstest::rstest;
use transship::oci::Tag;
use transship::registry::{ErrorKind, ManifestReference, TagList};

use crate::support::docker_registry::DockerRegistry;
use crate::support::scripted_server::{ScriptedServer, respond, status};
use crate::support::{blob, client, image, plain, push_blob, repository};

fn names(list: &TagList) -> Vec<&str> {
    list.tags.iter().map(Tag::as_str).collect()
}

/// Three pages, of which the last has no link.
async fn pages(absolute: bool) -> ScriptedServer {
    ScriptedServer::start_knowing_itself(move |asked, host| {
        let (body, next) = match asked.query("page").first().map(String::as_str) {
            None => (
                r#"{"tags":["c","a"]}"#,
                Some("/v2/app/tags/list?page=a%2Fb"),
            ),
            Some("a/b") => (r#"{"tags":["b","a"]}"#, Some("/v2/app/tags/list?page=3")),
            _ => (r#"{"tags":null}"#, None),
        };
        match next {
            Some(next) => {
                let origin = if absolute {
                    format!("http://{host}")
                } else {
                    String::new()
                };
                respond(
                    200,
                    &[("link", &format!("<{origin}{next}>; rel=\"next\""))],
                    body,
                )
            }
            None => respond(200, &[], body),
        }
    })
    .await
}

#[rstest]
#[case::relative(false)]
#[case::absolute(true)]
#[tokio::test]
async fn case_59_and_60_pages_are_followed_as_they_are_named(#[case] absolute: bool) {
    let server = pages(absolute).await;
    let client = client(server.host(), &plain());
    let app = repository("app");
    let list = client.list_tags(&app, 100).await.unwrap().unwrap();
    assert_eq!(names(&list), ["a", "b", "c"]);
    assert!(!list.truncated);
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[0].target, "/v2/app/tags/list?n=100");
    assert_eq!(asked[1].target, "/v2/app/tags/list?page=a%2Fb");

    let list = client.list_tags(&app, 2).await.unwrap().unwrap();
    assert_eq!((names(&list), list.truncated), (vec!["a", "c"], true));
    assert_eq!(server.asked().len(), 4, "enough was there after one page");
}

#[tokio::test]
async fn case_59_pages_in_a_circle_end() {
    let link = [("link", "</v2/app/tags/list?page=1>; rel=next")];
    let server = ScriptedServer::start(move |_| respond(200, &link, r#"{"tags":[]}"#)).await;
    let client = client(server.host(), &plain());
    let error = client.list_tags(&repository("app"), 9).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn the_next_page_is_not_at_another_origin() {
    let sink = ScriptedServer::sink().await;
    let link = format!("<http://{}/v2/app/tags/list>; rel=next", sink.host());
    let server =
        ScriptedServer::start(move |_| respond(200, &[("link", &link)], r#"{"tags":[]}"#)).await;
    let client = client(server.host(), &plain());
    let error = client.list_tags(&repository("app"), 9).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(sink.asked().is_empty());
}

#[rstest]
#[case(403, ErrorKind::Denied)]
#[case(410, ErrorKind::Protocol)]
#[tokio::test]
async fn case_61_a_refused_list_is_an_error(#[case] code: u16, #[case] kind: ErrorKind) {
    let server = ScriptedServer::start(move |_| status(code)).await;
    let client = client(server.host(), &plain());
    let error = client.list_tags(&repository("app"), 9).await.unwrap_err();
    assert_eq!(error.kind(), kind);
}

#[tokio::test]
async fn a_real_registry_lists_and_removes() {
    let registry = DockerRegistry::plain();
    let client = client(registry.host(), &plain());
    let app = repository("app");
    assert_eq!(client.list_tags(&app, 10).await.unwrap(), None);
    push_blob(&client, &app, b"{}").await.unwrap();
    push_blob(&client, &app, b"layer").await.unwrap();
    let manifest = image(&blob(b"{}"), &blob(b"layer"));
    for tag in ["v2", "v1", "v3"] {
        let tag = tag.parse().unwrap();
        client
            .put_manifest(&app, &manifest, Some(&tag))
            .await
            .unwrap();
    }
    let list = client.list_tags(&app, 10).await.unwrap().unwrap();
    assert_eq!(
        (names(&list), list.truncated),
        (vec!["v1", "v2", "v3"], false)
    );
    let list = client.list_tags(&app, 2).await.unwrap().unwrap();
    assert_eq!((names(&list), list.truncated), (vec!["v1", "v2"], true));

    client
        .delete_manifest(&app, ManifestReference::Digest(manifest.digest()))
        .await
        .unwrap();
    let gone = client
        .head_manifest(&app, ManifestReference::Digest(manifest.digest()))
        .await;
    assert_eq!(gone.unwrap(), None);
    let error = client
        .delete_manifest(&app, ManifestReference::Digest(manifest.digest()))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
