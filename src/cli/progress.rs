//! How far a copy is: bars on a terminal, lines elsewhere, nothing when told so.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

use super::output;
use crate::copy::{BlobOutcome, Event, Observer, Unobserved};
use crate::oci::{Descriptor, Digest};

/// Blobs that have a bar of their own; more would push the total off the screen.
const MAX_BARS: usize = 8;
/// Hexadecimal digits that tell blobs apart for the eye.
const SHORT_DIGEST_LENGTH: usize = 12;
/// Columns of a bar where there is room.
const BAR_WIDTH: usize = 32;
/// Columns of the shortest bar that says something.
const LEAST_BAR_WIDTH: usize = 8;
/// Columns of a line beside its bar: digest, bytes, rate, time left.
const FIGURES_WIDTH: usize = 67;
/// Columns of a line without bytes.
const SHARE_WIDTH: usize = 40;
/// Columns of a terminal that does not say.
const USUAL_WIDTH: usize = 80;

/// Whoever shows how far a run is.
#[derive(Debug)]
pub(super) struct Progress {
    observer: Arc<dyn Observer>,
    bars: Option<Arc<Bars>>,
}

impl Progress {
    /// Bars on a terminal, lines elsewhere; `quiet` shows nothing.
    pub(super) fn new(quiet: bool) -> Self {
        if quiet {
            return Self {
                observer: Arc::new(Unobserved),
                bars: None,
            };
        }
        if !std::io::stderr().is_terminal() {
            return Self {
                observer: Arc::new(Lines),
                bars: None,
            };
        }
        let width = output::width_of_stderr().unwrap_or(USUAL_WIDTH);
        let bars = Arc::new(Bars::new(MultiProgress::new(), width));
        Self {
            observer: Arc::clone(&bars) as Arc<dyn Observer>,
            bars: Some(bars),
        }
    }

    /// What the engine tells of its steps.
    pub(super) fn observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.observer)
    }

    /// Writes something while the bars stand aside.
    pub(super) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bars {
            Some(bars) => bars.screen.suspend(write),
            None => write(),
        }
    }

    /// Gives the screen back. Requests that were broken off may go on to report for a moment; nothing
    /// of that is shown.
    pub(super) fn close(&self) {
        if let Some(bars) = &self.bars {
            bars.close();
        }
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
        BlobOutcome::Existing | BlobOutcome::Verified | BlobOutcome::Failed => None,
    }
}

/// A bar for each blob on its way, and one for all of them.
#[derive(Debug)]
struct Bars {
    screen: MultiProgress,
    total: ProgressBar,
    width: usize,
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
    fn new(screen: MultiProgress, width: usize) -> Self {
        let total = screen.add(
            ProgressBar::new(0)
                .with_style(style(width))
                .with_prefix("total")
                .with_finish(ProgressFinish::AndClear),
        );
        Self {
            screen,
            total,
            width,
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
                .with_style(style(self.width))
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

    fn close(&self) {
        let blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        for bar in blobs.values().flatten().filter_map(|one| one.bar.as_ref()) {
            bar.finish_and_clear();
        }
        self.total.finish_and_clear();
        let _ = self.screen.clear();
        self.screen.set_draw_target(ProgressDrawTarget::hidden());
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
        if matches!(
            outcome,
            BlobOutcome::Sent | BlobOutcome::Converted | BlobOutcome::Verified
        ) {
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

/// What fits into one line of `width` columns.
fn template(width: usize) -> String {
    let rate = "{binary_bytes_per_sec:>13}";
    let figures =
        format!("{{binary_bytes:>11}} / {{binary_total_bytes:<11}} {rate}  {{eta:>4}} left");
    match width.saturating_sub(FIGURES_WIDTH + 2) {
        bar @ LEAST_BAR_WIDTH.. => {
            let bar = bar.min(BAR_WIDTH);
            format!("{{prefix:12}} {{bar:{bar}}} {figures}")
        }
        _ if width > FIGURES_WIDTH => format!("{{prefix:12}} {figures}"),
        _ if width > SHARE_WIDTH => format!("{{prefix:12}} {{percent:>3}}% {rate}  {{eta:>4}}"),
        _ => "{percent:>3}% {prefix}".to_owned(),
    }
}

fn style(width: usize) -> ProgressStyle {
    // A template that cannot be parsed falls back to a plain bar.
    ProgressStyle::with_template(&template(width)).unwrap_or_else(|_| ProgressStyle::default_bar())
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
    use std::io;

    use indicatif::TermLike;
    use rstest::rstest;

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
        let bars = Bars::new(MultiProgress::new(), USUAL_WIDTH);
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

    #[rstest]
    #[case(200)]
    #[case(80)]
    #[case(76)]
    #[case(72)]
    #[case(64)]
    #[case(41)]
    #[case(20)]
    fn a_bar_fits_into_its_line(#[case] width: usize) {
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let rendered = Rendered {
            width: u16::try_from(width).unwrap(),
            lines: Arc::clone(&lines),
        };
        let target = ProgressDrawTarget::term_like(Box::new(rendered));
        let screen = MultiProgress::with_draw_target(target);
        let bars = Bars::new(screen, width);
        let large = Descriptor {
            size: 1024 << 20,
            ..blob(b"large")
        };
        bars.start(&large);
        bars.advance(&large.digest, 512 << 20);
        bars.total.force_draw();
        let lines = lines.lock().unwrap();
        let text = lines.concat();
        assert!(
            text.contains("50%") || text.contains(" / 1.00 GiB"),
            "{lines:?}"
        );
        assert!(
            lines.iter().all(|line| line.chars().count() <= width),
            "{lines:?}"
        );
        let shown = text.contains("512.00 MiB");
        assert_eq!(shown, width > FIGURES_WIDTH, "{lines:?}");
        assert_eq!(text.contains('█'), width >= 77, "{lines:?}");
    }

    /// A terminal that keeps what is written.
    #[derive(Debug)]
    struct Rendered {
        width: u16,
        lines: Arc<Mutex<Vec<String>>>,
    }

    impl TermLike for Rendered {
        fn width(&self) -> u16 {
            self.width
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            // Blank to the end of the line, so that nothing of an older one is left.
            let text = text.trim_end().to_owned();
            self.lines.lock().unwrap().push(text);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn only_so_many_blobs_have_a_bar() {
        let bars = Bars::new(MultiProgress::new(), USUAL_WIDTH);
        for number in 0..20_u8 {
            bars.start(&blob(&[number]));
        }
        let blobs = bars.blobs.lock().unwrap();
        let shown = blobs.values().flatten().filter(|one| one.bar.is_some());
        assert_eq!(shown.count(), MAX_BARS);
        assert_eq!(short(&Digest::sha256(b"")), "e3b0c44298fc");
    }
}
