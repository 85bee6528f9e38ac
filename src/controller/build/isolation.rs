//! With which builders, and how they are kept apart from nodes. Pure, but for what was learned of nodes.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::api::{BuilderType, Isolation};
use crate::builder::{self, SeccompFilter};
use crate::controller::later;

/// How long it is remembered that nodes have no user namespaces for pods: somebody may upgrade them.
const MEMORY: Duration = Duration::from_hours(1);

/// How builders are configured.
#[derive(Clone, Debug)]
pub(crate) struct Builders {
    /// The image of each builder that can be used without naming one.
    pub(crate) images: BTreeMap<BuilderType, String>,
    /// The image of what finds out what is in an image, if builds may want that.
    pub(crate) scanner: Option<String>,
    /// The filter of system calls for builders that mount.
    pub(crate) seccomp: SeccompFilter,
}

/// Whether pods get a user namespace, as far as builds have found out. The build itself is the proof: what a Node says
/// of itself is not.
#[derive(Debug, Default)]
pub(crate) struct UserNamespaces(Mutex<Option<Timestamp>>);

impl UserNamespaces {
    /// The isolation to try.
    pub(super) fn choose(&self, wanted: Isolation, now: Timestamp) -> builder::Isolation {
        let refused = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_refused = refused.is_some_and(|until| now < until);
        match wanted {
            Isolation::UserNamespace => builder::Isolation::UserNamespace,
            Isolation::Auto if !is_refused => builder::Isolation::UserNamespace,
            Isolation::Auto | Isolation::Rootless => builder::Isolation::Rootless,
        }
    }

    /// A build has found out that there are none.
    pub(super) fn refused(&self, now: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(later(now, MEMORY));
    }
}

/// As the status shows it.
pub(super) const fn shown(isolation: builder::Isolation) -> Isolation {
    match isolation {
        builder::Isolation::UserNamespace => Isolation::UserNamespace,
        builder::Isolation::Rootless => Isolation::Rootless,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_takes_the_best_that_nodes_have() {
        let namespaces = UserNamespaces::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        let chosen = |wanted, second| namespaces.choose(wanted, at(second));
        assert_eq!(
            chosen(Isolation::Auto, 0),
            builder::Isolation::UserNamespace
        );
        namespaces.refused(at(0));
        assert_eq!(chosen(Isolation::Auto, 10), builder::Isolation::Rootless);
        assert_eq!(
            chosen(Isolation::UserNamespace, 10),
            builder::Isolation::UserNamespace
        );
        assert_eq!(
            chosen(Isolation::Auto, 3601),
            builder::Isolation::UserNamespace
        );
    }
}
