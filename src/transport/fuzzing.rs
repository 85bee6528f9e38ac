//! What must hold for any archive or layout whatsoever; see `crate::fuzzing`.

use std::io::Write as _;

use bytes::Bytes;

use super::archive::TarIndex;
use super::layout::Table;

/// The index of a layout that is read is read again when it was written.
pub(crate) fn layout_index(input: &[u8]) {
    let Ok(table) = Table::parse(Bytes::copy_from_slice(input)) else {
        return;
    };
    let digests: Vec<_> = table.digests().cloned().collect();
    let written = table.to_bytes().ok();
    let again = written.and_then(|bytes| Table::parse(bytes).ok());
    // Only the limit for the size of the document can be exceeded by writing it.
    if let Some(again) = again {
        assert!(again.digests().eq(&digests));
        assert_eq!(again.tags(), table.tags());
    } else {
        assert!(input.len() > 1024 * 1024);
    }
}

/// Whatever a tar file says, what is found in it lies in it, under a name that leads nowhere else.
pub(crate) fn tar(input: &[u8]) {
    let Ok(mut file) = tempfile::tempfile() else {
        return;
    };
    if file.write_all(input).is_err() {
        return;
    }
    let Ok(index) = TarIndex::read(&file) else {
        return;
    };
    for name in index.names() {
        assert!(!name.starts_with('/') && !name.split('/').any(|part| part == ".."));
        if let Ok(Some(extent)) = index.file(name) {
            assert!(extent.offset + extent.size <= input.len() as u64);
        }
    }
}
