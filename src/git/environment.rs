//! The closed world that `git` runs in: no configuration, credentials, hooks or helpers but ours.
//!
//! Everything that it reads is in a directory that nobody else can read and that is gone afterwards.
//! Credentials are in files there, never in arguments or the environment, which other processes see.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret as _;
use tempfile::TempDir;
use tokio::process::Command;

use super::credentials::{HttpCredentials, SshCredentials};
use super::{GitAccess, GitUrl, Protocol};

/// What the operating system trusts, on Debian and its relatives.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// What people set to have something else trusted; the registry client goes by it as well.
const AUTHORITIES_VARIABLE: &str = "SSL_CERT_FILE";
/// Where programs are looked for if nobody says it.
const PROGRAMS: &str = "/usr/local/bin:/usr/bin:/bin";
/// How proxies are named; lower case is what curl reads of the first.
const PROXY_VARIABLES: [&str; 7] = [
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
];

/// The configuration that is always the same. A value that is missing here is Git's default.
///
/// A download that falls below 1000 bytes a second for a minute is given up. Large files are streamed
/// instead of held in memory, and one thread unpacks: pods have little of both.
const CONFIGURATION: &str = "\
[core]
	hooksPath = /dev/null
	attributesFile = /dev/null
	excludesFile = /dev/null
	fsmonitor = false
	autocrlf = false
	protectHFS = true
	protectNTFS = true
	bigFileThreshold = 8m
	deltaBaseCacheLimit = 8m
	packedGitWindowSize = 8m
	packedGitLimit = 64m
[init]
	defaultBranch = main
	templateDir =
[protocol]
	allow = never
