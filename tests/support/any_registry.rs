//! The registries that the tests of the protocol run against, by name.

use std::process::{Child, Command, Stdio};

use super::docker_registry::{DockerRegistry, Settings, wait_until_listening};
use super::registry::Registry;
use super::tools::tool;

/// A kind of registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The one of these tests, without any fault.
    Fake,
    /// Debian's docker-registry 2.8.
    DockerRegistry,
    /// CNCF Distribution 3.1.
    Distribution,
    /// The one in memory of cuelabs' ociregistry.
    Ocimem,
}

/// A running registry of some kind, empty at first; dropping it ends it.
pub(crate) enum AnyRegistry {
    Fake(Registry),
    Docker(DockerRegistry),
    Ocimem(Ocimem),
}

impl AnyRegistry {
    pub(crate) async fn start(kind: Kind) -> Self {
        match kind {
            Kind::Fake => Self::Fake(Registry::start().await),
            Kind::DockerRegistry => Self::Docker(DockerRegistry::plain()),
            Kind::Distribution => Self::Docker(DockerRegistry::start(&Settings {
                program: Some(tool("registry")),
                ..Settings::default()
            })),
            Kind::Ocimem => Self::Ocimem(Ocimem::start()),
        }
    }

    /// `ADDRESS:PORT`
    pub(crate) fn host(&self) -> &str {
        match self {
            Self::Fake(registry) => registry.host(),
            Self::Docker(registry) => registry.host(),
            Self::Ocimem(registry) => &registry.host,
        }
    }
}

/// A process of ocimem.
pub(crate) struct Ocimem {
    child: Child,
    host: String,
}

impl Ocimem {
    fn start() -> Self {
        let mut child = Command::new(tool("ocimem"))
            .arg("127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let host = wait_until_listening(child.stderr.take().unwrap());
        Self { child, host }
    }
}

impl Drop for Ocimem {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
