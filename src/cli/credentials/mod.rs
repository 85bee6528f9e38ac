//! Credentials for the command line: a file with user and password, or what `docker login`,
//! `podman login` and `skopeo login` left behind.
//!
//! The files are looked through in the order of containers-auth.json(5). One that is named by an
//! option or by `REGISTRY_AUTH_FILE` is the only one.

mod helper;

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use tokio::sync::Mutex;

pub(super) use self::helper::HelperError;
use crate::oci::{RegistryHost, Repository};
use crate::registry::{CredentialHelper, Credentials, DockerConfig, DockerConfigError};

/// Most bytes of a file with user and password.
const MAX_CREDENTIALS_BYTES: u64 = 64 * 1024;
/// Most bytes of a Docker configuration.
const MAX_CONFIGURATION_BYTES: u64 = 4 * 1024 * 1024;

/// Where the credentials of one side come from.
#[derive(Debug)]
pub(super) enum Keychain {
    /// These, whatever the registry: the user named the file for this very place.
    Fixed(Credentials),
    /// The first file that has some.
    Files(Files),
}

/// The configurations of a user, and what their helpers said: each is asked once per registry.
#[derive(Debug)]
pub(super) struct Files {
    configurations: Vec<DockerConfig>,
    asked: Mutex<HashMap<(String, RegistryHost), Option<Credentials>>>,
}

/// Why there are no credentials to use. Nothing of a file's content is repeated.
#[derive(Debug, thiserror::Error)]
pub(super) enum CredentialsError {
    /// A file cannot be read.
    #[error("cannot read the credentials in {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file with user and password has something else in it.
    #[error("{path} should have one line USER:PASSWORD and nothing else")]
    Pair {
        /// The file.
        path: PathBuf,
    },
    /// A Docker configuration cannot be used.
    #[error("{path}: {source}")]
    Configuration {
        /// The file.
        path: PathBuf,
        /// Why.
        source: DockerConfigError,
    },
    /// A credential helper failed.
    #[error(transparent)]
    Helper(#[from] HelperError),
}

impl Keychain {
    /// One user and password, from a file or, for `-`, from standard input.
    pub(super) fn from_pair(path: &Path) -> Result<Self, CredentialsError> {
        let content = if path == Path::new("-") {
            bounded(io::stdin().lock(), MAX_CREDENTIALS_BYTES)
        } else {
            std::fs::File::open(path).and_then(|file| bounded(file, MAX_CREDENTIALS_BYTES))
        }
        .map_err(read_error(path))?;
        let pair = String::from_utf8(content)
            .ok()
            .and_then(|text| {
                let line = text.strip_suffix('\n').unwrap_or(&text);
                let line = line.strip_suffix('\r').unwrap_or(line);
                let (username, password) = line.split_once(':')?;
                (!username.is_empty() && !line.contains(['\n', '\r'])).then(|| {
                    Credentials::Password {
                        username: username.to_owned(),
                        password: SecretString::from(password),
                    }
                })
            })
            .ok_or_else(|| CredentialsError::Pair {
                path: path.to_owned(),
            })?;
        Ok(Self::Fixed(pair))
    }

    /// The file `path`, which has to be there.
    pub(super) fn from_authfile(path: &Path) -> Result<Self, CredentialsError> {
        let config = read_configuration(path)?;
        Ok(Self::of_files(vec![config]))
    }

