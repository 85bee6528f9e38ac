//! How objects name Secrets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Secret in the namespace of the object that names it; there is no way to name another one.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema, Serialize, Deserialize,
)]
pub struct SecretReference {
    /// The name of the Secret, for example `registry-push`.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,
}
