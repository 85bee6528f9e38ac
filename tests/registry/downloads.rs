//! Downloads that break off, stand still, or go on with something else.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use rstest::rstest;
use transship::registry::{Client, Error, ErrorKind, Patience};

use crate::support::scripted_server::{Asked, ScriptedServer, broken_off, respond, status};
use crate::support::{blob, client, install_tls_provider, patience, plain, pull_blob, repository};

const LAYER: &[u8] = b"the content of a layer";
const CUT: usize = 11;

/// Answers the first request for the blob by `first` and the others by `later`.
async fn first_then(
    first: impl Fn() -> Response<Body> + Send + Sync + 'static,
    later: impl Fn(&Asked) -> Response<Body> + Send + Sync + 'static,
) -> ScriptedServer {
    let seen = AtomicUsize::new(0);
    ScriptedServer::start(move |asked| {
        if asked.path() == "/v2/" {
            status(200)
        } else if seen.fetch_add(1, Ordering::SeqCst) == 0 {
            first()
        } else {
            later(asked)
        }
    })
    .await
}

/// The layer, broken off after [`CUT`] bytes.
fn cut() -> Response<Body> {
    respond(200, &[("content-length", "22")], broken_off(first_part()))
}

fn first_part() -> &'static [u8] {
    LAYER.split_at(CUT).0
}

/// What the range of a request asks for, as a good server answers.
fn rest(asked: &Asked) -> Response<Body> {
    let first: usize = asked
        .header("range")
        .and_then(|range| {
            range
                .strip_prefix("bytes=")?
                .strip_suffix('-')?
                .parse()
                .ok()
        })
        .unwrap_or(0);
    let range = format!("bytes {first}-{}/{}", LAYER.len() - 1, LAYER.len());
    respond(206, &[("content-range", &range)], LAYER.split_at(first).1)
}

async fn pull(server: &ScriptedServer) -> Result<Vec<u8>, Error> {
    let client = client(server.host(), &plain());
    pull_blob(&client, &repository("app"), &blob(LAYER)).await
}

async fn read(client: &Client, offset: u64) -> Result<Vec<u8>, Error> {
    client
        .read_blob(&repository("app"), &blob(LAYER), offset)
        .map_ok(Vec::from)
        .try_concat()
        .await
}

#[tokio::test]
async fn a_download_that_breaks_off_goes_on_from_there() {
    let server = first_then(cut, rest).await;
    assert_eq!(pull(&server).await.unwrap(), LAYER);
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].header("range"), None);
    assert_eq!(asked[1].header("range"), Some("bytes=11-"));
}

#[tokio::test]
async fn a_download_that_ends_cleanly_before_its_time_goes_on_from_there() {
    let short = || {
        let pieces = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(&LAYER[..CUT]))]);
        respond(200, &[], Body::from_stream(pieces))
    };
    let server = first_then(short, rest).await;
    assert_eq!(pull(&server).await.unwrap(), LAYER);
    assert_eq!(server.asked()[1].header("range"), Some("bytes=11-"));
}

#[tokio::test]
async fn a_read_can_start_anywhere_and_asks_for_nothing_at_the_end() {
    let server = ScriptedServer::start(rest).await;
    let client = client(server.host(), &plain());
    assert_eq!(read(&client, 5).await.unwrap(), &LAYER[5..]);
    let before = server.asked().len();
    assert_eq!(read(&client, LAYER.len() as u64).await.unwrap(), b"");
    assert_eq!(server.asked().len(), before);
    let error = read(&client, LAYER.len() as u64 + 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert_eq!(server.asked().len(), before);
}

#[tokio::test]
async fn case_39_a_resume_that_answers_200_skips_the_prefix() {
    let server = first_then(cut, |_| respond(200, &[], LAYER)).await;
    assert_eq!(pull(&server).await.unwrap(), LAYER);
    assert_eq!(server.asked().len(), 2);
}

#[rstest]
#[case::other_start("bytes 10-21/22", &LAYER[10..])]
#[case::other_size("bytes 11-21/23", &LAYER[11..])]
#[case::length_does_not_fit("bytes 11-21/22", &LAYER[12..])]
#[case::nonsense("bytes eleven", &LAYER[11..])]
#[tokio::test]
async fn case_40_a_wrong_range_is_discarded_and_the_whole_is_asked_for(
    #[case] range: &'static str,
    #[case] content: &'static [u8],
) {
    let server = first_then(cut, move |asked| match asked.header("range") {
        Some(_) => respond(206, &[("content-range", range)], content),
        None => respond(200, &[], LAYER),
    })
    .await;
    assert_eq!(pull(&server).await.unwrap(), LAYER);
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[2].header("range"), None);
}

