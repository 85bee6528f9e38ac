//! The copy engine between real registries.

mod images;
