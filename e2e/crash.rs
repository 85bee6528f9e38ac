//! Wherever the operator is killed, it ends where it would have ended undisturbed.
//!
//! Each scenario is played once as it is, which shows the requests that the operator makes of the API server. It is
//! then played again for the moments before and after each of them: the operator is killed there, and
//! started again. The API server, the Job controller, the worker pods and the registries are the real ones;
//! the operator is a process of the test, as its requests pass through a proxy (`harness/proxy.rs`). The operator
//! that is installed is stopped meanwhile, as it would act on the same mirrors.
//!
//! `make e2e` plays a part of the cuts, always the same; `make crash` all of them. Of the requests that renew the Lease
//! the first counts, as they come with time alone. What the operator asks for depends on when events arrive, so
//! a cut may not be reached: how many were is printed, and `assert_enough_reached` says how many may be missed.

mod builds;
mod end_state;
mod operator;
mod scenario;
mod stage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use transship::oci::Digest;

use self::builds::Commits;
use self::end_state::EndState;
use self::scenario::Scenario;
use self::stage::Stage;
use crate::harness::{Cluster, Cut, Moment, OPERATOR_NAMESPACE, Point, eventually, run, try_run};

/// Scenarios of mirrors that are played at once: most of each is waiting for a pod.
const PARALLEL: usize = 10;
/// The same of builds, whose pods have more to do.
const PARALLEL_BUILDS: usize = 4;
/// Of sixteen cuts so many are part of a sample.
const SAMPLE: u32 = 1;

/// How a scenario went.
struct Played {
    end: EndState,
    points: Vec<Point>,
    is_cut: bool,
}

#[tokio::test]
async fn wherever_the_operator_is_killed_it_ends_where_it_would_have() {
    let cluster = Arc::new(Cluster::alone().await);
    Scenario::prepare(&cluster).await;
    play_all(cluster, &Scenario::OF_MIRRORS, "restricted", PARALLEL).await;
}

/// The same of builds. Called where the images of builders are there.
pub(crate) async fn play_builds() {
    let cluster = Arc::new(Cluster::alone().await);
    play_all(cluster, &Scenario::OF_BUILDS, "baseline", PARALLEL_BUILDS).await;
}

