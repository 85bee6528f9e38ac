//! Values as compressed JSON, for objects of Kubernetes, of which each has room for a mebibyte.

use std::io::{self, Read as _};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The level of zstd: these are small, and are written seldom.
const LEVEL: i32 = 9;

/// Why a value cannot be packed or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// It is no zstd frame, or is cut.
    #[error("not compressed with zstd, or damaged")]
    Compression(#[from] io::Error),
    /// It has no JSON form, or is another kind of value.
    #[error("malformed JSON")]
    Json(#[from] serde_json::Error),
    /// It would take more memory than anything that was packed.
    #[error("more than {0} bytes when unpacked")]
    TooLarge(u64),
}

/// Packs a value. The same value always becomes the same bytes.
pub fn pack<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, PackError> {
    Ok(zstd::encode_all(&serde_json::to_vec(value)?[..], LEVEL)?)
}

/// Unpacks a value of at most `limit` bytes of JSON.
pub fn unpack<T: DeserializeOwned>(packed: &[u8], limit: u64) -> Result<T, PackError> {
    let mut json = Vec::new();
    let mut decoder = zstd::stream::read::Decoder::new(packed)?.take(limit + 1);
    decoder.read_to_end(&mut json)?;
    if json.len() as u64 > limit {
        return Err(PackError::TooLarge(limit));
    }
    Ok(serde_json::from_slice(&json)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_again() {
        let value = vec!["a".repeat(1000), "b".to_owned()];
        let packed = pack(&value).unwrap();
        assert!(packed.len() < 100);
        assert_eq!(unpack::<Vec<String>>(&packed, 2000).unwrap(), value);
    }

    #[test]
    fn a_bomb_is_not_unpacked_to_its_end() {
        let packed = pack(&"a".repeat(1_000_000)).unwrap();
        let error = unpack::<String>(&packed, 1000).unwrap_err();
        assert!(matches!(error, PackError::TooLarge(1000)), "{error}");
    }

    #[test]
    fn what_was_not_packed_is_refused() {
        assert!(matches!(
            unpack::<String>(b"plain", 1000),
            Err(PackError::Compression(_))
        ));
        let number = pack(&1).unwrap();
        assert!(matches!(
            unpack::<String>(&number, 1000),
            Err(PackError::Json(_))
        ));
    }
}
