//! A Docker daemon, spoken to over its Unix socket (Docker Engine API, "Export an image" and "Import
//! images").

use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use reqwest::{Body, Client, Response, StatusCode, redirect};
use rustls::crypto::CryptoProvider;
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::super::Error;
use super::super::archive::blocking;
use super::destination::DockerArchiveDestination;
use super::source::DockerArchiveSource;
use crate::oci::{Reference, RegistryHost, Repository};

/// The socket of a daemon that is installed as Docker says.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// How long a piece may take in either direction.
const IDLE: Duration = Duration::from_mins(2);
/// How long the daemon may work: it writes an image to its own disk before it sends the first byte
/// of it, and after it has received the last.
const WORK: Duration = Duration::from_mins(30);
/// Pieces on their way to the daemon.
const QUEUED_PIECES: usize = 8;
/// Most bytes of what the daemon says about its loading.
const MAX_REPORT_BYTES: usize = 1024 * 1024;

/// A daemon on this machine.
#[derive(Clone, Debug)]
pub struct DockerDaemon {
    client: Client,
    place: String,
}

impl DockerDaemon {
    /// The daemon that `host` names as the environment variable `DOCKER_HOST` does: `unix://PATH`.
    /// Without it, the one of this machine.
    pub fn new(host: Option<&str>) -> Result<Self, Error> {
        let socket = match host.filter(|host| !host.is_empty()) {
            None => PathBuf::from(DEFAULT_SOCKET),
            Some(host) => match host.strip_prefix("unix://") {
                Some(path) if path.starts_with('/') => PathBuf::from(path),
                _ => {
                    return Err(Error::Unsupported {
                        place: "docker-daemon".to_owned(),
                        what: "a DOCKER_HOST that is not unix:///PATH".to_owned(),
                        remedy: "use the socket of a daemon on this machine",
                    });
                }
            },
        };
        Self::at(&socket)
    }

