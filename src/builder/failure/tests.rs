use rstest::rstest;

use super::*;
use crate::builder::fixture::BUILDERS;

fn ended<'a>(container_reason: &'a str, pod_reason: &'a str, log: &'a str) -> Ended<'a> {
    Ended {
        exit_code: 137,
        container_reason,
        pod_reason,
        log,
    }
}

#[rstest]
#[case("OOMKilled", "", Reason::OutOfMemory, FailureClass::OutOfMemory)]
#[case("Error", "Evicted", Reason::Evicted, FailureClass::Evicted)]
#[case("Error", "DeadlineExceeded", Reason::TimedOut, FailureClass::Timeout)]
#[case("Error", "", Reason::BuilderKilled, FailureClass::Infrastructure)]
fn what_ended_the_pod_counts_more_than_the_log(
    #[case] container_reason: &str,
    #[case] pod_reason: &str,
    #[case] reason: Reason,
    #[case] class: FailureClass,
) {
    for builder in BUILDERS {
        let failure =
            builder
                .builder()
                .failure(&ended(container_reason, pod_reason, "some step\n"));
        assert_eq!(failure.reason, reason);
        assert_eq!(failure.class(), class);
    }
}

#[test]
fn a_builder_that_says_nothing_is_reported_with_its_exit_code() {
    for builder in BUILDERS {
        let failure = builder.builder().failure_in_log(3, "");
        assert_eq!(failure.reason, Reason::BuilderFailed);
        assert_eq!(
            failure.message,
            "the builder ended with exit code 3 and said nothing"
        );
    }
}

#[test]
fn a_message_is_one_printable_line_of_bounded_length() {
    let failure = Failure::new(
        Reason::BuilderFailed,
        &format!("\u{1b}[31mbad\n{}", "x".repeat(5000)),
    );
    assert!(failure.message.starts_with("[31mbad x") && failure.message.chars().count() < 1025);
}
