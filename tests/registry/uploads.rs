//! Uploads in front of registries that refuse, forget, redirect or stand still.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{Method, Response};
use axum::routing::any;
use futures::{StreamExt as _, stream};
use tokio::net::TcpListener;
use transship::oci::Digest;
use transship::registry::{Client, ErrorKind, Patience, Upload, UploadError};

use crate::support::scripted_server::{Asked, ScriptedServer, respond, status};
use crate::support::{
    blob, client, install_tls_provider, patience, pieces, plain, push_blob, repository, session,
};

const LAYER: &[u8] = b"the content of a layer";

fn session_opened() -> Response<Body> {
    respond(202, &[("location", "session/1?_state=a%2Fb%3D")], "")
}

/// Opens a session on POST and ends it on PUT as `put` says.
async fn registry(put: impl Fn() -> Response<Body> + Send + Sync + 'static) -> ScriptedServer {
    ScriptedServer::start(move |asked| match asked.method {
        Method::POST => session_opened(),
        Method::PUT => put(),
        _ => status(204),
    })
    .await
}

fn last(server: &ScriptedServer) -> Asked {
    server.asked().pop().unwrap()
}

#[tokio::test]
async fn cases_3_27_and_28_content_is_sent_in_one_request_of_known_length() {
    let server = registry(|| status(201)).await;
    let client = client(server.host(), &plain());
    let layer = push_blob(&client, &repository("app"), LAYER).await.unwrap();
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[1].path(), "/v2/app/blobs/uploads/session/1");
    assert_eq!(asked[1].query("_state"), ["a/b="]);
    assert_eq!(asked[1].query("digest"), [layer.digest.as_str()]);
    assert_eq!(asked[1].header("content-length"), Some("22"));
    assert_eq!(asked[1].header("transfer-encoding"), None);
    assert_eq!(asked[1].body.as_deref(), Some(LAYER));
}

#[tokio::test]
async fn case_16_the_session_of_a_refused_mount_is_used() {
    let server = registry(|| status(201)).await;
    let client = client(server.host(), &plain());
    let layer = blob(LAYER);
    let upload = client
        .start_upload(&repository("app"), &layer.digest, Some(&repository("base")))
        .await
        .unwrap();
    client
        .upload_blob(session(upload), &layer, pieces(LAYER))
        .await
        .unwrap();
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].query("mount"), [layer.digest.as_str()]);
    assert_eq!(asked[0].query("from"), ["base"]);
}

#[tokio::test]
async fn case_17_a_mount_that_fails_becomes_an_upload() {
    for code in [400, 401, 403, 404, 405, 500] {
        let server = ScriptedServer::start(move |asked| {
            if asked.query("mount").is_empty() {
                session_opened()
            } else {
                status(code)
            }
        })
        .await;
        let client = client(server.host(), &plain());
        let upload = client
            .start_upload(
                &repository("app"),
                &Digest::sha256(LAYER),
                Some(&repository("base")),
            )
            .await
            .unwrap();
        assert!(matches!(upload, Upload::Session(_)), "{code}");
        assert_eq!(last(&server).target, "/v2/app/blobs/uploads/");
    }
}

