//! Which tags are removed because no source selects them any more, and when. Pure.

use std::time::Duration;

use jiff::Timestamp;

use super::ledger::{Ledger, Written};
use crate::api::PruneMode;
use crate::controller::later;

/// Most tags that are removed by one scan; the next one goes on.
pub(super) const MAX_REMOVALS: usize = 100;

/// How long the status shows at least what is to be removed.
const SHOWN: Duration = Duration::from_secs(2);

/// `spec.prune` as checked values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PruneRules {
    pub(crate) mode: PruneMode,
    pub(crate) grace: Duration,
    /// 0 to 100.
    pub(crate) max_percent: u8,
}

/// What is to be removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PrunePlan {
    /// Everything that is not wanted, with the time after which it is removed; the first to go first.
    pub(super) unwanted: Vec<(Written, Timestamp)>,
    /// How many of them are removed now.
    pub(super) due: usize,
    /// Why nothing is removed although it would be time.
    pub(super) blocked: Option<String>,
}

impl PrunePlan {
    /// What to remove now. Something that the status has not shown yet is never among it: it is not wanted since
    /// an earlier scan.
    pub(super) fn removals(&self) -> &[(Written, Timestamp)] {
        self.unwanted
            .get(..self.due.min(MAX_REMOVALS))
            .unwrap_or_default()
    }

    /// When there is something to remove that could not be removed now. What has just been found is shown by the
    /// status before it goes, even without a grace.
    pub(super) fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let shown = later(now, SHOWN);
        let unwanted = self.unwanted.iter();
        let coming = unwanted.filter_map(|(written, after)| {
            if written.unwanted_since == Some(now) {
                Some((*after).max(shown))
            } else {
                (*after > now).then_some(*after)
            }
        });
        coming.min()
    }
}

/// Plans.
pub(super) fn plan(ledger: &Ledger, rules: &PruneRules, now: Timestamp) -> PrunePlan {
    if rules.mode == PruneMode::None {
        return PrunePlan::default();
    }
    let unwanted = ledger.entries().filter_map(|written| {
        let after = written.unwanted_since?.checked_add(rules.grace);
        Some((written.clone(), after.unwrap_or(Timestamp::MAX)))
    });
    let mut unwanted: Vec<_> = unwanted.collect();
    unwanted.sort_by_key(|(written, after)| (*after, written.reference.clone()));
    let due = unwanted
        .iter()
        .take_while(|(written, after)| {
            *after <= now && written.unwanted_since.is_some_and(|since| since < now)
        })
        .count();
    let allowed = allowed(ledger.len(), rules.max_percent);
    if due > allowed {
        return PrunePlan {
            unwanted,
            due: 0,
            blocked: Some(format!(
                "{due} of {} tags are due to be removed, and spec.prune.maxPercent allows {allowed}: check the sources; if it is meant, raise maxPercent",
                ledger.len()
            )),
        };
    }
    PrunePlan {
        unwanted,
        due: if rules.mode == PruneMode::Delete {
            due
        } else {
            0
        },
        blocked: None,
    }
}

fn allowed(total: usize, max_percent: u8) -> usize {
    match usize::from(max_percent) {
        0 => 0,
        percent => (total.saturating_mul(percent) / 100).max(1),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::copy::AccessReference;
    use crate::oci::Digest;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Ten tags, of which these are not wanted since these times.
    fn ledger(unwanted: &[i64]) -> Ledger {
        let written = (0..10).map(|number: usize| Written {
            reference: format!("one.test/app:{number}").parse().unwrap(),
            digest: Digest::sha256(b"image"),
            access: AccessReference::default(),
            unwanted_since: unwanted.get(number).map(|second| at(*second)),
        });
        Ledger::new(written.collect())
    }

    fn rules(mode: PruneMode, grace: u64, max_percent: u8) -> PruneRules {
        PruneRules {
            mode,
            grace: Duration::from_secs(grace),
            max_percent,
        }
    }

    #[rstest]
    #[case::in_time(&[100], 60, 159, 0, Some(160))]
    #[case::over(&[100], 60, 160, 1, None)]
    #[case::seen_in_this_very_scan(&[100], 0, 100, 0, Some(102))]
    #[case::seen_in_this_very_scan_with_a_grace(&[100], 60, 100, 0, Some(160))]
    #[case::seen_before(&[100], 0, 101, 1, None)]
    #[case::wanted(&[], 0, 1000, 0, None)]
    fn a_tag_goes_when_its_grace_is_over(
        #[case] unwanted: &[i64],
        #[case] grace: u64,
        #[case] now: i64,
        #[case] expected: usize,
        #[case] next: Option<i64>,
    ) {
        let plan = plan(
            &ledger(unwanted),
            &rules(PruneMode::Delete, grace, 10),
            at(now),
        );
        assert_eq!(plan.removals().len(), expected);
        assert_eq!(plan.unwanted.len(), unwanted.len());
        assert_eq!(plan.next(at(now)), next.map(at));
    }

    #[rstest]
    #[case(10, 2, 0)]
    #[case(20, 2, 2)]
    #[case(0, 1, 0)]
    #[case(1, 1, 1)]
    #[case(100, 10, 10)]
    fn too_many_at_once_are_none(
        #[case] max_percent: u8,
        #[case] unwanted: usize,
        #[case] expected: usize,
    ) {
        let ledger = ledger(&vec![100; unwanted]);
        let plan = plan(&ledger, &rules(PruneMode::Delete, 0, max_percent), at(200));
        assert_eq!(plan.removals().len(), expected);
        assert_eq!(plan.blocked.is_some(), expected == 0);
        assert_eq!(plan.unwanted.len(), unwanted);
    }

    #[test]
    fn a_plan_removes_nothing_and_none_plans_nothing() {
        let planned = plan(&ledger(&[100]), &rules(PruneMode::Plan, 0, 10), at(200));
        assert_eq!((planned.unwanted.len(), planned.removals().len()), (1, 0));
        let none = plan(&ledger(&[100]), &rules(PruneMode::None, 0, 10), at(200));
        assert_eq!(none, PrunePlan::default());
    }
}