    /// Whatever the files of a user hold, by the environment that `variable` looks into.
    pub(super) fn of_user(
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, CredentialsError> {
        if let Some(path) = directory(&variable, "REGISTRY_AUTH_FILE") {
            return Self::from_authfile(&path);
        }
        let mut files = Vec::new();
        for path in usual_files(variable, user_id()) {
            match read_configuration(&path) {
                Ok(config) => files.push(config),
                Err(CredentialsError::Read { source, .. })
                    if matches!(
                        source.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    ) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self::of_files(files))
    }

    fn of_files(configurations: Vec<DockerConfig>) -> Self {
        Self::Files(Files {
            configurations,
            asked: Mutex::default(),
        })
    }

    /// The credentials for a repository; [`None`] asks anonymously.
    ///
    /// A helper that fails is an error: going on without it could show one registry's password to
    /// another, or turn a wrong configuration into a puzzling refusal.
    pub(super) async fn credentials_for(
        &self,
        registry: &RegistryHost,
        repository: &Repository,
    ) -> Result<Option<Credentials>, CredentialsError> {
        let files = match self {
            Self::Fixed(credentials) => return Ok(Some(credentials.clone())),
            Self::Files(files) => files,
        };
        for config in &files.configurations {
            let found = match config.helper_for(registry) {
                Some(CredentialHelper::ForRegistry(name)) => {
                    return Ok(files.ask(name, registry).await?);
                }
                Some(CredentialHelper::Store(name)) => files.ask(name, registry).await?,
                None => None,
            };
            let found = match found {
                Some(found) => Some(found),
                None => config.credentials_for(registry, repository),
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

impl Files {
    async fn ask(
        &self,
        name: &str,
        registry: &RegistryHost,
    ) -> Result<Option<Credentials>, HelperError> {
        let key = (name.to_owned(), registry.clone());
        // Held while the helper runs: some ask their user, and would ask for each repository.
        let mut asked = self.asked.lock().await;
        if let Some(answer) = asked.get(&key) {
            return Ok(answer.clone());
        }
        let answer = helper::ask(name, registry).await?;
        asked.insert(key, answer.clone());
        Ok(answer)
    }
}

/// The user that this process runs as.
fn user_id() -> Option<u32> {
    std::fs::metadata("/proc/self").ok().map(|own| own.uid())
}

/// The files of a user, the one that is asked first at the front.
fn usual_files(variable: impl Fn(&str) -> Option<OsString>, user_id: Option<u32>) -> Vec<PathBuf> {
    let home = directory(&variable, "HOME");
    let runtime = directory(&variable, "XDG_RUNTIME_DIR");
    // Where podman and skopeo write without that variable, as under sudo.
    let of_user = user_id
        .filter(|_| runtime.is_none())
        .map(|id| PathBuf::from(format!("/run/containers/{id}/auth.json")));
    let configuration = directory(&variable, "XDG_CONFIG_HOME")
        .or_else(|| home.as_ref().map(|home| home.join(".config")));
    let docker = directory(&variable, "DOCKER_CONFIG")
        .or_else(|| home.as_ref().map(|home| home.join(".docker")));
    let containers = |directory: PathBuf| directory.join("containers/auth.json");
    [
        runtime.map(containers),
        of_user,
        configuration.map(containers),
        docker.map(|directory| directory.join("config.json")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn directory(variable: &impl Fn(&str) -> Option<OsString>, name: &str) -> Option<PathBuf> {
    variable(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

fn read_configuration(path: &Path) -> Result<DockerConfig, CredentialsError> {
    let content = std::fs::File::open(path)
        .and_then(|file| bounded(file, MAX_CONFIGURATION_BYTES))
        .map_err(read_error(path))?;
    DockerConfig::parse(&content).map_err(|source| CredentialsError::Configuration {
        path: path.to_owned(),
        source,
    })
}

fn bounded(reader: impl io::Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let length = reader.take(limit + 1).read_to_end(&mut content)?;
    if u64::try_from(length).is_ok_and(|length| length <= limit) {
        Ok(content)
    } else {
        Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("more than {limit} bytes"),
        ))
    }
}

fn read_error(path: &Path) -> impl FnOnce(io::Error) -> CredentialsError + '_ {
    move |source| CredentialsError::Read {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use secrecy::ExposeSecret as _;

    use super::*;

    fn environment<'a>(
        variables: &'a [(&'a str, &'a str)],
    ) -> impl Fn(&str) -> Option<OsString> + 'a {
        move |name| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| OsString::from(value))
        }
    }

    #[test]
    fn files_are_asked_in_the_order_of_containers_auth_json() {
        let variables = [("HOME", "/h"), ("XDG_RUNTIME_DIR", "/r")];
        assert_eq!(
            usual_files(environment(&variables), Some(7)),
            [
                "/r/containers/auth.json",
                "/h/.config/containers/auth.json",
                "/h/.docker/config.json"
            ]
            .map(PathBuf::from)
        );
        let variables = [
            ("HOME", "/h"),
            ("XDG_CONFIG_HOME", "/c"),
            ("DOCKER_CONFIG", "/d"),
        ];
        assert_eq!(
            usual_files(environment(&variables), Some(7)),
            [
                "/run/containers/7/auth.json",
                "/c/containers/auth.json",
                "/d/config.json"
            ]
            .map(PathBuf::from)
        );
        assert_eq!(usual_files(environment(&[]), None), Vec::<PathBuf>::new());
    }

    #[rstest]
    #[case("user:pa:ss\n", Some(("user", "pa:ss")))]
    #[case("user:", Some(("user", "")))]
    #[case("user:password\r\n", Some(("user", "password")))]
    #[case("canary", None)]
    #[case(":canary", None)]
    #[case("user:canary\nmore\n", None)]
    #[case("", None)]
    fn a_file_has_one_pair(#[case] content: &str, #[case] expected: Option<(&str, &str)>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pair");
        std::fs::write(&path, content).unwrap();
        match (Keychain::from_pair(&path), expected) {
            (Ok(Keychain::Fixed(Credentials::Password { username, password })), Some(expected)) => {
                assert_eq!((username.as_str(), password.expose_secret()), expected);
            }
            (Err(error), None) => {
                assert!(!format!("{error} {error:?}").contains("canary"));
            }
            (found, _) => panic!("{found:?}"),
        }
    }

    #[tokio::test]
    async fn the_first_file_that_has_some_decides() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for (name, registry) in [("runtime", "one.test"), ("config", "two.test")] {
            let containers = path(name).join("containers");
            std::fs::create_dir_all(&containers).unwrap();
            let document = serde_json::json!({"auths": {
                registry: {"username": name, "password": "p"},
                "both.test": {"username": name, "password": "p"},
            }});
            std::fs::write(containers.join("auth.json"), document.to_string()).unwrap();
        }
        let keychain = Keychain::of_user(|name| match name {
            "XDG_RUNTIME_DIR" => Some(path("runtime").into()),
            "XDG_CONFIG_HOME" => Some(path("config").into()),
            _ => None,
        })
        .unwrap();
        for (registry, expected) in [
            ("one.test", Some("runtime")),
            ("two.test", Some("config")),
            ("both.test", Some("runtime")),
            ("other.test", None),
        ] {
            let found = keychain
                .credentials_for(&registry.parse().unwrap(), &"a".parse().unwrap())
                .await
                .unwrap();
            let expected = expected.map(|name| Credentials::Password {
                username: name.to_owned(),
                password: "p".into(),
            });
            assert_eq!(found, expected, "{registry}");
        }
    }

    #[test]
    fn a_file_that_was_named_must_be_there() {
        let missing =
            environment(&[("REGISTRY_AUTH_FILE", "/nowhere/auth.json")])("REGISTRY_AUTH_FILE")
                .unwrap();
        let error = Keychain::from_authfile(Path::new(&missing)).unwrap_err();
        assert!(error.to_string().contains("/nowhere/auth.json"));
        assert!(
            Keychain::of_user(environment(&[("REGISTRY_AUTH_FILE", "/nowhere/auth.json")]))
                .is_err()
        );
        assert!(Keychain::of_user(environment(&[("HOME", "/nowhere")])).is_ok());
    }
}
