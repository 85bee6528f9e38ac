//! Random faults at both registries: no tag ever points at an incomplete image, success is never
//! claimed falsely, nothing hangs, and once the faults stop the next run puts everything in place.
//!
//! `TRANSSHIP_FAULT_SCHEDULES` says how many schedules are played (100 without it) and
//! `TRANSSHIP_FAULT_SEED` with which seed they begin, so that one that failed can be played again.

use std::time::Duration;

use futures::StreamExt as _;

use super::scene::{Scene, Wish, wish};
use crate::support::registry::random_faults;

const SCHEDULES: u64 = 100;
/// Schedules that are played at once.
const PARALLEL: usize = 8;
/// Far more than any schedule takes: who needs it hangs.
const HANGS: Duration = Duration::from_mins(2);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

async fn scene() -> (Scene, Vec<Wish>) {
    let scene = Scene::start().await;
    scene.seed_index("one", "v1", &[b"base", b"first"]);
    scene.seed_index("one", "v2", &[b"base", b"second"]);
    scene
        .source
        .seed_image("two", Some("v1"), &[b"base", b"third"]);
    let wishes = vec![
        wish("one", "mirror/one", "v1"),
        wish("one", "mirror/one", "v2"),
        wish("two", "mirror/two", "v1"),
    ];
    (scene, wishes)
}

async fn play(seed: u64) {
    let (scene, wishes) = scene().await;
    for rule in random_faults(seed.wrapping_mul(2)) {
        scene.source.add(rule);
    }
    for rule in random_faults(seed.wrapping_mul(2).wrapping_add(1)) {
        scene.destination.add(rule);
    }
    let (outcomes, _) = scene.copy(&wishes).await;
    for (wish, outcome) in wishes.iter().zip(&outcomes) {
        if outcome.iter().all(Result::is_ok) {
            assert!(scene.is_in_place(wish), "false success: {wish:?}");
        }
    }
    scene.source.clear_rules();
    scene.destination.clear_rules();
    let (outcomes, _) = scene.copy(&wishes).await;
    assert!(outcomes.iter().flatten().all(Result::is_ok), "{outcomes:?}");
    assert!(wishes.iter().all(|wish| scene.is_in_place(wish)));
    scene.destination.assert_never_incomplete();
}

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
    let failed: Vec<u64> = futures::stream::iter(first..first + count)
        .map(|seed| async move {
            let played = tokio::task::spawn_blocking(move || play_alone(seed)).await;
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
