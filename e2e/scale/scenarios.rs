//! What is measured: each scenario brings the operator into a situation, waits for what it should do, and
//! takes figures down.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::future::try_join;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::time::Instant;
use transship::api::ImageMirror;

use super::Arguments;
use super::audit::AuditLog;
use super::certificates::Authority;
use super::control_plane::ControlPlane;
use super::figures::{Figures, seconds};
use super::mirrors::Mirrors;
use super::operator::{Operator, Settings};
use super::registry::{MISSING, Registry, Role};
use super::unreachable::Unreachable;

/// Where Debian has its certificate authorities.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Longer than any measurement.
const FAR_AWAY: &str = "24h";
/// Healthy mirrors of which a scan is requested, one after the other.
const REQUESTED_SCANS: usize = 20;
/// How long after a storm has begun everything is as it stays.
const STORM: Duration = Duration::from_mins(2);

/// Everything that runs, and what was measured.
pub(crate) struct Scene<'a> {
    arguments: &'a Arguments,
    settings: Settings,
    source: Registry,
    destination: Registry,
    client: Client,
    audit: AuditLog,
    figures: Figures,
    mirrors: Mirrors,
    operator: Operator,
    plane: ControlPlane,
    /// What the control plane had used of processors when the operator was started.
    plane_before: f64,
}

impl<'a> Scene<'a> {
    /// Starts everything and creates the mirrors; the operator comes last.
    pub(crate) async fn set(arguments: &'a Arguments) -> anyhow::Result<Self> {
        let authority = Authority::new()?;
        let tls = authority.issue("127.0.0.1")?.acceptor()?;
        let source = Registry::start(Role::Source, tls.clone()).await?;
        let destination = Registry::start(Role::Destination, tls).await?;
        let plane =
            ControlPlane::start(&arguments.kubernetes, &arguments.directory, &authority).await?;
        let client = plane.client()?;
        define(&client).await?;
        let mirrors = Mirrors::in_namespace(&client, "scale").await?;
        let in_place = |number| spec(&source, &destination, &format!("library/app-{number}:1"));
        mirrors.create(arguments.mirrors, in_place).await?;
        let settings = Settings {
            program: arguments.operator.clone(),
            kubeconfig: plane.kubeconfig(),
            authorities: authorities(arguments, &authority)?,
            log: arguments.directory.join("operator.log"),
        };
        let plane_before = plane.processor_seconds()?;
        Ok(Self {
            operator: Operator::start(&settings, "first")?,
            arguments,
            settings,
            source,
            destination,
            audit: AuditLog::new(plane.audit_log()),
            client,
            figures: Figures::default(),
            mirrors,
            plane,
            plane_before,
        })
    }

    /// No mirror has a status: each is scanned.
    pub(crate) async fn fresh(&mut self) -> anyhow::Result<()> {
        let count = self.arguments.mirrors;
        self.wait_looked_at(count).await?;
        self.mirrors.wait_observed(count).await?;
        let taken = seconds(self.operator.begin.elapsed());
        let name = format!("{count} mirrors without a status: all scanned");
        self.figures.add(name, "60 s", taken);
        self.note_processor_time()?;
        self.note_requests("its requests until then")?;
        self.idle().await
    }

    /// Every mirror has a status, and its next scan is far away.
    pub(crate) async fn restart(&mut self) -> anyhow::Result<()> {
        self.operator.stop().await?;
        self.audit.take()?;
        self.plane_before = self.plane.processor_seconds()?;
        self.operator = Operator::start(&self.settings, "second")?;
        let count = self.arguments.mirrors;
        self.wait_looked_at(count).await?;
        let taken = seconds(self.operator.begin.elapsed());
        let name = format!("{count} mirrors with a status: all looked at");
        self.figures.add(name, "60 s", taken);
        self.note_processor_time()?;
        self.note_requests("its requests until then")?;
        ensure!(
            self.mirrors.observed().await? == count,
            "a mirror has lost its status"
        );
        self.idle().await
    }

