//! Who controls an object.

use kube::ResourceExt;

/// Whether the controller of an object is the one with this UID: a name may have been taken by another one.
#[must_use]
pub fn is_controlled_by(object: &impl ResourceExt, uid: &str) -> bool {
    object
        .owner_references()
        .iter()
        .any(|owner| owner.uid == uid && owner.controller == Some(true))
}
