//! Faults chosen at random from a seed, so that a failure can be played again.

use std::time::Duration;

use transship::oci::Digest;

use super::fault::{Action, Rule};
use super::route::Endpoint;

/// How many rules a schedule has at most, and how often each of them acts at most.
const MAX_RULES: u64 = 6;
const MAX_TIMES: u64 = 3;

/// Which registry the faults are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It is read from. It never denies that it has something: a signature that a registry hides
    /// cannot be missed.
    Source,
    /// It is written to, and loses what it has acknowledged.
    Destination,
    /// It is written to and takes manifests without looking at what they need. It keeps what it has
    /// acknowledged, so that what it lacks is what was not sent.
    Permissive,
}

/// One kind of fault; the numbers in it are drawn when it is used.
#[derive(Clone, Copy)]
enum Kind {
    ServerError,
    Refusal,
    TooMany,
    Delay,
    CutResponse,
    CutRequest,
    KeepArrived,
    LoseAnswer,
    FlipBit,
    FlipReceivedBit,
    IgnoreRange,
    LoseSession,
    LastChunkWins,
    MaxBody,
    Forget,
    ShowLater,
    CollectGarbage,
    Compress,
    EndlessPages,
    FalseHeader,
    MissingHeader,
}

const ANYWHERE: [Kind; 9] = [
    Kind::ServerError,
    Kind::TooMany,
    Kind::Delay,
    Kind::CutResponse,
    Kind::CutRequest,
    Kind::LoseAnswer,
    Kind::Compress,
    Kind::FalseHeader,
    Kind::MissingHeader,
];

/// What happens at an endpoint beside [`ANYWHERE`].
///
/// Lists are neither damaged nor denied: they have no digest, so that it could not be noticed.
fn special(role: Role, endpoint: Endpoint) -> &'static [Kind] {
    use Kind::{
        CollectGarbage, EndlessPages, FlipBit, FlipReceivedBit, Forget, IgnoreRange, KeepArrived,
        LastChunkWins, LoseSession, MaxBody, Refusal, ShowLater,
    };
    match (role, endpoint) {
        (Role::Source, Endpoint::Blob | Endpoint::Manifest) => &[FlipBit, IgnoreRange, Refusal],
        (_, Endpoint::Blob | Endpoint::Token) => &[FlipBit, Refusal],
        (_, Endpoint::Tags | Endpoint::Referrers) => &[EndlessPages],
        (Role::Destination, Endpoint::Uploads) => &[CollectGarbage, Refusal],
        (Role::Destination, Endpoint::Session) => &[
            KeepArrived,
            FlipReceivedBit,
            LastChunkWins,
            LoseSession,
            MaxBody,
            Forget,
            ShowLater,
            CollectGarbage,
            Refusal,
        ],
        (Role::Destination, Endpoint::Manifest) => &[
            FlipBit,
            FlipReceivedBit,
            MaxBody,
            Forget,
            ShowLater,
            CollectGarbage,
            Refusal,
        ],
        (Role::Permissive, Endpoint::Session) => &[
            KeepArrived,
            FlipReceivedBit,
            LastChunkWins,
            LoseSession,
            MaxBody,
            Refusal,
        ],
        (Role::Permissive, Endpoint::Manifest) => &[FlipBit, MaxBody, Refusal],
        (_, Endpoint::Uploads) => &[Refusal],
        _ => &[],
    }
}

impl Role {
    const fn endpoints(self) -> &'static [Endpoint] {
        match self {
            Self::Source => &[
                Endpoint::Blob,
                Endpoint::Blob,
                Endpoint::Manifest,
                Endpoint::Manifest,
                Endpoint::Tags,
                Endpoint::Referrers,
                Endpoint::Token,
                Endpoint::Ping,
            ],
            Self::Destination | Self::Permissive => &[
                Endpoint::Blob,
                Endpoint::Uploads,
                Endpoint::Uploads,
                Endpoint::Session,
                Endpoint::Session,
                Endpoint::Manifest,
                Endpoint::Manifest,
                Endpoint::Tags,
                Endpoint::Token,
                Endpoint::Ping,
            ],
        }
    }
}

