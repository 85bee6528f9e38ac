//! Faults chosen at random from a seed, so that a failure can be played again.

use std::time::Duration;

use super::fault::{Action, Rule};
use super::route::Endpoint;

/// How many rules a schedule has at most, and how often each of them acts at most.
const MAX_RULES: u64 = 6;
const MAX_TIMES: u64 = 3;

const ENDPOINTS: [Endpoint; 5] = [
    Endpoint::Blob,
    Endpoint::Uploads,
    Endpoint::Session,
    Endpoint::Manifest,
    Endpoint::Tags,
];

/// The faults that belong to `seed`: the same for each call, and over after a bounded number of
/// requests. None of them takes longer than 2 ms.
pub(crate) fn random_faults(seed: u64) -> Vec<Rule> {
    let mut random = Random(seed);
    let count = 1 + random.below(MAX_RULES);
    (0..count)
        .map(|_| {
            let endpoint = random.pick(&ENDPOINTS);
            let action = random_action(&mut random);
            let skip = usize::try_from(random.below(4)).unwrap();
            let times = usize::try_from(1 + random.below(MAX_TIMES)).unwrap();
            Rule::on(endpoint, action).after(skip).times(times)
        })
        .collect()
}

fn random_action(random: &mut Random) -> Action {
    let bytes = usize::try_from(random.below(64)).unwrap();
    match random.below(18) {
        0 => Action::status(random.pick(&[500, 502, 503, 504])),
        1 => Action::Answer {
            status: 429,
            headers: vec![("retry-after", "0".to_owned())],
            body: String::new(),
        },
        2 => Action::Delay(Duration::from_millis(random.below(3))),
        3 => Action::CutResponse(bytes),
        4 => Action::CutRequest(bytes),
        5 => Action::LoseAnswer,
        6 => Action::FlipBit(bytes),
        7 => Action::IgnoreRange,
        8 => Action::LoseSession,
        9 => Action::Forget,
        10 => Action::KeepArrived,
        11 => Action::FlipReceivedBit(bytes),
        12 => Action::LastChunkWins,
        13 => Action::ShowLater(bytes % 4),
        14 => Action::CollectGarbage,
        15 => Action::Compress,
        16 => Action::EndlessPages,
        _ => Action::MaxBody(bytes),
    }
}

/// The generator `SplitMix64`: good enough to choose faults, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        let at = self.below(choices.len() as u64);
        let mut choices = choices.iter().copied().cycle();
        choices.nth(usize::try_from(at).unwrap()).unwrap()
    }
}
