//! A context that is a file on a web server: a tar file whose digest is known.
//!
//! Nothing of it is unpacked before all of it has its checksum.

use std::error::Error as StdError;
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::path::Path;
use std::time::Duration;

use futures::StreamExt as _;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use tokio::time::timeout;
use url::Url;

use super::unpack::Unpacking;
use super::{blocking, invalid};
use crate::build::BuildFailure;
use crate::oci::Digest;
use crate::reason::Reason;
use crate::worker::build::failure::{of_disk, of_source};

/// Most bytes of the file.
const MAX_BYTES: u64 = 4 * 1024 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a server may say nothing.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
const MAX_REDIRECTS: usize = 5;
/// How many times the file is asked for, and the wait before the second time; it doubles.
const ATTEMPTS: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Why one attempt failed.
enum Attempt {
    /// Another one may succeed.
    Again(String),
    Over(BuildFailure),
}

/// Downloads the file at `url` and unpacks it.
pub(super) async fn fetch(
    url: &Url,
    checksum: &Digest,
    insecure: bool,
    mut unpacking: Unpacking,
    workspace: &Path,
) -> Result<(), BuildFailure> {
    let place = shown(url);
    if url.scheme() != "https" && !(insecure && url.scheme() == "http") {
        let message = format!("{place} is read without TLS: write https, or allow it");
        return Err(of_source(Reason::InvalidSpec, message));
    }
    let client = client(insecure).map_err(|error| {
        of_source(
            Reason::SourceUnreachable,
            format!("no TLS: {}", error.without_url()),
        )
    })?;
    tracing::info!(address = place, "fetching");
    let mut wait = FIRST_WAIT;
    let mut attempt = 1;
    let file = loop {
        match download(&client, url, checksum, workspace).await {
            Ok(file) => break file,
            Err(Attempt::Over(failure)) => return Err(failure),
            Err(Attempt::Again(problem)) if attempt == ATTEMPTS => {
                let message = format!("{place} cannot be read: {problem}");
                return Err(of_source(Reason::SourceUnreachable, message));
            }
            Err(Attempt::Again(problem)) => {
                tracing::warn!(address = place, problem, "asking again");
                tokio::time::sleep(wait).await;
                wait *= 2;
                attempt += 1;
            }
        }
    };
    blocking(move || unpacking.unpack(&place, file)).await
}

/// An address as it may be shown: without what may be secret in it.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // It has a host, so that there is somebody to name.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

fn client(insecure: bool) -> reqwest::Result<Client> {
    Client::builder()
        .user_agent(concat!("transship/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(IDLE_TIMEOUT)
        .https_only(!insecure)
        .referer(false)
        .redirect(Policy::limited(MAX_REDIRECTS))
        .build()
}

/// The file, which has its checksum, at its beginning. It has no name.
async fn download(
    client: &Client,
    url: &Url,
    checksum: &Digest,
    workspace: &Path,
) -> Result<File, Attempt> {
    let place = shown(url);
    let answer = timeout(IDLE_TIMEOUT, client.get(url.clone()).send()).await;
    let answer = match answer {
        Err(_) => return Err(Attempt::Again("it does not answer".to_owned())),
        Ok(Err(error)) => return Err(failed(&place, &error)),
        Ok(Ok(answer)) => answer,
    };
    check_status(&place, answer.status())?;
    let disk = |error| Attempt::Over(of_disk("cannot write the file of the context", &error));
    let mut file = tempfile::tempfile_in(workspace).map_err(disk)?;
    let mut hasher = checksum.hasher();
    let mut bytes: u64 = 0;
    let mut content = answer.bytes_stream();
    while let Some(piece) = content.next().await {
        let piece = piece.map_err(|error| failed(&place, &error))?;
        bytes += piece.len() as u64;
        if bytes > MAX_BYTES {
            let message = format!("{place} has more than {MAX_BYTES} bytes");
            return Err(Attempt::Over(invalid(message)));
        }
        hasher.update(&piece);
        // As fast as the page cache takes it; nothing else waits in this process.
        file.write_all(&piece).map_err(disk)?;
    }
    let found = hasher.finish();
    if found != *checksum {
        let message = format!(
            "{place} is {found}, not {checksum}: the file has changed, or the checksum is another file's"
        );
        return Err(Attempt::Over(of_source(Reason::ChecksumMismatch, message)));
    }
    file.rewind().map_err(disk)?;
    Ok(file)
}

fn check_status(place: &str, status: StatusCode) -> Result<(), Attempt> {
    let over = |reason, problem| {
        Err(Attempt::Over(of_source(
            reason,
            format!("{place} {problem}"),
        )))
    };
    match status {
        status if status.is_success() => Ok(()),
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            over(Reason::SourceNotFound, "is not there: check the address")
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => over(
            Reason::SourceAuthenticationFailed,
            "asks for credentials, or refuses access",
        ),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
            Err(Attempt::Again(format!("it answers with {status}")))
        }
        status if status.is_server_error() => {
            Err(Attempt::Again(format!("it answers with {status}")))
        }
        _ => over(Reason::SourceUnreachable, "answers with an error"),
    }
}

fn failed(place: &str, error: &reqwest::Error) -> Attempt {
    if error.is_redirect() {
        let message = format!("{place} leads on too often, or to an address without TLS");
        return Attempt::Over(of_source(Reason::SourceUnreachable, message));
    }
    if is_untrusted(error) {
        let message = format!("the certificate of {place} is not trusted");
        return Attempt::Over(of_source(Reason::TlsUntrusted, message));
    }
    let problem = if error.is_timeout() {
        "it does not answer in time"
    } else if error.is_connect() {
        "no connection"
    } else {
        "the connection broke off"
    };
    Attempt::Again(problem.to_owned())
}

fn is_untrusted(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(found) = cause {
        if let Some(tls) = found.downcast_ref::<rustls::Error>() {
            return matches!(tls, rustls::Error::InvalidCertificate(_));
        }
        // An error of I/O skips the one that it wraps.
        let wrapped = found
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        cause = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => found.source(),
        };
    }
    false
}
