//! Whether the pod has a user namespace. What asked for one may not have got it: an API server or a node that does not
//! know them leaves the field out, and whoever is root in the pod is root on the node.

use crate::build::{BuildFailure, FailureClass};
use crate::reason::Reason;

const UID_MAP: &str = "/proc/self/uid_map";
/// Of all users there are, as the first user namespace has them.
const ALL_USERS: [&str; 3] = ["0", "0", "4294967295"];

/// Refuses to go on without one.
pub(super) async fn check() -> Result<(), BuildFailure> {
    let map = tokio::fs::read_to_string(UID_MAP).await;
    if map.is_ok_and(|map| is_of_another(&map)) {
        return Ok(());
    }
    Err(BuildFailure {
        class: FailureClass::Infrastructure,
        reason: Reason::UserNamespaceRefused,
        message:
            "the pod was to have a user namespace (hostUsers: false), and the node gave it none"
                .to_owned(),
    })
}

/// Whether the ids of a user namespace are other ones outside of it.
fn is_of_another(map: &str) -> bool {
    let mut lines = map
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let first = lines.next();
    first.is_some_and(|first| first != ALL_USERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_user_namespace_is_none() {
        assert!(!is_of_another("         0          0 4294967295\n"));
        assert!(!is_of_another(""));
        assert!(is_of_another("         0 2903834624      65536\n"));
    }
}