    /// Nothing happens for a while.
    async fn idle(&mut self) -> anyhow::Result<()> {
        // What has just happened may still be told: events, the last statuses.
        tokio::time::sleep(Duration::from_secs(10)).await;
        self.audit.take()?;
        let (before, begin) = (self.operator.processor_seconds()?, Instant::now());
        tokio::time::sleep(Duration::from_secs(self.arguments.idle_seconds)).await;
        let requests = self.audit.take()?;
        let share = (self.operator.processor_seconds()? - before) / begin.elapsed().as_secs_f64();
        let writes = requests.writes();
        self.figures.add(
            format!(
                "writes in {} s while nothing happens",
                self.arguments.idle_seconds
            ),
            "0",
            format!("{writes} ({requests})"),
        );
        self.figures.add(
            "share of its processor meanwhile",
            "",
            format!("{:.1} %", share * 100.0),
        );
        self.note_memory("resident with all mirrors")?;
        ensure!(writes == 0, "something is written while nothing happens");
        Ok(())
    }

    /// Mirrors are created at once, and each has something to copy.
    pub(crate) async fn created(&mut self) -> anyhow::Result<()> {
        let count = self.arguments.created;
        let created = Mirrors::in_namespace(&self.client, "created").await?;
        self.audit.take()?;
        let missing = |number| {
            spec(
                &self.source,
                &self.destination,
                &format!("{MISSING}/app-{number}:1"),
            )
        };
        let begin = Instant::now();
        let creating = async {
            created.create(count, missing).await?;
            Ok(begin.elapsed())
        };
        let (creating, ()) = try_join(creating, created.wait_started(count)).await?;
        let taken = seconds(begin.elapsed());
        self.figures.add(
            format!("{count} mirrors created at once: all Jobs created"),
            "90 s",
            format!(
                "{taken}, of which creating the mirrors took {}",
                seconds(creating)
            ),
        );
        self.note_requests("requests for them")?;
        self.note_memory("resident then")?;
        created.remove().await
    }

    /// One mirror follows a large repository of which everything is in place.
    pub(crate) async fn tags(&mut self) -> anyhow::Result<()> {
        let count = self.arguments.tags;
        let large = Mirrors::in_namespace(&self.client, "large").await?;
        self.source.take_log();
        self.destination.take_log();
        let begin = Instant::now();
        let sources = json!([{
            "repository": format!("{}/library/large-{count}", self.source.host),
            "tags": {"include": ["*"], "limit": count},
        }]);
        large
            .create(1, |_| with_sources(&sources, &self.destination))
            .await?;
        large.wait_observed(1).await?;
        let taken = seconds(begin.elapsed());
        let status = large.get(0).await?.status.unwrap_or_default();
        ensure!(
            usize::try_from(status.present)? == count,
            "not all tags are in place: {}",
            status.summary
        );
        self.figures.add(format!("scan of {count} tags"), "", taken);
        for (name, registry) in [("source", &self.source), ("destination", &self.destination)] {
            let log = registry.take_log();
            let most = log.heads.values().copied().max().unwrap_or_default();
            self.figures.add(
                format!("requests of it at the {name}"),
                "1 HEAD a tag, no body",
                format!(
                    "{} HEAD, at most {most} a tag, {} pages of tags, {} others",
                    log.heads.values().sum::<u32>(),
                    log.tag_pages,
                    log.others.len()
                ),
            );
            ensure!(log.heads.len() == count, "not every tag was asked for");
            ensure!(most == 1, "a tag was asked for more than once");
            ensure!(log.others.is_empty(), "asked for as well: {:?}", log.others);
        }
        self.note_memory("resident then")?;
        large.remove().await
    }

