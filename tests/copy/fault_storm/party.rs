//! A registry of a schedule: what it is like, drawn at random, and how it is reached.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tempfile::TempDir;
use transship::registry::{Access, Certificates, Client, Patience};
use transship::transport::RegistryRepository;

use crate::support::registry::{Dialect, Random, Registry, Role};
use crate::support::tls::Authority;
use crate::support::{credentials, install_tls_provider};

const USER: &str = "storm";
const PASSWORD: &str = "a password";

static AUTHORITY: LazyLock<Authority> = LazyLock::new(Authority::new);

/// A registry with what is needed to use and to disturb it.
pub(super) struct Party {
    pub(super) registry: Registry,
    pub(super) dialect: Option<Dialect>,
    pub(super) role: Role,
    pub(super) access: Access,
    /// The client of those runs that do not make one of their own.
    pub(super) client: Client,
}

impl Party {
    pub(super) async fn draw(random: &mut Random, role: Role) -> Self {
        install_tls_provider();
        let mut builder = Registry::builder();
        let mut access = Access {
            insecure: true,
            ..Access::default()
        };
        let dialect = random.one_in(4).then(|| random.pick(&Dialect::ALL));
        if let Some(dialect) = dialect {
            builder = builder.dialect(dialect);
        }
        if role == Role::Permissive {
            builder = builder.permissive();
        }
        let guard = random.below(8);
        builder = match guard {
            0 => builder.basic(USER, PASSWORD),
            1 | 2 => builder.token(USER, PASSWORD),
            _ => builder,
        };
        if guard <= 2 {
            access.credentials = Some(credentials(USER, PASSWORD));
        }
        if random.one_in(16) {
            builder = builder.tls(&AUTHORITY);
            access.insecure = false;
            access.certificates = Certificates {
                ca_bundle: Some(AUTHORITY.certificate().into_bytes()),
                identity: None,
            };
        }
        let registry = builder.start().await;
        Self {
            client: client(&registry, &access, None),
            registry,
            dialect,
            role,
            access,
        }
    }

    pub(super) fn place(&self, client: &Client, repository: &str) -> Arc<RegistryRepository> {
        Arc::new(RegistryRepository::new(
            client.clone(),
            self.registry.host().parse().unwrap(),
            repository.parse().unwrap(),
        ))
    }
}

pub(super) fn client(registry: &Registry, access: &Access, state: Option<&TempDir>) -> Client {
    let patience = Patience {
        first_wait: Duration::from_millis(1),
        attempts: 3,
        ..Patience::default()
    };
    let client =
        Client::with_patience(&registry.host().parse().unwrap(), access, patience).unwrap();
    match state {
        Some(state) => client.saving_uploads_in(state.path().to_owned()),
        None => client,
    }
}