#[rstest]
#[case::range_refused(416)]
#[tokio::test]
async fn a_registry_that_refuses_ranges_sends_the_whole_again(#[case] code: u16) {
    let server = first_then(cut, move |asked| match asked.header("range") {
        Some(_) => status(code),
        None => respond(200, &[], LAYER),
    })
    .await;
    assert_eq!(pull(&server).await.unwrap(), LAYER);
}

#[tokio::test]
async fn case_41_a_resume_starts_at_the_registry_and_not_at_the_store() {
    let store = first_then(cut, rest).await;
    let target = format!("http://{}/store?signature=1", store.host());
    let server = ScriptedServer::start(move |_| respond(307, &[("location", &target)], "")).await;
    assert_eq!(pull(&server).await.unwrap(), LAYER);
    assert_eq!(server.asked().len(), 2);
    let asked = store.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[1].header("range"), Some("bytes=11-"), "case 6");
}

#[tokio::test]
async fn a_part_that_was_not_asked_for_is_refused() {
    let server = ScriptedServer::start(|_| {
        respond(206, &[("content-range", "bytes 0-10/22")], &LAYER[..CUT])
    })
    .await;
    assert_eq!(pull(&server).await.unwrap_err().kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn attempts_without_progress_end() {
    let server = ScriptedServer::start(|asked| match asked.path() {
        "/v2/" => status(200),
        _ => respond(200, &[("content-length", "22")], broken_off(b"")),
    })
    .await;
    let error = pull(&server).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.is_transient());
    assert_eq!(server.asked().len(), 5);
}

#[tokio::test]
async fn attempts_count_anew_after_progress() {
    const PIECE: usize = 64 * 1024;
    const PIECES: usize = 12;
    let content: Vec<u8> = (0..=250).cycle().take(PIECE * PIECES).collect();
    let stored = content.clone();
    let server = ScriptedServer::start(move |asked| {
        let first: usize = asked
            .header("range")
            .and_then(|range| {
                range
                    .strip_prefix("bytes=")?
                    .strip_suffix('-')?
                    .parse()
                    .ok()
            })
            .unwrap_or(0);
        let piece = Bytes::copy_from_slice(&stored[first..first + PIECE]);
        let end = stream::once(async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Err(std::io::Error::other("script"))
        });
        let body = Body::from_stream(stream::iter([Ok(piece)]).chain(end));
        let range = format!("bytes {first}-{}/{}", stored.len() - 1, stored.len());
        let length = (stored.len() - first).to_string();
        let code = if first == 0 { 200 } else { 206 };
        respond(
            code,
            &[("content-range", &range), ("content-length", &length)],
            body,
        )
    })
    .await;
    let client = client(server.host(), &plain());
    let pulled = pull_blob(&client, &repository("app"), &blob(&content)).await;
    assert_eq!(pulled.unwrap(), content);
    assert_eq!(server.asked().len(), PIECES);
}

#[tokio::test]
async fn a_server_that_drips_counts_as_standing_still() {
    let server = first_then(
        || {
            let drips = stream::iter(LAYER).then(|byte| async move {
                tokio::time::sleep(Duration::from_millis(40)).await;
                Ok::<_, std::io::Error>(Bytes::copy_from_slice(std::slice::from_ref(byte)))
            });
            respond(200, &[("content-length", "22")], Body::from_stream(drips))
        },
        rest,
    )
    .await;
    install_tls_provider();
    let patience = Patience {
        idle: Duration::from_millis(200),
        ..patience()
    };
    let client =
        Client::with_patience(&server.host().parse().unwrap(), &plain(), patience).unwrap();
    assert_eq!(read(&client, 0).await.unwrap(), LAYER);
    assert_eq!(
        server.asked().len(),
        2,
        "the rest came from a second request"
    );
}
