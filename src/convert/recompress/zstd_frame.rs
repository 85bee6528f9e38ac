//! One zstd frame (RFC 8878) that several threads compress.
//!
//! What comes out depends on the content, the level and [`JOB_BYTES`] alone: neither on the number of
//! threads nor on how fast they are. Of `zstd::Encoder` that is not true: it tells the library that the
//! content has ended only after the last of it, and where that is also the end of a job, an empty block
//! follows or not, whichever thread is first. Here the last bytes and the end arrive in one call.

use std::io::{self, Write};

use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd::zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, SafeResult, get_error_name};

/// What a thread compresses at a time, in bytes. It bounds the memory, and decides what comes out.
pub(super) const JOB_BYTES: u32 = 1024 * 1024;
/// Bytes that are compressed before they are written.
const OUTPUT_BYTES: usize = 128 * 1024;

/// Content goes in, its frame comes out.
pub(super) struct ZstdFrame<W> {
    context: CCtx<'static>,
    compressed: Vec<u8>,
    output: W,
}

impl<W: Write> ZstdFrame<W> {
    /// A frame of `level` for `output`, compressed by `threads`.
    pub(super) fn new(output: W, level: u8, threads: u32) -> io::Result<Self> {
        let mut context =
            CCtx::try_create().ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
        for parameter in [
            CParameter::CompressionLevel(i32::from(level)),
            CParameter::NbWorkers(threads),
            CParameter::JobSize(JOB_BYTES),
        ] {
            checked(context.set_parameter(parameter))?;
        }
        Ok(Self {
            context,
            compressed: Vec::with_capacity(OUTPUT_BYTES),
            output,
        })
    }

    /// Takes content after which there is more, or may be.
    pub(super) fn write(&mut self, content: &[u8]) -> io::Result<()> {
        self.compress(content, ZSTD_EndDirective::ZSTD_e_continue)
    }

    /// Takes the last of the content, which may be nothing.
    pub(super) fn finish(mut self, last: &[u8]) -> io::Result<W> {
        self.compress(last, ZSTD_EndDirective::ZSTD_e_end)?;
        Ok(self.output)
    }

    fn compress(&mut self, content: &[u8], directive: ZSTD_EndDirective) -> io::Result<()> {
        let ends = directive == ZSTD_EndDirective::ZSTD_e_end;
        let mut input = InBuffer::around(content);
        loop {
            self.compressed.clear();
            let mut output = OutBuffer::around(&mut self.compressed);
            let remaining = checked(self.context.compress_stream2(
                &mut output,
                &mut input,
                directive,
            ))?;
            self.output.write_all(&self.compressed)?;
            let is_taken = input.pos() == content.len();
            if is_taken && (remaining == 0 || !ends) {
                return Ok(());
            }
        }
    }
}

fn checked(result: SafeResult) -> io::Result<usize> {
    result.map_err(|code| io::Error::other(get_error_name(code)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use rstest::rstest;

    use super::*;

    const JOB: usize = JOB_BYTES as usize;
    /// Longer than a job takes.
    const PAUSE: Duration = Duration::from_millis(100);

    /// Bytes that do not compress, so that results wait to be taken.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let bytes = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_be_bytes()[0]
        });
        bytes.take(length).collect()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the library does not say when it is through"
    )]
    fn pause() {
        std::thread::sleep(PAUSE);
    }

    /// With few threads there is no room for another job when the last one arrives, with many there is.
    #[rstest]
    fn it_makes_no_difference_how_many_threads_compress(
        #[values(1, 3)] level: u8,
        #[values(0, 1)] less: usize,
    ) {
        let content = noise(5 * JOB - less);
        let frames: BTreeSet<_> = [1, 2, 3, 8, 16]
            .into_iter()
            .map(|threads| {
                let mut frame = ZstdFrame::new(Vec::new(), level, threads).unwrap();
                let (before, last) = content.split_at(4 * JOB);
                for piece in before.chunks(JOB) {
                    frame.write(piece).unwrap();
                    pause();
                }
                frame.finish(last).unwrap()
            })
            .collect();
        assert_eq!(frames.len(), 1);
        assert!(zstd::decode_all(&frames.first().unwrap()[..]).unwrap() == content);
    }
}
