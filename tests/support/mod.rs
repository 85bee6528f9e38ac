//! What integration tests share: registries to talk to, certificates, and images to move.

pub(crate) mod any_registry;
pub(crate) mod docker_daemon;
pub(crate) mod docker_registry;
mod git_backend;
pub(crate) mod git_server;
pub(crate) mod registry;
pub(crate) mod scripted_server;
pub(crate) mod sink;
pub(crate) mod ssh_server;
pub(crate) mod tls;
pub(crate) mod tools;

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, stream};
use transship::oci::{Descriptor, Digest, Manifest, MediaType, Repository};
use transship::registry::{
    Access, Client, Credentials, Error, Patience, Upload, UploadError, UploadSession,
};

/// Waits that a test can sit through; the number of attempts is the usual one.
pub(crate) fn patience() -> Patience {
    Patience {
        connect: Duration::from_secs(5),
        idle: Duration::from_secs(5),
        first_wait: Duration::from_millis(1),
        ..Patience::default()
    }
}

/// A client for the registry at `host`.
pub(crate) fn client(host: &str, access: &Access) -> Client {
    install_tls_provider();
    Client::with_patience(&host.parse().unwrap(), access, patience()).unwrap()
}

/// Access to a registry that needs neither TLS nor credentials.
pub(crate) fn plain() -> Access {
    Access {
        insecure: true,
        ..Access::default()
    }
}

/// Access to a registry without TLS.
pub(crate) fn plain_with(username: &str, password: &str) -> Access {
    Access {
        credentials: Some(credentials(username, password)),
        ..plain()
    }
}

pub(crate) fn credentials(username: &str, password: &str) -> Credentials {
    Credentials::Password {
        username: username.to_owned(),
        password: password.to_owned().into(),
    }
}

/// Does for the tests what `main` does for the binary.
pub(crate) fn install_tls_provider() {
    // A second installation fails, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

pub(crate) fn repository(name: &str) -> Repository {
    name.parse().unwrap()
}

/// The descriptor of some content.
pub(crate) fn blob(content: &[u8]) -> Descriptor {
    Descriptor::new(
        MediaType::new(MediaType::OCI_LAYER),
        Digest::sha256(content),
        content.len() as u64,
    )
}

/// An image manifest with one layer.
pub(crate) fn image(config: &Descriptor, layer: &Descriptor) -> Manifest {
    let document = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config.digest,
            "size": config.size,
        },
        "layers": [layer],
    });
    Manifest::new(
        Bytes::from(document.to_string()),
        MediaType::new(MediaType::OCI_MANIFEST),
    )
}

/// Content as the stream of an upload, in pieces of 7 bytes.
pub(crate) fn pieces(
    content: &[u8],
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
    let pieces: Vec<_> = content
        .chunks(7)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    stream::iter(pieces)
}

/// The session that an upload must have opened.
pub(crate) fn session(upload: Upload) -> UploadSession {
    match upload {
        Upload::Session(session) => session,
        Upload::Mounted => panic!("mounted, although nothing was to mount"),
    }
}

/// Uploads content under its true digest.
pub(crate) async fn push_blob(
    client: &Client,
    repository: &Repository,
    content: &[u8],
) -> Result<Descriptor, UploadError<Infallible>> {
    let blob = blob(content);
    let upload = client.start_upload(repository, &blob.digest, None).await?;
    client
        .upload_blob(session(upload), &blob, pieces(content))
        .await?;
    Ok(blob)
}

/// Reads a blob to its end and verifies it.
pub(crate) async fn pull_blob(
    client: &Client,
    repository: &Repository,
    blob: &Descriptor,
) -> Result<Vec<u8>, Error> {
    client
        .get_blob_bytes(repository, blob, 1024 * 1024)
        .await
        .map(Vec::from)
}
