//! `ImageBuild` from end to end: a spec is applied, and the registry holds an image that runs; or the status says
//! why it does not.

mod attestation;
mod bad_input;
mod counted;
mod crash;
mod failures;
mod guide;
mod images;
mod mirrored;
mod platforms;
mod pod_security;
mod probes;
mod repetition;
mod seccomp_profile;
mod sources;
mod triggers;
pub(crate) mod workshop;
