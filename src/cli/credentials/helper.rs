//! Credential helpers: programs named `docker-credential-NAME` that keep passwords elsewhere
//! (<https://github.com/docker/docker-credential-helpers>).
//!
//! A helper gets the registry on its standard input and answers with JSON. What it prints is never
//! repeated: it holds a password, or text that somebody else chose.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use crate::oci::RegistryHost;
use crate::registry::Credentials;

/// How long a helper may take; some ask their cloud for a token first.
const TIME_LIMIT: Duration = Duration::from_mins(1);
/// Most bytes that are read of an answer. Tokens of clouds have some kilobytes.
const MAX_ANSWER_BYTES: u64 = 256 * 1024;
/// What a helper prints when it has nothing, as the library that helpers are made with says it.
const NOT_FOUND: &str = "credentials not found in native keychain";
/// The user name that stands for an identity token.
const IDENTITY_TOKEN: &str = "<token>";

/// Why a helper gave no answer. It never means that there are no credentials.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum HelperError {
    /// A name that could lead out of the search path.
    #[error("the Docker configuration names a credential helper that is not a program name")]
    Name,
    /// The program could not be started or talked to.
    #[error("cannot run docker-credential-{name}, which the Docker configuration names")]
    Run {
        /// The end of its name.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It failed.
    #[error("docker-credential-{name} failed for {registry} ({status}); run it by hand to see why")]
    Failed {
        /// The end of its name.
        name: String,
        /// What it was asked for.
        registry: RegistryHost,
        /// How it ended.
        status: ExitStatus,
    },
    /// It took too long.
    #[error(
        "docker-credential-{name} gave no answer for {registry} within {} seconds",
        TIME_LIMIT.as_secs()
    )]
    TimedOut {
        /// The end of its name.
        name: String,
        /// What it was asked for.
        registry: RegistryHost,
    },
    /// Its answer is not the JSON it should be, or is too long.
    #[error("docker-credential-{name} gave an answer for {registry} that is not as agreed")]
    Answer {
        /// The end of its name.
        name: String,
        /// What it was asked for.
        registry: RegistryHost,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// The credentials that the helper `name` has for `registry`; [`None`] when it says it has none.
pub(super) async fn ask(
    name: &str,
    registry: &RegistryHost,
) -> Result<Option<Credentials>, HelperError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(is_plain) {
        return Err(HelperError::Name);
    }
    let run = |source| HelperError::Run {
        name: name.to_owned(),
        source,
    };
    let mut child = Command::new(format!("docker-credential-{name}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(run)?;
    let (status, answer) =
        tokio::time::timeout(TIME_LIMIT, converse(&mut child, server_of(registry)))
            .await
            .map_err(|_| HelperError::TimedOut {
                name: name.to_owned(),
                registry: registry.clone(),
            })?
            .map_err(run)?;
    read_answer(name, registry, status, &answer)
}

/// The key under which Docker keeps the credentials of a registry.
fn server_of(registry: &RegistryHost) -> &str {
    if registry.is_docker_hub() {
        "https://index.docker.io/v1/"
    } else {
        registry.as_str()
    }
}

async fn converse(child: &mut Child, server: &str) -> io::Result<(ExitStatus, Vec<u8>)> {
    if let Some(mut input) = child.stdin.take() {
        match input.write_all(server.as_bytes()).await {
            // It did not want to know; its exit code tells.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            result => result?,
        }
    }
    let mut answer = Vec::new();
    if let Some(output) = child.stdout.take() {
        output
            .take(MAX_ANSWER_BYTES + 1)
            .read_to_end(&mut answer)
            .await?;
    }
    Ok((child.wait().await?, answer))
}

fn read_answer(
    name: &str,
    registry: &RegistryHost,
    status: ExitStatus,
    answer: &[u8],
) -> Result<Option<Credentials>, HelperError> {
    let (name, registry) = (name.to_owned(), registry.clone());
    if !status.success() {
        return if answer.trim_ascii() == NOT_FOUND.as_bytes() {
            Ok(None)
        } else {
            Err(HelperError::Failed {
                name,
                registry,
                status,
            })
        };
    }
    let is_complete = u64::try_from(answer.len()).is_ok_and(|length| length <= MAX_ANSWER_BYTES);
    match serde_json::from_slice::<Answer>(answer) {
        Ok(Answer { username, secret }) if is_complete && username == IDENTITY_TOKEN => {
            Ok(Some(Credentials::IdentityToken {
                username,
                token: SecretString::from(secret),
            }))
        }
        Ok(Answer { username, secret }) if is_complete => Ok(Some(Credentials::Password {
            username,
            password: SecretString::from(secret),
        })),
        _ => Err(HelperError::Answer { name, registry }),
    }
}
