//! The binary as people use it.

mod help;
mod images;