/// The next faults for a registry in this role. They are over after a bounded number of requests, and
/// none of them takes longer than 2 ms.
pub(crate) fn random_faults(random: &mut Random, role: Role) -> Vec<Rule> {
    let count = 1 + random.below(MAX_RULES);
    (0..count)
        .map(|_| {
            let endpoint = random.pick(role.endpoints());
            let special = special(role, endpoint);
            let kind = if random.below(2) == 0 && !special.is_empty() {
                random.pick(special)
            } else {
                random.pick(&ANYWHERE)
            };
            let action = action(random, kind, role);
            let skip = usize::try_from(random.below(8)).unwrap();
            let times = usize::try_from(1 + random.below(MAX_TIMES)).unwrap();
            Rule::on(endpoint, action).after(skip).times(times)
        })
        .collect()
}

fn action(random: &mut Random, kind: Kind, role: Role) -> Action {
    let bytes = usize::try_from(random.below(64)).unwrap();
    match kind {
        Kind::ServerError => Action::status(random.pick(&[408, 500, 502, 503, 504])),
        Kind::Refusal if role == Role::Source => Action::status(random.pick(&[400, 401, 403, 416])),
        Kind::Refusal => Action::status(random.pick(&[400, 401, 403, 404, 405, 409, 413, 416])),
        Kind::TooMany => Action::Answer {
            status: random.pick(&[429, 503]),
            headers: vec![("retry-after", random.pick(&["0", "-1", "soon"]).to_owned())],
            body: String::new(),
        },
        Kind::Delay => Action::Delay(Duration::from_millis(random.below(3))),
        Kind::CutResponse => Action::CutResponse(bytes),
        Kind::CutRequest => Action::CutRequest(bytes),
        Kind::KeepArrived => Action::KeepArrived,
        Kind::LoseAnswer => Action::LoseAnswer,
        Kind::FlipBit => Action::FlipBit(bytes),
        Kind::FlipReceivedBit => Action::FlipReceivedBit(bytes),
        Kind::IgnoreRange => Action::IgnoreRange,
        Kind::LoseSession => Action::LoseSession,
        Kind::LastChunkWins => Action::LastChunkWins,
        Kind::MaxBody => Action::MaxBody(bytes),
        Kind::Forget => Action::Forget,
        Kind::ShowLater => Action::ShowLater(bytes % 4),
        Kind::CollectGarbage => Action::CollectGarbage,
        Kind::Compress => Action::Compress,
        Kind::EndlessPages => Action::EndlessPages,
        Kind::FalseHeader => false_header(random),
        Kind::MissingHeader => Action::RemoveHeader(random.pick(&[
            "content-type",
            "docker-content-digest",
            "location",
            "oci-subject",
            "range",
            "www-authenticate",
        ])),
    }
}

fn false_header(random: &mut Random) -> Action {
    let other = Digest::sha256(&random.next().to_le_bytes()).to_string();
    let (name, value) = random.pick(&[
        ("content-type", "text/html"),
        ("content-range", "bytes 0-0/1"),
        ("docker-content-digest", other.as_str()),
        ("docker-content-digest", "sha512:00"),
        ("location", "http://169.254.169.254/latest/meta-data/"),
        ("location", "/v2/elsewhere"),
        ("oci-chunk-min-length", "99999999999"),
        ("range", "0-0"),
        ("range", "0-999999999"),
        (
            "www-authenticate",
            "Bearer realm=\"http://169.254.169.254/token\"",
        ),
    ]);
    Action::SetHeader(name, value.to_owned())
}

/// The generator `SplitMix64`: good enough to choose faults, and the same on every machine.
pub(crate) struct Random(u64);

impl Random {
    /// The numbers that belong to `seed`.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Whether the first of `count` equal chances is drawn.
    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        let at = usize::try_from(self.below(choices.len() as u64)).unwrap();
        *choices.get(at).expect("at least one choice")
    }
}