    /// The daemon with this socket. Nothing is sent yet.
    fn at(socket: &Path) -> Result<Self, Error> {
        let place = format!("docker-daemon at {}", socket.display());
        let failed = |text: &'static str| Error::File {
            place: place.clone(),
            source: io::Error::other(text),
        };
        // Without a provider, building a client panics.
        if CryptoProvider::get_default().is_none() {
            return Err(failed("the process has installed no TLS provider"));
        }
        let client = Client::builder()
            .unix_socket(socket)
            .redirect(redirect::Policy::none())
            .referer(false)
            .build()
            .map_err(|_| failed("the HTTP client cannot be built"))?;
        Ok(Self { client, place })
    }

    /// The image `name` with the other images of its repository that are saved with it.
    ///
    /// The daemon sends an archive, which is read out of order: it goes into a file without a name
    /// in the directory for temporary files, as large as the image with its layers unpacked.
    pub async fn source(&self, name: &Reference) -> Result<DockerArchiveSource, Error> {
        let request = self.client.get(format!("http://docker/images/{name}/get"));
        let mut response = self.within(WORK, request.send()).await?;
        self.check(&response, name)?;
        let file = blocking(&self.place, tempfile::tempfile).await?;
        let mut file = tokio::fs::File::from_std(file);
        while let Some(piece) = self.within(IDLE, response.chunk()).await? {
            file.write_all(&piece)
                .await
                .map_err(|error| self.failed(error))?;
        }
        file.seek(SeekFrom::Start(0))
            .await
            .map_err(|error| self.failed(error))?;
        DockerArchiveSource::of_file(
            "docker-daemon".to_owned(),
            file.into_std().await,
            Some(name),
        )
        .await
    }

    /// A repository of the daemon to write to: what is written is loaded all at once, at the end.
    #[must_use]
    pub fn destination(
        &self,
        registry: RegistryHost,
        repository: Repository,
    ) -> DockerArchiveDestination {
        DockerArchiveDestination::of_daemon(
            "docker-daemon".to_owned(),
            self.clone(),
            (registry, repository),
        )
    }

    /// Begins to send an archive.
    pub(super) fn load(&self) -> Load {
        let (sender, receiver) = mpsc::channel::<Bytes>(QUEUED_PIECES);
        let body = stream::unfold(receiver, |mut receiver| async move {
            let piece = receiver.recv().await?;
            Some((Ok::<_, io::Error>(piece), receiver))
        });
        let request = self
            .client
            .post("http://docker/images/load?quiet=1")
            .header(reqwest::header::CONTENT_TYPE, "application/x-tar")
            .body(Body::wrap_stream(body));
        let daemon = self.clone();
        let task = tokio::spawn(async move {
            let response = request
                .send()
                .await
                .map_err(|error| daemon.unanswered(&error))?;
            daemon.read_report(response).await
        });
        Load {
            place: self.place.clone(),
            sender,
            task: AbortOnDropHandle::new(task),
        }
    }

    /// Whether the daemon has loaded what it was sent. It answers before it knows.
    async fn read_report(&self, mut response: Response) -> Result<(), Error> {
        let status = response.status();
        if status != StatusCode::OK {
            return Err(self.refused(status));
        }
        let mut report = Vec::new();
        while let Some(piece) = self.within(WORK, response.chunk()).await? {
            if report.len() + piece.len() > MAX_REPORT_BYTES {
                return Err(self.malformed("it reports more than can be read".to_owned()));
            }
            report.extend_from_slice(&piece);
        }
        for line in serde_json::Deserializer::from_slice(&report).into_iter::<ReportLine>() {
            match line {
                Ok(ReportLine { error: None }) => {}
                Ok(ReportLine { error: Some(_) }) => {
                    return Err(
                        self.malformed("it could not load the image: its log says why".to_owned())
                    );
                }
                Err(_) => return Err(self.malformed("its report is not JSON".to_owned())),
            }
        }
        Ok(())
    }

    fn check(&self, response: &Response, name: &Reference) -> Result<(), Error> {
        match response.status() {
            StatusCode::OK => Ok(()),
            StatusCode::NOT_FOUND => Err(Error::NotFound {
                place: self.place.clone(),
                wanted: format!("image {name}"),
            }),
            status => Err(self.refused(status)),
        }
    }

    async fn within<T>(
        &self,
        limit: Duration,
        answer: impl Future<Output = Result<T, reqwest::Error>>,
    ) -> Result<T, Error> {
        match timeout(limit, answer).await {
            Ok(answer) => answer.map_err(|error| self.unanswered(&error)),
            Err(_) => Err(self.failed(io::ErrorKind::TimedOut.into())),
        }
    }

    /// In words of our own: what the HTTP stack says may repeat what the other side sent.
    fn unanswered(&self, error: &reqwest::Error) -> Error {
        let (kind, text) = if error.is_connect() {
            (
                io::ErrorKind::NotConnected,
                "nothing answers there: check that the daemon runs and that this user may use its socket",
            )
        } else {
            (io::ErrorKind::ConnectionAborted, "the connection broke off")
        };
        self.failed(io::Error::new(kind, text))
    }

    fn refused(&self, status: StatusCode) -> Error {
        self.malformed(format!(
            "it answered with the status {}: its log says why",
            status.as_u16()
        ))
    }

    fn malformed(&self, problem: String) -> Error {
        Error::Malformed {
            place: self.place.clone(),
            problem,
        }
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::File {
            place: self.place.clone(),
            source,
        }
    }
}

/// A line of the report; the text of the error stays unread.
#[derive(Deserialize)]
struct ReportLine {
    error: Option<IgnoredAny>,
}

/// An archive on its way to a daemon. Dropping it breaks the request off, and the daemon loads
/// nothing.
#[derive(Debug)]
pub(super) struct Load {
    place: String,
    // Before the sender, whose end would look like the end of the archive.
    task: AbortOnDropHandle<Result<(), Error>>,
    sender: mpsc::Sender<Bytes>,
}

impl Load {
    pub(super) async fn write(&mut self, piece: Bytes) -> Result<(), Error> {
        match timeout(IDLE, self.sender.send(piece)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => match self.outcome().await {
                Ok(()) => Err(self.failed(io::ErrorKind::ConnectionAborted)),
                Err(error) => Err(error),
            },
            Err(_) => Err(self.failed(io::ErrorKind::TimedOut)),
        }
    }

    /// Ends the archive and waits until it is loaded.
    pub(super) async fn finish(mut self) -> Result<(), Error> {
        // The channel ends with its last sender.
        self.sender = mpsc::channel(1).0;
        self.outcome().await
    }

    async fn outcome(&mut self) -> Result<(), Error> {
        match timeout(WORK, &mut self.task).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(self.failed(io::ErrorKind::ConnectionAborted)),
            Err(_) => Err(self.failed(io::ErrorKind::TimedOut)),
        }
    }

    fn failed(&self, kind: io::ErrorKind) -> Error {
        Error::File {
            place: self.place.clone(),
            source: kind.into(),
        }
    }
}
