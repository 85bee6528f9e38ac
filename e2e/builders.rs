//! The builders: each builds in a real pod, made as `transship::builder` says, in every isolation that it has; and
//! each of its failures is told by its class and reason.
//!
//! The namespaces enforce Pod Security `baseline`: no builder needs more.

mod failures;
mod images;
pub(crate) mod pod;
mod seccomp;