#[tokio::test]
async fn a_mount_of_something_else_is_not_believed() {
    let other = Digest::sha256(b"other").to_string();
    let server =
        ScriptedServer::start(move |_| respond(201, &[("docker-content-digest", &other)], ""))
            .await;
    let client = client(server.host(), &plain());
    let error = client
        .start_upload(
            &repository("app"),
            &Digest::sha256(LAYER),
            Some(&repository("base")),
        )
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn case_31_a_failed_upload_cancels_its_session() {
    for (code, kind, transient) in [
        (400, ErrorKind::Protocol, false),
        (403, ErrorKind::Denied, false),
        (404, ErrorKind::Protocol, true),
        (401, ErrorKind::Protocol, true),
        (307, ErrorKind::Protocol, false),
        (503, ErrorKind::Unreachable, true),
    ] {
        let server = registry(move || status(code)).await;
        let client = client(server.host(), &plain());
        let error = push_blob(&client, &repository("app"), LAYER)
            .await
            .unwrap_err();
        let UploadError::Destination(error) = error else {
            panic!("{code}: {error:?}")
        };
        assert_eq!(
            (error.kind(), error.is_transient()),
            (kind, transient),
            "{code}"
        );
        let asked = server.asked();
        assert_eq!(
            asked.iter().map(|asked| &asked.method).collect::<Vec<_>>(),
            [Method::POST, Method::PUT, Method::DELETE],
            "content is sent once"
        );
        assert_eq!(asked[2].path(), asked[1].path());
        assert_eq!(asked[2].query("digest"), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_failed_source_breaks_the_request_and_cancels_the_session() {
    let server = registry(|| status(201)).await;
    let client = client(server.host(), &plain());
    let layer = blob(LAYER);
    let upload = client
        .start_upload(&repository("app"), &layer.digest, None)
        .await
        .unwrap();
    let content = stream::iter([
        Ok(Bytes::from_static(b"the content")),
        Err(io::Error::other("disk on fire")),
    ]);
    let error = client
        .upload_blob(session(upload), &layer, content)
        .await
        .unwrap_err();
    assert!(matches!(error, UploadError::Source(_)), "{error:?}");
    let asked = server.asked();
    assert!(
        asked
            .iter()
            .filter(|asked| asked.method == Method::PUT)
            .all(|asked| asked.body.is_none()),
        "no request was completed"
    );
    assert_eq!(last(&server).method, Method::DELETE);
}

#[tokio::test]
async fn a_registry_that_takes_nothing_more_is_given_up() {
    let router = Router::new().fallback(any(|request: Request| async move {
        match *request.method() {
            Method::POST => session_opened(),
            Method::PUT => {
                // Keeps the body and never reads it.
                let _body = request.into_body();
                std::future::pending().await
            }
            _ => status(204),
        }
    }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    install_tls_provider();
    let patience = Patience {
        idle: Duration::from_millis(300),
        ..patience()
    };
    let client = Client::with_patience(&host.parse().unwrap(), &plain(), patience).unwrap();
    // More than the sockets take; the digest is never looked at.
    let mut layer = blob(b"");
    layer.size = 64 * 1024 * 1024;
    let piece = Bytes::from(vec![0; 64 * 1024]);
    let content = stream::iter(0..1024).map(move |_| Ok::<_, Infallible>(piece.clone()));
    let upload = client
        .start_upload(&repository("app"), &layer.digest, None)
        .await
        .unwrap();
    let error = client
        .upload_blob(session(upload), &layer, content)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, UploadError::Destination(error) if error.kind() == ErrorKind::Unreachable),
        "{error:?}"
    );
    server.abort();
}

/// Bytes of the process in memory at their highest, in MiB (proc(5), `VmHWM`).
fn highest_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[tokio::test]
async fn a_large_layer_passes_through_without_being_kept() {
    const PIECE: usize = 256 * 1024;
    const PIECES: usize = 2048;
    let router = Router::new().fallback(any(|request: Request| async move {
        match *request.method() {
            Method::GET => {
                let piece = Bytes::from(vec![7; PIECE]);
                let content =
                    stream::iter(0..PIECES).map(move |_| Ok::<_, Infallible>(piece.clone()));
                respond(200, &[], Body::from_stream(content))
            }
            Method::POST => session_opened(),
            _ => {
                let mut body = request.into_body().into_data_stream();
                let mut received = 0;
                while let Some(piece) = body.next().await {
                    received += piece.unwrap().len();
                }
                status(if received == PIECE * PIECES { 201 } else { 400 })
            }
        }
    }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move { axum::serve(listener, router).await });

    let mut layer = blob(b"");
    let mut hasher = layer.digest.hasher();
    let piece = vec![7; PIECE];
    for _ in 0..PIECES {
        hasher.update(&piece);
    }
    layer.digest = hasher.finish();
    layer.size = (PIECE * PIECES) as u64;
    let client = client(&host, &plain());
    let app = repository("app");
    let before = highest_memory();
    // On a task of its own, as a copy engine does it: the futures can move between threads.
    let copy = async move {
        let content = client.read_blob(&app, &layer, 0);
        let upload = client.start_upload(&app, &layer.digest, None).await;
        client
            .upload_blob(session(upload.unwrap()), &layer, content)
            .await
            .unwrap();
    };
    tokio::spawn(copy).await.unwrap();
    // Other tests of this process run at the same time; the layer has 512 MiB.
    let grown = highest_memory() - before;
    assert!(grown < 64, "{grown} MiB more in memory");
    server.abort();
}
