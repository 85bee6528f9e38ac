//! The copy engine against real registries, and against one that counts and misbehaves.

mod bandwidth;
mod cases;
mod commits;
mod conversion;
mod dialects;
mod existing;
mod fault_storm;
mod images;
mod platforms;
mod referrers;
mod requests;
mod scene;
mod shapes;
mod strict;
