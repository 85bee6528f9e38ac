//! Durations as users write them.

/// Flux's duration pattern.
pub(super) const DURATION: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$";
/// Says nothing of what is no duration, as the pattern does: an error would keep the API server from storing a status
/// that says so.
pub(super) const BOUNDED_DURATION: &str = r"!self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') || (duration(self) >= duration('10s') && duration(self) <= duration('8760h'))";

/// The default of intervals and timeouts.
pub(super) fn one_hour() -> String {
    "1h".to_owned()
}
