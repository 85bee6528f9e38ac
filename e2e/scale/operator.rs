//! The operator as a process of its own: on one processor, with as much memory as its pod has. It must not
//! know: what it is given to do.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use super::control_plane::tail;

const METRICS: &str = "http://127.0.0.1:8080/metrics";
/// The one processor that it has; everybody else has this one and all others.
const PROCESSOR: &str = "0";
/// What the process may have of anonymous memory: more than that ends it, as it would end the pod.
pub(crate) const MEMORY_MIB: u64 = 256;
/// How long the process may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// How to start the operator.
pub(crate) struct Settings {
    /// The optimised program.
    pub(crate) program: PathBuf,
    /// How it reaches the API server.
    pub(crate) kubeconfig: PathBuf,
    /// Certificate authorities, those of the registries among them.
    pub(crate) authorities: PathBuf,
    /// Where its log goes.
    pub(crate) log: PathBuf,
}

/// A running operator; it ends with the handle.
pub(crate) struct Operator {
    child: Child,
    process: u32,
    log: PathBuf,
    client: reqwest::Client,
    /// When it was started.
    pub(crate) begin: Instant,
}

/// Memory that is resident, in MiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resident {
    pub(crate) now: u64,
    pub(crate) peak: u64,
}

impl Operator {
    /// Starts the operator. It leads at once, as nobody else holds the Lease.
    pub(crate) fn start(settings: &Settings, identity: &str) -> anyhow::Result<Self> {
        let log = File::create(&settings.log)?;
        let begin = Instant::now();
        let child = Command::new("prlimit")
            .arg(format!("--data={}", MEMORY_MIB * 1024 * 1024))
            .args(["taskset", "--cpu-list", PROCESSOR])
            .arg(&settings.program)
            .args(["controller", "--worker-image=localhost/transship:scale"])
            .args([
                "--lease-namespace=default",
                "--metrics-address=127.0.0.1:8080",
            ])
            .arg(format!("--identity={identity}"))
            .env("KUBECONFIG", &settings.kubeconfig)
            .env("SSL_CERT_FILE", &settings.authorities)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the operator")?;
        Ok(Self {
            process: child.id().context("the operator has ended at once")?,
            child,
            log: settings.log.clone(),
            client: reqwest::Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(10))
                .build()?,
            begin,
        })
    }

    /// Ends the operator as Kubernetes does.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        let told = Command::new("kill")
            .args(["-TERM", &self.process.to_string()])
            .status()
            .await?;
        ensure!(
            told.success(),
            "the operator has ended before it was told to"
        );
        let ended = timeout(STOP_TIMEOUT, self.child.wait()).await;
        let status = ended.context("the operator does not end")??;
        ensure!(
            status.success(),
            "the operator ended badly: {}",
            tail(&self.log)
        );
        Ok(())
    }

    /// The images of all mirrors that it has looked at so far.
    pub(crate) async fn images(&mut self) -> anyhow::Result<u64> {
        self.metric("transship_images{").await
    }

    /// The sum of all series whose line begins with `name`; 0 as long as nothing is served.
    async fn metric(&mut self, name: &str) -> anyhow::Result<u64> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the operator has ended ({status}): {}", tail(&self.log));
        }
        let Ok(response) = self.client.get(METRICS).send().await else {
            return Ok(0);
        };
        let text = response.text().await?;
        let values = text
            .lines()
            .filter(|line| line.starts_with(name))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok());
        Ok(values.sum())
    }

    /// How much memory the process has resident, and has had at most.
    pub(crate) fn resident(&self) -> anyhow::Result<Resident> {
        let status = fs::read_to_string(
            Path::new("/proc")
                .join(self.process.to_string())
                .join("status"),
        )?;
        let field = |name: &str| -> anyhow::Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kibibytes = line.context("no such field in the status of a process")?;
            Ok(kibibytes.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
        };
        Ok(Resident {
            now: field("VmRSS:")?,
            peak: field("VmHWM:")?,
        })
    }

    /// Processor time so far, in seconds.
    pub(crate) fn processor_seconds(&self) -> anyhow::Result<f64> {
        processor_seconds(self.process)
    }
}

/// What a process has used of processors so far, in seconds.
pub(crate) fn processor_seconds(process: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(Path::new("/proc").join(process.to_string()).join("stat"))?;
    let fields = stat.rsplit_once(") ").context("no such process")?.1;
    // User and system time are the 12th and 13th field after the name, in hundredths.
    let ticks = fields.split(' ').skip(11).take(2);
    let ticks = ticks.map(|ticks| ticks.parse::<u32>().map(f64::from));
    Ok(ticks.sum::<Result<f64, _>>()? / 100.0)
}
