//! A layer that is only looked at: what it unpacks to, where nothing says so yet.

use std::io::Read;

use super::{BUFFER_BYTES, CodecError, damaged, decoder, unpacking_limit};
use crate::oci::{Digest, LayerCompression};

/// What a layer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// How its bytes are compressed.
    pub compression: LayerCompression,
    /// The digest of what it unpacks to.
    pub diff_id: Digest,
}

/// Reads a layer of `size` bytes to its end. Nothing of it is kept.
pub fn measure(input: impl Read, size: u64) -> Result<Measured, CodecError> {
    let limit = unpacking_limit(size);
    let (compression, mut content) = decoder(input).map_err(damaged(0))?;
    let mut hasher = Digest::sha256_hasher();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut total = 0;
    loop {
        let read = match content.read(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            read => read.map_err(damaged(total))?,
        };
        let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else {
            return Ok(Measured {
                compression,
                diff_id: hasher.finish(),
            });
        };
        total += piece.len() as u64;
        if total > limit {
            return Err(CodecError::Bomb { limit });
        }
        hasher.update(piece);
    }
}
