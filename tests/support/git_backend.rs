//! Git's own server program `git http-backend`, called by the rules of CGI (RFC 3875). It must not know: who serves
//! HTTP with it, and to whom.

use std::path::Path;
use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// What is asked of the program.
pub(crate) struct BackendRequest<'a> {
    /// Where the repositories are.
    pub(crate) root: &'a Path,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) content_type: Option<String>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) git_protocol: Option<String>,
    pub(crate) body: &'a [u8],
}

/// What it answers.
pub(crate) struct BackendAnswer {
    pub(crate) code: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl BackendRequest<'_> {
    pub(crate) async fn answer(&self) -> BackendAnswer {
        let mut command = Command::new("git");
        command
            .arg("http-backend")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_PROJECT_ROOT", self.root)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("REQUEST_METHOD", self.method)
            .env("PATH_INFO", self.path)
            .env("QUERY_STRING", self.query)
            .env("CONTENT_LENGTH", self.body.len().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        for (value, variable) in [
            (&self.content_type, "CONTENT_TYPE"),
            (&self.content_encoding, "HTTP_CONTENT_ENCODING"),
            (&self.git_protocol, "GIT_PROTOCOL"),
        ] {
            if let Some(value) = value {
                command.env(variable, value);
            }
        }
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // What is not read is not needed.
        let sending = async {
            let _ = stdin.write_all(self.body).await;
            drop(stdin);
        };
        let (output, ()) = tokio::join!(child.wait_with_output(), sending);
        read(&output.unwrap().stdout)
    }
}

fn read(output: &[u8]) -> BackendAnswer {
    let Some(end) = output.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return BackendAnswer {
            code: 500,
            headers: Vec::new(),
            body: Vec::new(),
        };
    };
    let (head, content) = output.split_at(end);
    let mut answer = BackendAnswer {
        code: 200,
        headers: Vec::new(),
        body: content.strip_prefix(b"\r\n\r\n").unwrap().to_vec(),
    };
    for line in str::from_utf8(head).unwrap().lines() {
        let (name, value) = line.split_once(": ").unwrap();
        if name == "Status" {
            answer.code = value.split(' ').next().unwrap().parse().unwrap();
        } else {
            answer.headers.push((name.to_lowercase(), value.to_owned()));
        }
    }
    answer
}
