//! `kubectl transship plan`: which tags a mirror will remove from its destinations, and when.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use jiff::Timestamp;

use super::arguments;
use super::cluster::{Cluster, read};
use super::table::{self, short_digest};
use crate::api::{ImageMirror, PruneMode, PruneStatus, UnwantedTag};
use crate::cli::output;

/// Show which tags a mirror will remove from its destinations, and when
///
/// Only tags that the mirror wrote and that its sources do not select any more are ever removed, and only with
/// `prune.mode: Delete`; with `Plan` this is what `Delete` would do. The status lists at most 50 tags, those that go
/// first.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl transship plan alpine
  kubectl transship plan alpine -o json

Exit codes: 0 printed, whatever is to be removed; 1 it cannot be read; 2 wrong usage; 11 interrupted.")]
pub(super) struct Arguments {
    /// The mirror
    #[arg(value_name = "NAME", value_parser = arguments::name)]
    name: String,

    /// Print `status.prune` as one JSON object
    #[arg(short, long, value_name = "FORMAT", value_enum)]
    output: Option<Format>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Json,
}

impl Arguments {
    pub(super) async fn run(self, cluster: &Cluster) -> anyhow::Result<ExitCode> {
        let mirror: ImageMirror = read(cluster.get(&self.name).await?)?;
        let plan = mirror.status.and_then(|status| status.prune);
        let plan = plan.unwrap_or_default();
        match self.output {
            Some(Format::Json) => output::json(&plan)?,
            None => {
                output::raw(rows(&plan.tags, Timestamp::now()).as_bytes())?;
                output::tell(summary(mirror.spec.prune.mode, &plan));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A line for each tag; nothing for none.
fn rows(tags: &[UnwantedTag], now: Timestamp) -> String {
    if tags.is_empty() {
        return String::new();
    }
    let rows: Vec<_> = tags
        .iter()
        .map(|tag| {
            let after = tag.remove_after.0;
            let when = if after > now {
                format!("in {}", table::age(table::since(now, after)))
            } else {
                "due".to_owned()
            };
            [tag.reference.clone(), short_digest(&tag.digest), when]
        })
        .collect();
    table::render(["TAG", "DIGEST", "REMOVED"], &rows)
}

/// What it means, in a sentence.
fn summary(mode: PruneMode, plan: &PruneStatus) -> String {
    let count = match plan.unwanted {
        0 => format!("all of {} tags that it wrote are wanted", plan.written),
        unwanted => format!(
            "{unwanted} of {} tags that it wrote are not wanted any more",
            plan.written
        ),
    };
    let text = match mode {
        PruneMode::None => {
            "spec.prune.mode is None: nothing is removed, and nothing is remembered".to_owned()
        }
        PruneMode::Plan => format!("{count}; spec.prune.mode is Plan: nothing is removed"),
        PruneMode::Delete => count,
    };
    match &plan.message {
        Some(message) => format!("{text}\n{message}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use rstest::rstest;

    use super::*;

    #[test]
    fn each_tag_has_a_line_that_says_when_it_goes() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let tag = |name: &str, after| UnwantedTag {
            reference: format!("one.test/app:{name}"),
            digest: format!("sha256:{}", "ab".repeat(32)),
            remove_after: Time(at(after)),
        };
        assert_eq!(
            rows(&[tag("1", 50), tag("2", 160)], at(100)),
            "TAG              DIGEST                REMOVED\n\
             one.test/app:1   sha256:abababababab   due\n\
             one.test/app:2   sha256:abababababab   in 60s\n"
        );
        assert_eq!(rows(&[], at(100)), "");
    }

    #[rstest]
    #[case(
        PruneMode::None,
        0,
        "spec.prune.mode is None: nothing is removed, and nothing is remembered"
    )]
    #[case(
        PruneMode::Plan,
        2,
        "2 of 9 tags that it wrote are not wanted any more; spec.prune.mode is Plan: nothing is removed"
    )]
    #[case(PruneMode::Delete, 0, "all of 9 tags that it wrote are wanted")]
    fn a_sentence_says_what_happens(
        #[case] mode: PruneMode,
        #[case] unwanted: i64,
        #[case] expected: &str,
    ) {
        let plan = PruneStatus {
            written: 9,
            unwanted,
            ..PruneStatus::default()
        };
        assert_eq!(summary(mode, &plan), expected);
    }
}