[protocol \"https\"]
	allow = always
[protocol \"ssh\"]
	allow = always
[transfer]
	unpackLimit = 1
	bundleURI = false
[fetch]
	recurseSubmodules = false
[submodule]
	recurse = false
[pack]
	threads = 1
	windowMemory = 16m
[checkout]
	workers = 1
[gc]
	auto = 0
[maintenance]
	auto = false
[http]
	lowSpeedLimit = 1000
	lowSpeedTime = 60
[credential]
	helper =
";

/// The files, for one repository and what belongs to it.
#[derive(Debug)]
pub(super) struct Environment {
    directory: TempDir,
    ssh_command: Option<String>,
}

impl Environment {
    /// Writes the files for a repository at `url` into a new directory in `scratch`.
    pub(super) fn create(url: &GitUrl, access: &GitAccess, scratch: &Path) -> io::Result<Self> {
        // Readable by nobody else from its first moment.
        let directory = tempfile::Builder::new()
            .prefix(".transship-git-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(scratch)?;
        let path = directory.path();
        let mut configuration = CONFIGURATION.to_owned();
        if access.insecure {
            configuration.push_str("[protocol \"http\"]\n\tallow = always\n");
        }
        configuration.push_str(&trust(access, path)?);
        if let Some(credentials) = &access.credentials.http
            && url.protocol() != Protocol::Ssh
        {
            configuration.push_str(&http_credentials(url, credentials, path)?);
        }
        write_private(&path.join("config"), &configuration)?;
        let ssh = access.credentials.ssh.as_ref();
        Ok(Self {
            ssh_command: ssh_command(ssh, path)?,
            directory,
        })
    }

    /// `git` with nothing of this process but proxies and the path to programs.
    pub(super) fn git(&self) -> Command {
        let path = self.directory.path();
        let mut command = Command::new("git");
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or(PROGRAMS.into()))
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .env("HOME", path)
            .env("XDG_CONFIG_HOME", path)
            .env("TMPDIR", path)
            .env("GIT_CONFIG_GLOBAL", path.join("config"))
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .current_dir(path);
        for name in PROXY_VARIABLES {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        if let Some(ssh) = &self.ssh_command {
            command
                .env("GIT_SSH_COMMAND", ssh)
                .env("GIT_SSH_VARIANT", "ssh");
        }
        command
    }
}

/// Whose certificates are accepted: the system's authorities, and those of the credentials.
fn trust(access: &GitAccess, directory: &Path) -> io::Result<String> {
    let set = std::env::var_os(AUTHORITIES_VARIABLE).map(PathBuf::from);
    let Some(authorities) = &access.credentials.authorities else {
        let path = set.as_deref().and_then(Path::to_str);
        return Ok(path.map_or_else(String::new, |path| {
            format!("[http]\n\tsslCAInfo = {}\n", quoted(path))
        }));
    };
    let system = fs::read_to_string(set.unwrap_or_else(|| SYSTEM_AUTHORITIES.into()));
    let path = directory.join("authorities.pem");
    write_private(
        &path,
        &format!("{authorities}\n{}", system.unwrap_or_default()),
    )?;
    Ok(format!(
        "[http]\n\tsslCAInfo = {}\n",
        quoted(&path.to_string_lossy())
    ))
}

/// What makes `git` log in at the origin of `url`, and nowhere else.
fn http_credentials(
    url: &GitUrl,
    credentials: &HttpCredentials,
    directory: &Path,
) -> io::Result<String> {
    let origin = url.origin();
    match credentials {
        // Git asks for them when a server asks, by the origin of that server, also after a redirect.
        HttpCredentials::Password { username, password } => {
            let path = directory.join("credentials");
            let (scheme, host) = origin.split_once("://").unwrap_or_default();
            let login = format!(
                "{}:{}",
                encoded(username),
                encoded(password.expose_secret())
            );
            write_private(&path, &format!("{scheme}://{login}@{host}\n"))?;
            let helper = format!("store --file={}", in_shell(&path)?);
            Ok(format!("[credential]\n\thelper = {}\n", quoted(&helper)))
        }
        // Git would send the header to wherever it is redirected, so it is redirected nowhere.
        HttpCredentials::Bearer(token) => {
            let header = format!("Authorization: Bearer {}", token.expose_secret());
            Ok(format!(
                "[http {}]\n\textraHeader = {}\n\tfollowRedirects = false\n",
                quoted(&format!("{origin}/")),
                quoted(&header)
            ))
        }
    }
}

/// The command that Git connects to hosts with: no configuration of the system or the user, one key,
/// no host but known ones, nothing that asks. Without a key, no SSH.
fn ssh_command(ssh: Option<&SshCredentials>, directory: &Path) -> io::Result<Option<String>> {
    let Some(SshCredentials {
        identity,
        known_hosts,
    }) = ssh
    else {
        return Ok(None);
    };
    let key = directory.join("identity");
    let hosts = directory.join("known_hosts");
    // OpenSSH reads a key only if its last line ends.
    write_private(&key, &format!("{}\n", identity.expose_secret().trim_end()))?;
    write_private(&hosts, &format!("{}\n", known_hosts.trim_end()))?;
    let options = [
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        "StrictHostKeyChecking=yes",
        "GlobalKnownHostsFile=/dev/null",
        "UpdateHostKeys=no",
        "ConnectTimeout=30",
        "ServerAliveInterval=15",
        "ServerAliveCountMax=4",
    ];
    let options: Vec<String> = options.iter().map(|it| format!("-o {it}")).collect();
    Ok(Some(format!(
        "ssh -F /dev/null {} -o UserKnownHostsFile={} -i {}",
        options.join(" "),
        in_shell(&hosts)?,
        in_shell(&key)?
    )))
}

/// A path as one word of a shell, and of OpenSSH. One that would have to be quoted is refused: it is ours.
fn in_shell(path: &Path) -> io::Result<String> {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '/' | '.' | '_' | '-');
    let text = path.to_str().filter(|text| text.chars().all(is_plain));
    text.map(str::to_owned).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "the temporary directory has a name with other characters than letters, digits and / . _ -",
        )
    })
}

/// A user or password in a URL (RFC 3986): whatever is not certainly itself is encoded.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// A value in a file of configuration.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn write_private(path: &Path, content: &str) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?
        .write_all(content.as_bytes())
}
