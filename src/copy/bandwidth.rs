//! A limit on how fast the bytes of blobs pass.
//!
//! A byte counts once, when it is read to be sent on: at the source, so that what comes in and what
//! goes out are each within the limit. A layer that is converted counts when it is read and, in its
//! new form, when it is sent. Manifests do not count.
//!
//! Crates that limit rates let those who wait try again when they wake up, so that a stream can lose
//! every time. Here each piece is given its time when it asks, in the order of asking, and pieces are
//! small, so that no connection stands still long enough to be given up.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::oci::Descriptor;
use crate::transport::{BlobReader, ByteStream};

/// The least limit: with [`PIECE_BYTES`], all blobs that are in flight get a piece every few seconds.
const LEAST_BYTES_PER_SECOND: u64 = 64 * 1024;
/// Most bytes that pass at once.
const PIECE_BYTES: usize = 16 * 1024;
/// How much of what was not used may be used later. It is more than timers are late.
const BURST: Duration = Duration::from_millis(50);
/// The suffixes of a quantity in Kubernetes that mean something for bytes.
const UNITS: [(&str, u64); 8] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
];

/// Bytes per second, at least 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Bandwidth(NonZeroU64);

/// Why a text is no [`Bandwidth`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BandwidthError {
    /// It is no number with a unit.
    #[error("it is not a number of bytes per second like 20Mi, 500k or 1Gi")]
    Malformed,
    /// Connections would be given up.
    #[error("less than 64Ki does not keep the connections alive")]
    TooLow,
}

impl FromStr for Bandwidth {
    type Err = BandwidthError;

    /// Reads an integer with or without one of the units Ki, Mi, Gi, Ti, k, M, G and T.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (digits, unit) = UNITS
            .iter()
            .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, *unit)))
            .unwrap_or((text, 1));
        // `parse` takes a sign, too.
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BandwidthError::Malformed);
        }
        let number: u64 = digits.parse().map_err(|_| BandwidthError::Malformed)?;
        let bytes = number.checked_mul(unit).ok_or(BandwidthError::Malformed)?;
        Self::try_from(bytes)
    }
}

impl TryFrom<u64> for Bandwidth {
    type Error = BandwidthError;

    fn try_from(bytes: u64) -> Result<Self, Self::Error> {
        NonZeroU64::new(bytes)
            .filter(|bytes| bytes.get() >= LEAST_BYTES_PER_SECOND)
            .map(Self)
            .ok_or(BandwidthError::TooLow)
    }
}

impl From<Bandwidth> for u64 {
    fn from(bandwidth: Bandwidth) -> Self {
        bandwidth.0.get()
    }
}

impl Bandwidth {
    /// How long this many bytes take.
    fn time_of(self, bytes: u64) -> Duration {
        let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(self.0.get());
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

/// When the next bytes may pass.
#[derive(Debug)]
struct Schedule {
    bandwidth: Bandwidth,
    /// When everything has passed that has asked, on the clock of whoever asks.
    free: Duration,
}

impl Schedule {
    /// The time from which on `bytes` may pass, if they are asked for `now`.
    fn reserve(&mut self, bytes: u64, now: Duration) -> Duration {
        let start = self.free.max(now.saturating_sub(BURST));
        self.free = start.saturating_add(self.bandwidth.time_of(bytes));
        start
    }
}

/// Lets the bytes of all blobs of a run pass, one after the other.
pub(super) struct Limiter {
    begin: Instant,
    schedule: Mutex<Schedule>,
}

impl fmt::Debug for Limiter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Limiter").finish_non_exhaustive()
    }
}

impl Limiter {
    pub(super) fn new(bandwidth: Bandwidth) -> Self {
        Self {
            begin: Instant::now(),
            schedule: Mutex::new(Schedule {
                bandwidth,
                free: Duration::ZERO,
            }),
        }
    }

    async fn pass(&self, piece: &Bytes) {
        let start = {
            let mut schedule = self.schedule.lock().unwrap_or_else(PoisonError::into_inner);
            schedule.reserve(piece.len() as u64, self.begin.elapsed())
        };
        // The first poll of a sleep that is over already does not wait.
        tokio::time::sleep_until(self.begin + start).await;
    }

    /// `content`, no faster than its share.
    fn limit(self: Arc<Self>, content: ByteStream) -> ByteStream {
        content
            .map_ok(|bytes| stream::iter(pieces(bytes).map(Ok)))
            .try_flatten()
            .and_then(move |piece| {
                let limiter = Arc::clone(&self);
                async move {
                    limiter.pass(&piece).await;
                    Ok(piece)
                }
            })
            .boxed()
    }
}

