//! How every object of a kind stands, so that all of them can be summed up.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use prometheus::IntGaugeVec;

use crate::controller::standing::State;

/// By namespace and name, so that one that is deleted stops counting.
#[derive(Debug)]
pub(super) struct Standings<S>(Mutex<HashMap<String, S>>);

impl<S> Default for Standings<S> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<S> Standings<S> {
    /// Takes note of how an object stands.
    pub(super) fn observe(&self, key: &str, standing: S) {
        self.with(|standings| standings.insert(key.to_owned(), standing));
    }

    /// Stops counting an object that is gone.
    pub(super) fn forget(&self, key: &str) {
        self.with(|standings| standings.remove(key));
    }

    /// Looks at each.
    pub(super) fn for_each(&self, look: impl FnMut(&S)) {
        self.with(|standings| standings.values().for_each(look));
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<String, S>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How many objects are in each state.
pub(super) struct StateCounts<const N: usize>([(State, i64); N]);

impl<const N: usize> StateCounts<N> {
    pub(super) fn new(states: [State; N]) -> Self {
        Self(states.map(|state| (state, 0)))
    }

    pub(super) fn add(&mut self, state: State) {
        for (counted, count) in &mut self.0 {
            *count += i64::from(*counted == state);
        }
    }

    pub(super) fn show(self, gauges: &IntGaugeVec) {
        for (state, count) in self.0 {
            gauges.with_label_values(&[state.label()]).set(count);
        }
    }
}
