//! A server that takes whatever it is sent, with TLS or without, and remembers every byte of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::tls::Authority;

/// First byte of a TLS record with a handshake (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;

/// What everybody gets who asks; only the body of a `GET` is read.
const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n\
     content-length: 7\r\nset-cookie: seen=1\r\nconnection: close\r\n\r\ncontent";

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    bytes: Mutex<Vec<u8>>,
}

/// A running server at one port of all loopback addresses; dropping it ends it.
pub(crate) struct Sink {
    port: u16,
    seen: Arc<Seen>,
    tasks: Vec<JoinHandle<()>>,
}

impl Sink {
    /// Starts with a certificate of `authority` for 127.0.0.1, so that what comes by TLS is seen too.
    /// `answer` takes the place of a friendly one.
    pub(crate) async fn start(authority: &Authority, answer: Option<String>) -> Self {
        let tls = authority.issue("127.0.0.1").acceptor(&["http/1.1"]);
        let answer: Arc<str> = answer.unwrap_or_else(|| ANSWER.to_owned()).into();
        let seen = Arc::new(Seen::default());
        let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = first.local_addr().unwrap().port();
        let second = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
        // A machine without IPv6 has nothing that could be reached there.
        let third = TcpListener::bind(("::1", port)).await.ok();
        let tasks = [Some(first), Some(second), third]
            .into_iter()
            .flatten()
            .map(|listener| {
                let (tls, answer, seen) = (tls.clone(), answer.clone(), seen.clone());
                tokio::spawn(async move {
                    loop {
                        let (stream, _) = listener.accept().await.unwrap();
                        seen.connections.fetch_add(1, Ordering::SeqCst);
                        tokio::spawn(serve(stream, tls.clone(), answer.clone(), seen.clone()));
                    }
                })
            })
            .collect();
        Self { port, seen, tasks }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How many connections were made to it. Those that were made before the call are counted.
    pub(crate) async fn connections(&self) -> usize {
        // Connections are accepted in their order, so that our own is the last.
        let before = self.seen.connections.load(Ordering::SeqCst);
        let last = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        while self.seen.connections.load(Ordering::SeqCst) == before {
            tokio::task::yield_now().await;
        }
        drop(last);
        self.seen.connections.fetch_sub(1, Ordering::SeqCst) - 1
    }

    /// Every byte that arrived, decrypted.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.seen.bytes.lock().unwrap().clone()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn serve(stream: TcpStream, tls: TlsAcceptor, answer: Arc<str>, seen: Arc<Seen>) {
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(1) if first == [HANDSHAKE] => {
            if let Ok(stream) = tls.accept(stream).await {
                take(stream, &answer, &seen).await;
            }
        }
        _ => take(stream, &answer, &seen).await,
    }
}

async fn take(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str, seen: &Seen) {
    let mut piece = [0; 4096];
    let mut head = Vec::new();
    while let Ok(length @ 1..) = stream.read(&mut piece).await {
        let arrived = piece.get(..length).unwrap();
        seen.bytes.lock().unwrap().extend_from_slice(arrived);
        head.extend_from_slice(arrived);
        if head.windows(4).any(|end| end == b"\r\n\r\n") {
            head.clear();
            // Whoever does not wait for the answer has still been heard.
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    }
}
