//! What the end-to-end tests share: the cluster, its registries, and waiting for conditions.
//!
//! It reads the world through tools that have nothing to do with the product: kubectl, kstatus and
//! skopeo.

mod answer;
mod build;
mod chart;
mod cluster;
mod file;
mod git;
mod image;
mod mirror;
mod process;
mod proxy;
mod registry;
mod registry_api;
#[path = "../../tests/support/ssh_server.rs"]
mod ssh_server;
mod tool;
mod wait;

pub(crate) use answer::{ANSWERING_DOCKERFILE, answer};
pub(crate) use build::Build;
pub(crate) use chart::{CHART, upgrade_chart};
pub(crate) use cluster::{Cluster, Namespace, OPERATOR_NAMESPACE};
pub(crate) use file::{FileServer, tar_of};
pub(crate) use git::GitServer;
pub(crate) use image::{BIG_IMAGE, BIG_LAYER_BYTES, push_big_image};
pub(crate) use mirror::{Mirror, conditions, destination_states};
pub(crate) use process::{find_process, kill, peak_resident_bytes};
pub(crate) use proxy::{Cut, Moment, Point, Proxy};
pub(crate) use registry::{ReadOnlyRegistry, Registry, incomplete_tag};
pub(crate) use registry_api::OneLayerImage;
pub(crate) use ssh_server::SshServer;
pub(crate) use tool::{link_plugin, run, run_with_input, try_run};
pub(crate) use wait::eventually;
