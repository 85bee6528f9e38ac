//! Random faults at all registries: no tag ever points at an incomplete image, success is never
//! claimed falsely, nothing hangs, and once the faults stop the next run puts everything in place.
//!
//! `TRANSSHIP_FAULT_SCHEDULES` says how many schedules are played (200 without it) and
//! `TRANSSHIP_FAULT_SEED` with which seed they begin, so that one that failed can be played again.

mod content;
mod party;
mod setting;

use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use transship::copy::ImageOutcome;
use transship::reason::Reason;

use self::setting::Setting;
use crate::support::registry::Random;

const SCHEDULES: u64 = 200;
/// Schedules that are played at once: they wait for one another's turn more than for anything else.
const PARALLEL: usize = 8;
/// Far more than any schedule takes: who needs it hangs.
const HANGS: Duration = Duration::from_mins(2);
/// After how many schedules the log says how far it is.
const PROGRESS: u64 = 1000;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Plays the schedule of `seed`.
async fn play(seed: u64) {
    let mut random = Random::new(seed);
    let setting = Setting::draw(&mut random).await;
    setting.add_faults(&mut random);
    if let Some(requests) = setting.killed_after {
        tokio::select! {
            outcomes = setting.run() => setting.assert_no_false_success(&outcomes),
            () = setting.destination().reaches(requests) => {}
        }
    } else {
        let before = setting.tags();
        let engines = (0..setting.engines).map(|_| setting.run());
        let runs = join_all(engines).await;
        for outcomes in &runs {
            setting.assert_no_false_success(outcomes);
        }
        // Another engine may have had more luck.
        if runs.len() == 1 && runs.iter().flatten().any(is_held_back) {
            assert_eq!(
                setting.tags(),
                before,
                "a tag moved although others had failed"
            );
        }
    }
    setting.clear_faults();

    let outcomes = setting.run().await;
    setting.assert_all_settled(&outcomes);
    setting.assert_no_false_success(&outcomes);
    if random.one_in(4) {
        setting.assert_stays(&outcomes).await;
    }
    setting.assert_never_incomplete();
}

fn is_held_back(outcome: &ImageOutcome) -> bool {
    let mut failures = outcome.iter().filter_map(|result| result.as_ref().err());
    failures.any(|failure| failure.reason == Reason::HeldBack)
}

/// What a run gives for each image.
type Outcomes = Vec<ImageOutcome>;

/// Plays a schedule in a runtime of its own, which ends what it leaves behind.
fn play_alone(seed: u64) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(tokio::time::timeout(HANGS, play(seed)))
        .expect("the run hangs");
}

#[tokio::test]
async fn whatever_goes_wrong_no_tag_is_torn_and_the_next_run_succeeds() {
    let first = number("TRANSSHIP_FAULT_SEED", 0);
    let count = number("TRANSSHIP_FAULT_SCHEDULES", SCHEDULES);
    eprintln!("playing schedules {first} to {}", first + count - 1);
    let failed: Vec<u64> = futures::stream::iter(first..first + count)
        .map(|seed| async move {
            let played = tokio::task::spawn_blocking(move || play_alone(seed)).await;
            if (seed + 1 - first).is_multiple_of(PROGRESS) {
                eprintln!("schedule {seed} played");
            }
            (seed, played.is_ok())
        })
        .buffer_unordered(PARALLEL)
        .filter_map(|(seed, succeeded)| async move { (!succeeded).then_some(seed) })
        .collect()
        .await;
    assert!(
        failed.is_empty(),
        "schedules failed; play one again with `make fault-storm SCHEDULES=1 SEED=...`: {failed:?}"
    );
}
