//! Archives that are read where they lie, without unpacking them.

pub(super) mod tar_index;