/// `bytes` in pieces that are small enough to take turns.
fn pieces(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
        (!piece.is_empty()).then_some(piece)
    })
}

/// What `reader` reads, no faster than `limiter` allows, if there is one.
pub(super) fn limited(
    reader: Arc<dyn BlobReader>,
    limiter: Option<&Arc<Limiter>>,
) -> Arc<dyn BlobReader> {
    match limiter {
        Some(limiter) => Arc::new(Limited {
            reader,
            limiter: Arc::clone(limiter),
        }),
        None => reader,
    }
}

#[derive(Debug)]
struct Limited {
    reader: Arc<dyn BlobReader>,
    limiter: Arc<Limiter>,
}

impl BlobReader for Limited {
    fn place(&self) -> String {
        self.reader.place()
    }

    fn read(&self, blob: &Descriptor, offset: u64) -> ByteStream {
        Arc::clone(&self.limiter).limit(self.reader.read(blob, offset))
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join;
    use rstest::rstest;

    use super::*;
    use crate::transport::Error;

    const MIB: u64 = 1024 * 1024;

    #[rstest]
    #[case("20Mi", Ok(20 * MIB))]
    #[case("500k", Ok(500_000))]
    #[case("65536", Ok(65_536))]
    #[case("1Gi", Ok(1024 * MIB))]
    #[case("65535", Err(BandwidthError::TooLow))]
    #[case("0", Err(BandwidthError::TooLow))]
    #[case("", Err(BandwidthError::Malformed))]
    #[case("Mi", Err(BandwidthError::Malformed))]
    #[case("-1Mi", Err(BandwidthError::Malformed))]
    #[case("+1Mi", Err(BandwidthError::Malformed))]
    #[case("1.5Mi", Err(BandwidthError::Malformed))]
    #[case("20 Mi", Err(BandwidthError::Malformed))]
    #[case("20MB", Err(BandwidthError::Malformed))]
    #[case("18446744073709551615Ti", Err(BandwidthError::Malformed))]
    fn a_bandwidth_is_a_quantity(
        #[case] text: &str,
        #[case] expected: Result<u64, BandwidthError>,
    ) {
        let parsed = text.parse::<Bandwidth>().map(|bandwidth| bandwidth.0.get());
        assert_eq!(parsed, expected);
    }

    #[test]
    fn what_is_not_used_is_lost_but_for_a_burst() {
        let second = Duration::from_secs(1);
        let mut schedule = Schedule {
            bandwidth: "1Mi".parse().unwrap(),
            free: Duration::ZERO,
        };
        assert_eq!(schedule.reserve(MIB, Duration::ZERO), Duration::ZERO);
        assert_eq!(schedule.reserve(MIB, Duration::ZERO), second);
        assert_eq!(schedule.reserve(MIB, 2 * second), 2 * second);
        assert_eq!(schedule.reserve(MIB, 60 * second) + BURST, 60 * second);
    }

    fn stream_of(pieces: usize) -> ByteStream {
        stream::iter(
            vec![Ok(Bytes::from(vec![7; 100_000])); pieces]
                .into_iter()
                .map(|piece: Result<Bytes, ()>| {
                    piece.map_err(|()| Error::NotFound {
                        place: String::new(),
                        wanted: String::new(),
                    })
                }),
        )
        .boxed()
    }

    /// How many bytes came, and when the last of them did.
    async fn read(mut content: ByteStream) -> (usize, Instant) {
        let mut bytes = 0;
        while let Some(piece) = content.try_next().await.unwrap() {
            assert!(piece.len() <= PIECE_BYTES);
            bytes += piece.len();
        }
        (bytes, Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn all_streams_together_take_the_time_and_share_it() {
        let limiter = Arc::new(Limiter::new("1M".parse().unwrap()));
        let begin = Instant::now();
        let content = |pieces| Arc::clone(&limiter).limit(stream_of(pieces));
        // 4 MB in all. Taking turns, the short stream ends after about twice its own time.
        let ((long, last), (short, first)) = join(read(content(30)), read(content(10))).await;
        assert_eq!((long, short), (3_000_000, 1_000_000));
        let is_about = |seconds, end: Instant| {
            let difference = (end - begin).abs_diff(Duration::from_secs(seconds));
            difference < Duration::from_millis(100)
        };
        assert!(is_about(4, last), "{:?}", last - begin);
        assert!(is_about(2, first), "{:?}", first - begin);
    }
}
