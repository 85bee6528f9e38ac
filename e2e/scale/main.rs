//! Measures the operator at the scale that it is made for: ten thousand mirrors on one processor, against a
//! real etcd and API server and registries that are nothing but names.
//!
//! `make scale` runs it in namespaces of its own and prints the figures beside their goals. Times are never
//! judged, as they are those of the machine; it fails only when something is wrong in kind: a mirror that is
//! never observed, a body that a scan asks for, a write while nothing happens.

mod audit;
mod certificates;
mod control_plane;
mod figures;
mod mirrors;
mod operator;
mod registry;
mod scenarios;
mod unreachable;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use self::scenarios::Scene;

/// What `e2e/scale/run` tells.
#[derive(Debug, Parser)]
struct Arguments {
    /// The program with etcd and the API server in it
    #[arg(long)]
    kubernetes: PathBuf,
    /// The operator, optimised
    #[arg(long)]
    operator: PathBuf,
    /// An empty directory for everything that is written
    #[arg(long)]
    directory: PathBuf,
    /// Mirrors that exist all the time
    #[arg(long, default_value_t = 10_000)]
    mirrors: usize,
    /// Mirrors that are created at once
    #[arg(long, default_value_t = 1000)]
    created: usize,
    /// Tags of the one large repository
    #[arg(long, default_value_t = 10_000)]
    tags: usize,
    /// Mirrors whose registries do not answer
    #[arg(long, default_value_t = 1000)]
    unreachable: usize,
    /// For how long nothing may be written while nothing happens, in seconds
    #[arg(long, default_value_t = 60)]
    idle_seconds: u64,
    /// What is measured; all of it when absent
    #[arg(value_enum)]
    scenarios: Vec<Scenario>,
}

/// One thing that is measured, in the order in which that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Scenario {
    /// The operator starts where no mirror has a status
    Fresh,
    /// It starts again, and the next scan of every mirror is far away
    Restart,
    /// Many mirrors are created at once, and each has something to copy
    Created,
    /// One mirror follows a large repository
    Tags,
    /// The registries of many mirrors do not answer
    Unreachable,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // A second installation fails, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let arguments =
        Arguments::parse_from(std::env::args_os().filter(|argument| argument != "--bench"));
    let mut terminate = signal(SignalKind::terminate())?;
    // Dropping the measurement ends everything that it has started.
    tokio::select! {
        measured = measure(&arguments) => measured,
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
    }
}

async fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    let chosen =
        |scenario| arguments.scenarios.is_empty() || arguments.scenarios.contains(&scenario);
    let mut scene = Scene::set(arguments).await?;
    scene.fresh().await.context("mirrors without a status")?;
    if chosen(Scenario::Restart) {
        scene.restart().await.context("mirrors with a status")?;
    }
    if chosen(Scenario::Created) {
        scene.created().await.context("mirrors created at once")?;
    }
    if chosen(Scenario::Tags) {
        scene.tags().await.context("a large repository")?;
    }
    if chosen(Scenario::Unreachable) {
        scene
            .unreachable()
            .await
            .context("registries that do not answer")?;
    }
    scene.end().await
}
