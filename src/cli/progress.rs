//! How far a copy is: bars on a terminal, lines elsewhere, nothing when told so.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressFinish, ProgressStyle};

use super::output;
use crate::copy::{BlobOutcome, Event, Observer, Unobserved};
use crate::oci::{Descriptor, Digest};

/// Blobs that have a bar of their own; more would push the total off the screen.
const MAX_BARS: usize = 8;
/// Hexadecimal digits that tell blobs apart for the eye.
const SHORT_DIGEST_LENGTH: usize = 12;
const BLOB_TEMPLATE: &str =
    "{prefix} {bar:32} {binary_bytes:>11} / {binary_total_bytes:<11} {binary_bytes_per_sec}";
const TOTAL_TEMPLATE: &str = "{prefix:12} {bar:32} {binary_bytes:>11} / {binary_total_bytes:<11} \
                              {binary_bytes_per_sec}, {eta} left";

/// Whoever shows how far a run is; `quiet` shows nothing.
pub(super) fn observer(quiet: bool) -> Arc<dyn Observer> {
    if quiet {
        Arc::new(Unobserved)
    } else if std::io::stderr().is_terminal() {
        Arc::new(Bars::new())
    } else {
        Arc::new(Lines)
    }
}

/// One line for each blob that has arrived.
#[derive(Debug)]
struct Lines;

impl Observer for Lines {
    fn observe(&self, event: &Event<'_>) {
        if let Event::BlobEnded { digest, outcome } = event
            && let Some(outcome) = arrival(*outcome)
        {
            output::tell(format_args!("{outcome} {digest}"));
        }
    }
}

/// What is worth a line: not what was there, and a failure is told with its image.
const fn arrival(outcome: BlobOutcome) -> Option<&'static str> {
    match outcome {
        BlobOutcome::Sent => Some("sent"),
        BlobOutcome::Mounted => Some("mounted"),
        BlobOutcome::Converted => Some("converted"),
        BlobOutcome::Existing | BlobOutcome::Failed => None,
    }
}

/// A bar for each blob on its way, and one for all of them.
#[derive(Debug)]
struct Bars {
    screen: MultiProgress,
    total: ProgressBar,
    blobs: Mutex<HashMap<Digest, Vec<Transfer>>>,
}

/// One blob on its way to one destination.
#[derive(Debug)]
struct Transfer {
    bar: Option<ProgressBar>,
    size: u64,
    done: u64,
}

impl Bars {
    fn new() -> Self {
        let screen = MultiProgress::new();
        let total = screen.add(
            ProgressBar::new(0)
                .with_style(style(TOTAL_TEMPLATE))
                .with_prefix("total")
                .with_finish(ProgressFinish::AndClear),
        );
        Self {
            screen,
            total,
            blobs: Mutex::default(),
        }
    }

    fn start(&self, blob: &Descriptor) {
        let mut blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        let shown: usize = blobs
            .values()
            .flatten()
            .filter(|transfer| transfer.bar.is_some())
            .count();
        let bar = (shown < MAX_BARS).then(|| {
            let bar = ProgressBar::new(blob.size)
                .with_style(style(BLOB_TEMPLATE))
                .with_prefix(short(&blob.digest));
            self.screen.insert_before(&self.total, bar)
        });
        self.total.inc_length(blob.size);
        blobs
            .entry(blob.digest.clone())
            .or_default()
            .push(Transfer {
                bar,
                size: blob.size,
                done: 0,
            });
    }

    fn advance(&self, digest: &Digest, bytes: u64) {
        let mut blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        let transfers = blobs.get_mut(digest);
        if let Some(transfer) = transfers.and_then(|transfers| transfers.last_mut()) {
            // What is sent again does not count twice.
            let bytes = bytes.min(transfer.size - transfer.done);
            transfer.done += bytes;
            self.total.inc(bytes);
            if let Some(bar) = &transfer.bar {
                bar.inc(bytes);
            }
        }
    }

    fn end(&self, digest: &Digest, outcome: BlobOutcome) {
        let mut blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(transfer) = blobs.get_mut(digest).and_then(Vec::pop) else {
            return;
        };
        if let Some(bar) = &transfer.bar {
            bar.finish_and_clear();
            self.screen.remove(bar);
        }
        if matches!(outcome, BlobOutcome::Sent | BlobOutcome::Converted) {
            self.total.inc(transfer.size - transfer.done);
        } else {
            // It cost nothing, or is to be started again: it has no part in rate and time left.
            self.total.dec(transfer.done);
            self.total.dec_length(transfer.size);
        }
    }
}

impl Observer for Bars {
    fn observe(&self, event: &Event<'_>) {
        match event {
            Event::BlobStarted { blob, .. } => self.start(blob),
            Event::BlobBytes { digest, bytes } => self.advance(digest, *bytes),
            Event::BlobEnded { digest, outcome } => self.end(digest, *outcome),
            Event::ImageEnded { .. } => self.total.tick(),
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        // The screen is the user's again, also after an interruption.
        let _ = self.screen.clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    // A template that cannot be parsed falls back to a plain bar.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn short(digest: &Digest) -> String {
    digest
        .as_str()
        .split(':')
        .next_back()
        .unwrap_or_default()
        .chars()
        .take(SHORT_DIGEST_LENGTH)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::MediaType;

    fn blob(content: &[u8]) -> Descriptor {
        Descriptor::new(
            MediaType::new(MediaType::OCI_LAYER),
            Digest::sha256(content),
            100,
        )
    }

    #[test]
    fn the_total_counts_what_is_sent_and_nothing_else() {
        let bars = Bars::new();
        let (sent, mounted) = (blob(b"sent"), blob(b"mounted"));
        for blob in [&sent, &mounted] {
            bars.observe(&Event::BlobStarted {
                blob,
                destination: "registry.test/a",
            });
        }
        assert_eq!(bars.total.length(), Some(200));
        bars.observe(&Event::BlobBytes {
            digest: &sent.digest,
            bytes: 70,
        });
        // Sent again from the start after a failure.
        bars.observe(&Event::BlobBytes {
            digest: &sent.digest,
            bytes: 70,
        });
        assert_eq!(bars.total.position(), 100);
        for (blob, outcome) in [
            (&mounted, BlobOutcome::Mounted),
            (&sent, BlobOutcome::Sent),
            (&sent, BlobOutcome::Sent),
        ] {
            bars.observe(&Event::BlobEnded {
                digest: &blob.digest,
                outcome,
            });
        }
        assert_eq!(
            (bars.total.position(), bars.total.length()),
            (100, Some(100))
        );
    }

    #[test]
    fn only_so_many_blobs_have_a_bar() {
        let bars = Bars::new();
        for number in 0..20_u8 {
            bars.start(&blob(&[number]));
        }
        let blobs = bars.blobs.lock().unwrap();
        let shown = blobs.values().flatten().filter(|one| one.bar.is_some());
        assert_eq!(shown.count(), MAX_BARS);
        assert_eq!(short(&Digest::sha256(b"")), "e3b0c44298fc");
    }
}