    /// The registries of many mirrors do not answer: what becomes of those that do?
    pub(crate) async fn unreachable(&mut self) -> anyhow::Result<()> {
        let count = self.arguments.unreachable;
        let alone = self.requested_scans(0).await?;
        self.figures.add("from a change to its status", "", alone);
        let registries = Unreachable::start().await?;
        let mirrors = Mirrors::in_namespace(&self.client, "unreachable").await?;
        let begin = Instant::now();
        let lost = |number| {
            let image = format!("{}/library/app:1", registries.host(number));
            with_sources(&json!([{"image": image}]), &self.destination)
        };
        mirrors.create(count, lost).await?;
        let beginning = self.requested_scans(1).await?;
        let name = format!("the same, when {count} registries do not answer, at first");
        self.figures.add(name, "no delay", beginning);
        self.note_memory("resident then")?;
        mirrors.wait_observed(count).await?;
        let observed = seconds(begin.elapsed());
        self.figures
            .add("all of those are said to be unreachable", "", observed);
        tokio::time::sleep(STORM.saturating_sub(begin.elapsed())).await;
        let later = self.requested_scans(2).await?;
        self.figures
            .add("from a change to its status, later", "no delay", later);
        self.note_memory("resident then")?;
        mirrors.remove().await
    }

    /// Median and longest time from a request to the new status, over healthy mirrors that differ from
    /// `round` to round.
    async fn requested_scans(&self, round: usize) -> anyhow::Result<String> {
        let mut times = Vec::new();
        for index in 0..REQUESTED_SCANS {
            let number = (round * REQUESTED_SCANS + index) % self.arguments.mirrors;
            times.push(self.mirrors.scan(number).await?);
        }
        times.sort_unstable();
        let median = times.get(times.len() / 2).context("nothing was measured")?;
        let longest = times.last().context("nothing was measured")?;
        Ok(format!(
            "{} ms, at most {} ms",
            median.as_millis(),
            longest.as_millis()
        ))
    }

    /// Ends the operator in order, and prints what was measured.
    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        self.operator.stop().await?;
        self.figures.print();
        Ok(())
    }

    /// Waits until the operator has looked at so many mirrors of one image each.
    async fn wait_looked_at(&mut self, count: usize) -> anyhow::Result<()> {
        while self.operator.images().await? < count as u64 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    fn note_memory(&mut self, name: &str) -> anyhow::Result<()> {
        let memory = self.operator.resident()?;
        let measured = format!("{} MiB, at most {} MiB", memory.now, memory.peak);
        self.figures.add(name, "150 MiB", measured);
        Ok(())
    }

    fn note_processor_time(&mut self) -> anyhow::Result<()> {
        let plane = self.plane.processor_seconds()? - self.plane_before;
        let measured = format!(
            "{:.1} s, and {plane:.1} s of etcd and the API server",
            self.operator.processor_seconds()?
        );
        self.figures
            .add("its processor time until then", "", measured);
        Ok(())
    }

    fn note_requests(&mut self, name: &str) -> anyhow::Result<()> {
        let requests = self.audit.take()?;
        self.figures.add(name, "", requests.to_string());
        Ok(())
    }
}

/// The certificate authorities of this machine, and that of the registries: as many as an image has.
fn authorities(arguments: &Arguments, authority: &Authority) -> anyhow::Result<PathBuf> {
    let mut bundle = fs::read_to_string(SYSTEM_AUTHORITIES).unwrap_or_default();
    bundle.push_str(&authority.certificate());
    let path = arguments.directory.join("authorities.crt");
    fs::write(&path, bundle)?;
    Ok(path)
}

/// Tells the API server what a mirror is, and waits until it serves them.
async fn define(client: &Client) -> anyhow::Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in transship::api::definitions()? {
        let parameters = PatchParams::apply("scale");
        definitions
            .patch(
                &definition.name_any(),
                &parameters,
                &Patch::Apply(&definition),
            )
            .await?;
    }
    let mirrors: Api<ImageMirror> = Api::all(client.clone());
    let begin = Instant::now();
    while let Err(error) = mirrors.list(&ListParams::default()).await {
        if begin.elapsed() > Duration::from_secs(30) {
            return Err(error).context("the definition of mirrors is not served");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// A mirror of one image.
fn spec(source: &Registry, destination: &Registry, image: &str) -> Value {
    let image = format!("{}/{image}", source.host);
    with_sources(&json!([{"image": image}]), destination)
}

fn with_sources(sources: &Value, destination: &Registry) -> Value {
    json!({
        "interval": FAR_AWAY,
        "sources": sources,
        "destinations": [{"prefix": destination.host, "path": "{repository}"}],
    })
}
