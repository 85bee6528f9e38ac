//! Content digests: `sha256:<64 hex>` and `sha512:<128 hex>` (image-spec, descriptor.md, "Digests").
//!
//! The grammar is stricter than the specification's: only the registered algorithms that every
//! client computes, only lower-case hexadecimal, exact lengths. A digest is therefore always safe
//! inside a URL or a file name.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

const SHA256_OF_NOTHING: &str =
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const SHA512_OF_NOTHING: &str = "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
     47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e";

/// A digest that has passed the grammar.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// Why a string is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// Neither `sha256:` nor `sha512:` in front.
    #[error("unsupported digest algorithm: expected sha256 or sha512")]
    Algorithm,
    /// Wrong length, or something else than lower-case hexadecimal.
    #[error("malformed digest: expected {0} lower-case hexadecimal characters after the algorithm")]
    Encoded(usize),
}

/// The hash functions a digest may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    const fn hex_length(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256:",
            Self::Sha512 => "sha512:",
        }
    }

    fn function(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha512 => &digest::SHA512,
        }
    }
}

impl Digest {
    /// The SHA-256 digest of `content`.
    #[must_use]
    pub fn sha256(content: &[u8]) -> Self {
        let mut hasher = Self::sha256_hasher();
        hasher.update(content);
        hasher.finish()
    }

    /// A hasher for content that has no digest yet.
    #[must_use]
    pub fn sha256_hasher() -> Hasher {
        Hasher::new(Algorithm::Sha256)
    }

    /// A hasher for the algorithm that this digest names, to verify content against it.
    #[must_use]
    pub fn hasher(&self) -> Hasher {
        Hasher::new(self.algorithm())
    }

    /// Whether `content` hashes to this digest.
    #[must_use]
    pub fn matches(&self, content: &[u8]) -> bool {
        let mut hasher = self.hasher();
        hasher.update(content);
        hasher.finish() == *self
    }

    /// The digest as it is written in URLs and descriptors.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the digest of no bytes at all.
    pub(super) fn is_of_nothing(&self) -> bool {
        matches!(self.as_str(), SHA256_OF_NOTHING | SHA512_OF_NOTHING)
    }

    fn algorithm(&self) -> Algorithm {
        if self.0.starts_with(Algorithm::Sha512.prefix()) {
            Algorithm::Sha512
        } else {
            Algorithm::Sha256
        }
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            if let Some(encoded) = text.strip_prefix(algorithm.prefix()) {
                let valid = encoded.len() == algorithm.hex_length()
                    && encoded
                        .bytes()
                        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
                return if valid {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(DigestError::Encoded(algorithm.hex_length()))
                };
            }
        }
        Err(DigestError::Algorithm)
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Hashes content that passes by in pieces; obtained from [`Digest::hasher`].
#[derive(Clone)]
pub struct Hasher {
    algorithm: Algorithm,
    context: digest::Context,
}

impl Hasher {
    fn new(algorithm: Algorithm) -> Self {
        Self {
            algorithm,
            context: digest::Context::new(algorithm.function()),
        }
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// The digest of everything added.
    #[must_use]
    pub fn finish(self) -> Digest {
        use fmt::Write as _;

        let mut text =
            String::with_capacity(self.algorithm.prefix().len() + self.algorithm.hex_length());
        text.push_str(self.algorithm.prefix());
        for byte in self.context.finish().as_ref() {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Digest(text)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn digest_of_nothing_is_the_known_one() {
        assert_eq!(Digest::sha256(b"").as_str(), SHA256_OF_NOTHING);
        for text in [SHA256_OF_NOTHING, SHA512_OF_NOTHING] {
            let digest: Digest = text.parse().unwrap();
            assert!(digest.matches(b"") && !digest.matches(b"x"));
            assert!(digest.is_of_nothing());
        }
        assert!(!Digest::sha256(b"x").is_of_nothing());
    }

    #[test]
    fn sha512_is_verified_with_sha512() {
        let digest: Digest = format!(
            "sha512:{}{}",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a",
            "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        )
        .parse()
        .unwrap();
        assert!(digest.matches(b"abc"));
    }

    #[rstest]
    #[case::empty("", DigestError::Algorithm)]
    #[case::no_algorithm("e3b0c442", DigestError::Algorithm)]
    #[case::weak_algorithm("md5:d41d8cd98f00b204e9800998ecf8427e", DigestError::Algorithm)]
    #[case::upper_case_algorithm("SHA256:00", DigestError::Algorithm)]
    #[case::short("sha256:00", DigestError::Encoded(64))]
    #[case::traversal("sha256:../../etc/passwd", DigestError::Encoded(64))]
    #[case::sha512_with_the_length_of_sha256(
        "sha512:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        DigestError::Encoded(128)
    )]
    #[case::upper_case(
        "sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
        DigestError::Encoded(64)
    )]
    fn malformed_digests_are_refused(#[case] text: &str, #[case] expected: DigestError) {
        assert_eq!(text.parse::<Digest>(), Err(expected));
    }
}