/// Plays scenarios in namespaces that enforce this level of Pod Security, so many at once.
async fn play_all(
    cluster: Arc<Cluster>,
    scenarios: &[Scenario],
    level: &'static str,
    parallel: usize,
) {
    let installed = StoppedInstallation::stop();
    let plays = Plays {
        commits: Arc::new(Commits::make(&cluster.plain).await),
        cluster,
        worker_image: installed.image.clone(),
        level,
        parallel,
    };
    let begin = Instant::now();
    let (cuts, expected) = plays.undisturbed(scenarios).await;
    let mut reached = Vec::new();
    let mut missed = Vec::new();
    let mut failed = Vec::new();
    for (scenario, cut, played) in plays.all(cuts, &expected).await {
        let cut = cut.unwrap();
        match played {
            Ok(played) if played.is_cut => reached.push((scenario, cut)),
            Ok(_) => missed.push((scenario, cut)),
            Err(why) => failed.push(format!("{scenario:?}, {cut}: {why}")),
        }
    }
    let names = missed
        .iter()
        .map(|(scenario, cut)| format!("{scenario:?}, {cut}"));
    eprintln!(
        "{} cuts reached, {} missed, {} failed, in {:?}; missed: {:?}",
        reached.len(),
        missed.len(),
        failed.len(),
        begin.elapsed(),
        names.collect::<Vec<_>>()
    );
    drop(installed);
    assert!(
        failed.is_empty(),
        "{} failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
    assert_enough_reached(&reached, &missed);
}

/// How often the operator asks for something depends on when events arrive: two that it sees at once save reads and a
/// status, and a Job that is slow to go is deleted once more. A play that makes do with fewer requests than the
/// undisturbed one is as good, and a cut at its last request of a kind is missed. No play does without the first
/// write of each kind: whoever misses a tenth of those, or half of everything, has played another story.
fn assert_enough_reached(reached: &[(Scenario, Cut)], missed: &[(Scenario, Cut)]) {
    let first_writes = |cuts: &[(Scenario, Cut)]| {
        let first = cuts.iter().filter(|(_, cut)| cut.point.is_first_write());
        first.count()
    };
    let (reached_first, missed_first) = (first_writes(reached), first_writes(missed));
    assert!(
        missed_first * 10 <= missed_first + reached_first,
        "{missed_first} first writes were missed, {reached_first} were reached"
    );
    assert!(
        missed.len() <= reached.len(),
        "more cuts were missed than reached"
    );
}

/// Whether a cut is played: all of the scenarios that `TRANSSHIP_E2E_CRASH` names, or of `all`; without it a sample
/// that is always the same.
fn is_chosen(scenario: Scenario, cut: &Cut) -> bool {
    if let Ok(wanted) = std::env::var("TRANSSHIP_E2E_CRASH") {
        let mut wanted = wanted.split_whitespace();
        return wanted.any(|name| name == "all" || name == format!("{scenario:?}"));
    }
    let digest = Digest::sha256(format!("{scenario:?} {cut}").as_bytes());
    let last = digest.as_str().chars().last();
    last.and_then(|last| last.to_digit(16)).unwrap() < SAMPLE
}

/// What all plays share.
struct Plays {
    cluster: Arc<Cluster>,
    commits: Arc<Commits>,
    worker_image: String,
    /// The level of Pod Security that namespaces enforce.
    level: &'static str,
    /// Plays at the same time.
    parallel: usize,
}

impl Plays {
    /// Plays scenarios as they are. Returns the cuts that are to be played, and the ends that are expected.
    async fn undisturbed(
        &self,
        scenarios: &[Scenario],
    ) -> (Vec<(Scenario, Option<Cut>)>, Vec<(Scenario, EndState)>) {
        let mut cuts = Vec::new();
        let mut expected = Vec::new();
        let plays = scenarios.iter().map(|scenario| (*scenario, None)).collect();
        for (scenario, _, played) in self.all(plays, &[]).await {
            let played = played.unwrap_or_else(|why| panic!("{scenario:?}, undisturbed: {why}"));
            let of_scenario = played.points.iter().flat_map(|point| {
                [Moment::Before, Moment::After].map(|moment| Cut {
                    point: point.clone(),
                    moment,
                })
            });
            let chosen = of_scenario.filter(|cut| is_chosen(scenario, cut));
            cuts.extend(chosen.map(|cut| (scenario, Some(cut))));
            eprintln!("{scenario:?}: {} requests", played.points.len());
            expected.push((scenario, played.end));
        }
        (cuts, expected)
    }

    /// Plays several, some at once. The end is compared with the expected one of the scenario.
    async fn all(
        &self,
        plays: Vec<(Scenario, Option<Cut>)>,
        expected: &[(Scenario, EndState)],
    ) -> Vec<(Scenario, Option<Cut>, Result<Played, String>)> {
        static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let turns = Arc::new(Semaphore::new(self.parallel));
        let mut tasks = JoinSet::new();
        let mut names = BTreeMap::new();
        for (scenario, cut) in plays {
            let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let (turns, cluster) = (Arc::clone(&turns), Arc::clone(&self.cluster));
            let (commits, level) = (Arc::clone(&self.commits), self.level);
            let worker_image = self.worker_image.clone();
            let expected = expected.iter().find(|(of, _)| *of == scenario);
            let expected = expected.map(|(_, end)| end.clone());
            let of_task = cut.clone();
            let task = tasks.spawn(async move {
                let _turn = turns.acquire().await.unwrap();
                let stage = Stage::set(cluster, commits, number, level, of_task).await;
                let played = play(&stage, scenario, &worker_image, expected.as_ref()).await;
                if std::env::var_os("TRANSSHIP_E2E_KEEP").is_none() {
                    stage.clear().await;
                }
                played
            });
            names.insert(task.id(), (scenario, cut));
        }
        let mut ended = Vec::new();
        while let Some(task) = tasks.join_next_with_id().await {
            let (id, played) = match task {
                Ok(ended) => ended,
                Err(error) => (error.id(), Err(format!("panicked: {error}"))),
            };
            let (scenario, cut) = names.remove(&id).unwrap();
            ended.push((scenario, cut, played));
        }
        ended
    }
}

/// Plays a scenario, and waits for the end that is expected.
async fn play(
    stage: &Stage,
    scenario: Scenario,
    worker_image: &str,
    expected: Option<&EndState>,
) -> Result<Played, String> {
    let launch = stage.launch(worker_image);
    let story = async {
        scenario.play(stage).await;
        stage.is_quiet().await;
        // What an owner leaves behind is collected a moment later.
        eventually(&format!("the end of {scenario:?}"), || async {
            let end = stage.end_state().await;
            match expected {
                Some(expected) if *expected != end => {
                    Err(format!("wanted {expected:#?}, found {end:#?}"))
                }
                None if !end.is_settled() => Err(format!("{end:#?}")),
                _ => Ok(end),
            }
        })
        .await
    };
    tokio::select! {
        end = story => Ok(Played {
            end,
            points: stage.proxy.points(),
            is_cut: stage.proxy.is_cut(),
        }),
        ended = launch.keep_running() => Err(format!("{ended}\n{}", stage.log())),
    }
}

/// The operator that is installed, which does nothing as long as this lives.
struct StoppedInstallation {
    replicas: String,
    /// The image of its pods, which that of workers is, too.
    image: String,
}

impl StoppedInstallation {
    fn stop() -> Self {
        let field = |path: &str| {
            let path = format!("jsonpath={{{path}}}");
            kubectl(&["get", "deployment", "transship", "--output", &path])
        };
        let stopped = Self {
            replicas: field(".spec.replicas"),
            image: field(".spec.template.spec.containers[0].image"),
        };
        kubectl(&["scale", "deployment", "transship", "--replicas=0"]);
        kubectl(&["wait", "pods", "--for=delete", "--all", "--timeout=60s"]);
        stopped
    }
}

impl Drop for StoppedInstallation {
    fn drop(&mut self) {
        let replicas = format!("--replicas={}", self.replicas);
        for arguments in [
            ["scale", "deployment", "transship", &replicas],
            ["rollout", "status", "deployment", "transship"],
        ] {
            // A panic within another one would hide that.
            if let Err(message) = try_run(&in_namespace(&arguments)) {
                eprintln!("the installed operator stays stopped: {message}");
            }
        }
    }
}

fn kubectl(arguments: &[&str]) -> String {
    run(&in_namespace(arguments))
}

fn in_namespace<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&["kubectl", "--namespace", OPERATOR_NAMESPACE], arguments].concat()
}
