//! Registry clients that outlive one piece of work: who asks a registry again, with the same rights, finds the
//! connection open, the token valid and the limits known.
//!
//! A client is found by what its credentials and certificates are, never by how they are called.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::oci::RegistryHost;
use crate::registry::{Access, Client, Error, Patience};

/// Clients that are kept. One without an open connection takes some kilobytes.
const MAX_CLIENTS: usize = 512;
/// How long a client is used: what it has learnt about a registry may have changed, and a Secret that is gone
/// should not stay in memory for ever.
const MAX_AGE: Duration = Duration::from_mins(10);

/// Clients by registry and rights.
#[derive(Debug)]
pub struct ClientPool {
    patience: Patience,
    clients: Mutex<HashMap<RegistryHost, Vec<Pooled>>>,
}

#[derive(Debug)]
struct Pooled {
    access: Access,
    client: Client,
    made_at: Instant,
}

impl ClientPool {
    /// An empty pool, whose clients wait and repeat as `patience` says.
    #[must_use]
    pub fn new(patience: Patience) -> Self {
        Self {
            patience,
            clients: Mutex::default(),
        }
    }

    /// The client for a registry with these rights.
    pub fn get(&self, registry: &RegistryHost, access: &Access) -> Result<Client, Error> {
        let now = Instant::now();
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let of_registry = clients.get(registry).into_iter().flatten();
        let known = of_registry
            .filter(|pooled| is_young(pooled, now))
            .find(|pooled| pooled.access == *access);
        if let Some(known) = known {
            return Ok(known.client.clone());
        }
        let client = Client::with_patience(registry, access, self.patience.clone())?;
        make_room(&mut clients, now);
        clients.entry(registry.clone()).or_default().push(Pooled {
            access: access.clone(),
            client: client.clone(),
            made_at: now,
        });
        Ok(client)
    }
}

fn is_young(pooled: &Pooled, now: Instant) -> bool {
    now.saturating_duration_since(pooled.made_at) < MAX_AGE
}

/// Drops what is old, and half of the rest when there is no room for another one. Whoever uses a client that is
/// dropped keeps it until it is done.
fn make_room(clients: &mut HashMap<RegistryHost, Vec<Pooled>>, now: Instant) {
    let mut times: Vec<_> = clients
        .values()
        .flatten()
        .filter(|pooled| is_young(pooled, now))
        .map(|pooled| pooled.made_at)
        .collect();
    times.sort_unstable();
    let oldest = times
        .get(MAX_CLIENTS / 2)
        .filter(|_| times.len() >= MAX_CLIENTS);
    clients.retain(|_, pooled| {
        pooled.retain(|pooled| {
            is_young(pooled, now) && oldest.is_none_or(|oldest| pooled.made_at > *oldest)
        });
        !pooled.is_empty()
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Credentials;

    fn pool() -> ClientPool {
        // A second installation fails, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        ClientPool::new(Patience::default())
    }

    fn access(password: &str) -> Access {
        Access {
            credentials: Some(Credentials::Password {
                username: "user".to_owned(),
                password: password.into(),
            }),
            insecure: true,
            ..Access::default()
        }
    }

    fn pooled(pool: &ClientPool) -> usize {
        pool.clients.lock().unwrap().values().flatten().count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_shared_by_those_with_the_same_rights_for_a_while() {
        let pool = pool();
        let [one, two] = ["one.test", "two.test"].map(|host| host.parse().unwrap());
        for (registry, access, clients) in [
            (&one, access("a"), 1),
            (&one, access("a"), 1),
            (&one, access("b"), 2),
            (&one, Access::default(), 3),
            (&two, access("a"), 4),
            (&one, access("b"), 4),
        ] {
            pool.get(registry, &access).unwrap();
            assert_eq!(pooled(&pool), clients);
        }
        tokio::time::advance(MAX_AGE).await;
        pool.get(&one, &access("a")).unwrap();
        assert_eq!(pooled(&pool), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_room_for_so_many_clients() {
        let pool = pool();
        for number in 0..=MAX_CLIENTS {
            let registry = format!("registry-{number}.test").parse().unwrap();
            pool.get(&registry, &access("a")).unwrap();
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(pooled(&pool) <= MAX_CLIENTS);
        }
        assert_eq!(pooled(&pool), MAX_CLIENTS / 2);
    }
}
