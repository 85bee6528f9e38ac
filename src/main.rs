//! The `transship` binary: allocator, crypto provider, runtime, signals, exit code. Everything else is in the
//! library.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use transship::cli::{CommandLine, sentence};
use transship::worker::EXIT_INTERRUPTED;

/// See `docs/adr/0023-memory.md`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let command_line = match CommandLine::read() {
        Ok(command_line) => command_line,
        Err(told) => {
            // Help is no error; and nobody may be listening.
            let _ = told.print();
            return Ok(ExitCode::from(u8::try_from(told.exit_code())?));
        }
    };
    // The only place that chooses the cryptography; a second provider is not linked.
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        anyhow::bail!("a cryptography provider is installed already");
    }
    let cancel = CancellationToken::new();
    let told_twice = cancel_on_signal(cancel.clone()).context("cannot listen for signals")?;
    let result = tokio::select! {
        result = command_line.run(cancel) => result,
        () = told_twice.cancelled() => Ok(ExitCode::from(EXIT_INTERRUPTED)),
    };
    match result {
        // Whoever read our output has seen enough.
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            // Nobody may be listening.
            let _ = writeln!(io::stderr(), "Error: {}", sentence(&error));
            Ok(ExitCode::FAILURE)
        }
        Ok(code) => Ok(code),
    }
}

/// SIGTERM and SIGINT ask everything to end in order; the second of them, which the token that is
/// returned tells, to end at once.
fn cancel_on_signal(cancel: CancellationToken) -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let told_twice = CancellationToken::new();
    let told_again = told_twice.clone();
    tokio::spawn(async move {
        for token in [cancel, told_again] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            token.cancel();
        }
    });
    Ok(told_twice)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
