//! Runs one program to its end: within a time, with what it prints bounded, and with everything that it
//! started gone when the wait for it ends, however that comes about.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

/// Most bytes that a program may give.
const MAX_OUTPUT_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of the messages of a program that are kept: the last ones, where it says why it failed.
const KEPT_MESSAGE_BYTES: usize = 16 * 1024;

/// What a program left.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) status: ExitStatus,
    /// What it gave.
    pub(super) given: Vec<u8>,
    /// The end of what it told people.
    pub(super) messages: String,
}

/// Why a program did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProcessError {
    /// It cannot be started, or listened to.
    #[error("git cannot be run")]
    Run(#[from] io::Error),
    /// It took too long.
    #[error("git took longer than {} s", .0.as_secs())]
    Timeout(Duration),
    /// It gave more than anybody could use.
    #[error("git printed more than {MAX_OUTPUT_BYTES} bytes")]
    Output,
}

/// A program with the processes that it starts. Dropping it ends all of them.
struct Group {
    child: Child,
    /// The group of processes, which has the number of its first one.
    group: Option<Pid>,
}

impl Group {
    fn start(command: &mut Command) -> io::Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let number = child.id().and_then(|id| i32::try_from(id).ok());
        Ok(Self {
            group: number.and_then(Pid::from_raw),
            child,
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // Usually there is nobody left.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Runs `command` until it ends, for at most `limit`.
pub(super) async fn run(command: &mut Command, limit: Duration) -> Result<Output, ProcessError> {
    let mut group = Group::start(command)?;
    let (output, messages) = (group.child.stdout.take(), group.child.stderr.take());
    let running = async {
        let (given, messages) = tokio::try_join!(read_all(output), read_end(messages))?;
        Ok(Output {
            status: group.child.wait().await?,
            given,
            messages: String::from_utf8_lossy(&messages).into_owned(),
        })
    };
    tokio::time::timeout(limit, running)
        .await
        .unwrap_or(Err(ProcessError::Timeout(limit)))
}

async fn read_all(stream: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, ProcessError> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        let mut stream = stream.take(MAX_OUTPUT_BYTES as u64 + 1);
        stream.read_to_end(&mut bytes).await?;
    }
    if bytes.len() > MAX_OUTPUT_BYTES {
        return Err(ProcessError::Output);
    }
    Ok(bytes)
}

/// The last bytes of a stream, however long it is.
async fn read_end(stream: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, ProcessError> {
    let mut end = Vec::new();
    let Some(mut stream) = stream else {
        return Ok(end);
    };
    let mut piece = vec![0; KEPT_MESSAGE_BYTES];
    loop {
        let length = stream.read(&mut piece).await?;
        if length == 0 {
            return Ok(end);
        }
        end.extend(piece.iter().take(length));
        let surplus = end.len().saturating_sub(KEPT_MESSAGE_BYTES);
        end.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn a_program_leaves_what_it_printed() {
        let mut command = shell("echo given; echo told >&2; exit 3");
        let left = run(&mut command, Duration::from_mins(1)).await.unwrap();
        assert_eq!(left.status.code(), Some(3));
        assert_eq!(
            (left.given.as_slice(), left.messages.as_str()),
            (&b"given\n"[..], "told\n")
        );
    }

    /// A grandchild holds the other end of a pipe open, and says by that whether it lives.
    #[tokio::test]
    async fn what_a_program_started_ends_with_the_wait_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("alive");
        let made = std::process::Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap();
        assert!(made.success());
        let script = format!("sleep 1000 > '{}' & wait", fifo.display());
        let opened = tokio::task::spawn_blocking(move || std::fs::File::open(fifo));
        let ended = run(&mut shell(&script), Duration::from_millis(500)).await;
        assert!(matches!(ended, Err(ProcessError::Timeout(_))), "{ended:?}");
        let mut alive = opened.await.unwrap().unwrap();
        let end = tokio::task::spawn_blocking(move || io::Read::read(&mut alive, &mut [0]));
        let end = tokio::time::timeout(Duration::from_mins(1), end).await;
        assert_eq!(end.unwrap().unwrap().unwrap(), 0);
    }

    #[tokio::test]
    async fn messages_are_cut_at_their_beginning() {
        let mut command = shell("yes told | head -c 1000000 >&2; echo last >&2");
        let left = run(&mut command, Duration::from_mins(1)).await.unwrap();
        assert_eq!(left.messages.len(), KEPT_MESSAGE_BYTES);
        assert!(left.messages.ends_with("last\n"));
    }

    #[tokio::test]
    async fn too_much_output_is_refused() {
        let ended = run(&mut shell("yes"), Duration::from_mins(1)).await;
        assert!(matches!(ended, Err(ProcessError::Output)), "{ended:?}");
    }
}
