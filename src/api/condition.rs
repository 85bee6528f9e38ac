//! Conditions by the rules of kstatus: `Ready` always, `Reconciling` and `Stalled` only while true,
//! `observedGeneration` on each, `lastTransitionTime` moving only when `status` does.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::reason::Reason;

/// The condition types in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionType {
    /// Everything the spec asks for is in place.
    Ready,
    /// The controller is working towards it.
    Reconciling,
    /// The controller cannot go on until the user mends something.
    Stalled,
}

impl ConditionType {
    /// The `type` of the condition.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
        }
    }
}

/// Builds the condition list of a new status from that of the last one.
#[derive(Debug)]
pub struct Conditions<'a> {
    previous: &'a [Condition],
    generation: Option<i64>,
    now: Timestamp,
    next: Vec<Condition>,
}

impl<'a> Conditions<'a> {
    /// Starts an empty list for `generation`; what is not set is gone from the new status.
    #[must_use]
    pub const fn new(previous: &'a [Condition], generation: Option<i64>, now: Timestamp) -> Self {
        Self {
            previous,
            generation,
            now,
            next: Vec::new(),
        }
    }

    /// Adds one condition. `status` is `True`, `False` or `Unknown`.
    #[must_use]
    pub fn set(
        mut self,
        type_: ConditionType,
        status: &'static str,
        reason: Reason,
        message: impl Into<String>,
    ) -> Self {
        let unchanged_since = find_condition(self.previous, type_)
            .filter(|condition| condition.status == status)
            .map(|condition| condition.last_transition_time.clone());
        self.next.push(Condition {
            type_: type_.as_str().to_owned(),
            status: status.to_owned(),
            reason: reason.to_string(),
            message: message.into(),
            observed_generation: self.generation,
            last_transition_time: unchanged_since.unwrap_or(Time(self.now)),
        });
        self
    }

    /// The finished list.
    #[must_use]
    pub fn build(self) -> Vec<Condition> {
        self.next
    }
}

/// The condition of the given type, if the list has it.
#[must_use]
pub fn find_condition(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    conditions
        .iter()
        .find(|condition| condition.type_ == type_.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let (first, second) = (
            Timestamp::from_second(100).unwrap(),
            Timestamp::from_second(200).unwrap(),
        );
        let before = Conditions::new(&[], Some(1), first)
            .set(ConditionType::Ready, "False", Reason::RunFailed, "x")
            .build();
        let same = Conditions::new(&before, Some(2), second)
            .set(ConditionType::Ready, "False", Reason::PushDenied, "y")
            .build();
        assert_eq!(same[0].last_transition_time.0, first);
        assert_eq!(same[0].observed_generation, Some(2));
        let other = Conditions::new(&same, Some(2), second)
            .set(ConditionType::Ready, "True", Reason::Succeeded, "z")
            .build();
        assert_eq!(other[0].last_transition_time.0, second);
    }
}
