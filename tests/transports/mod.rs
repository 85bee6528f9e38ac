//! Places other than registries, compared with what other tools make of them.

mod docker;
mod docker_daemon;
mod docker_hostile;
pub(crate) mod images;
mod layout_hostile;
mod layouts;
mod matrix;
mod matrix_shapes;
mod readings;
mod schema1;
