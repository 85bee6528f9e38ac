//! What `copy`, `convert` and `sync` print of each copy, and of all of them at the end.

use std::process::ExitCode;

use serde::Serialize;

use super::hint;
use super::output;
use crate::copy::{Copied, Counts, Effect, Failure};
use crate::inspect::Missing;
use crate::oci::Digest;
use crate::reason::Reason;
use crate::worker::EXIT_COPIES_FAILED;

/// Prints results as they are known, and counts them.
#[derive(Debug)]
pub(super) struct Reporter {
    json: bool,
    quiet: bool,
    totals: Totals,
}

/// One copy, as `--json` prints it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    source: String,
    destination: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_digest: Option<&'a Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unchanged: Option<bool>,
    /// Something else is there, and stays.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    kept: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<&'a Missing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

/// The last line that `--json` prints.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Totals {
    copied: usize,
    unchanged: usize,
    kept: usize,
    failed: usize,
    blobs_sent: u64,
    blobs_mounted: u64,
    blobs_existing: u64,
    bytes_sent: u64,
    bytes_recompressed: u64,
}

impl Reporter {
    pub(super) fn new(json: bool, quiet: bool) -> Self {
        Self {
            json,
            quiet,
            totals: Totals::default(),
        }
    }

    /// What became of one image at one target.
    pub(super) fn result(
        &mut self,
        source: &str,
        destination: &str,
        result: &Result<Copied, Failure>,
    ) -> anyhow::Result<()> {
        match result {
            Ok(copied) => self.copied(source, destination, copied),
            Err(failure) => self.failed(source, destination, failure),
        }
    }

    fn copied(&mut self, source: &str, destination: &str, copied: &Copied) -> anyhow::Result<()> {
        match copied.effect {
            Effect::Written => self.totals.copied += 1,
            Effect::Unchanged => self.totals.unchanged += 1,
            Effect::Kept => {
                self.totals.kept += 1;
                if !self.quiet {
                    output::tell(format_args!(
                        "kept: {destination} is {}, {source} was not copied there",
                        copied.digest
                    ));
                }
            }
        }
        if self.json {
            let mut line = Line::new(source, destination);
            line.source_digest = Some(&copied.source);
            line.digest = Some(&copied.digest);
            line.unchanged = Some(copied.effect != Effect::Written);
            line.kept = copied.effect == Effect::Kept;
            output::json(&line)
        } else {
            output::line(format_args!("{destination}@{}", copied.digest))
        }
    }

    /// What would be sent of one image to one target; `source_digest` is what the source has, `digest`
    /// what would be there.
    pub(super) fn planned(
        &mut self,
        (source, source_digest): (&str, &Digest),
        (destination, digest): (&str, &Digest),
        missing: &Missing,
    ) -> anyhow::Result<()> {
        if missing.in_place {
            self.totals.unchanged += 1;
        } else {
            self.totals.copied += 1;
        }
        self.totals.blobs_sent += missing.blobs as u64;
        self.totals.bytes_sent += missing.bytes;
        if self.json {
            let mut line = Line::new(source, destination);
            line.source_digest = Some(source_digest);
            line.digest = Some(digest);
            line.missing = Some(missing);
            return output::json(&line);
        }
        let what = if missing.in_place {
            "in place".to_owned()
        } else {
            format!("{} in {} blobs", output::size(missing.bytes), missing.blobs)
        };
        output::line(format_args!("{source} -> {destination}: {what}"))
    }

    /// Why one image is not in place at one target.
    pub(super) fn failed(
        &mut self,
        source: &str,
        destination: &str,
        failure: &Failure,
    ) -> anyhow::Result<()> {
        self.totals.failed += 1;
        let step = hint::next_step(failure.reason, hint::Places::Two);
        let step = step.map(|step| format!("; {step}"));
        output::tell(format_args!(
            "not copied: {source} to {destination}: {failure}{} ({})",
            step.unwrap_or_default(),
            failure.reason
        ));
        if self.json {
            let mut line = Line::new(source, destination);
            line.reason = Some(failure.reason);
            line.message = Some(&failure.message);
            output::json(&line)?;
        }
        Ok(())
    }

    /// The end of a run that cost `counts`.
    pub(super) fn conclude(mut self, counts: Counts) -> anyhow::Result<ExitCode> {
        self.totals.blobs_sent = counts.sent;
        self.totals.blobs_mounted = counts.mounted;
        self.totals.blobs_existing = counts.existing;
        self.totals.bytes_sent = counts.bytes;
        self.totals.bytes_recompressed = counts.recompressed_bytes;
        let totals = &self.totals;
        if self.json {
            output::json(&serde_json::json!({"totals": totals}))?;
        }
        if !self.quiet {
            output::tell(format_args!(
                "{} copied, {} in place already, {}{} failed; {} sent, {} blobs mounted",
                totals.copied,
                totals.unchanged,
                totals.kept_text(),
                totals.failed,
                output::size(totals.bytes_sent),
                totals.blobs_mounted,
            ));
        }
        Ok(totals.exit_code())
    }

    /// The end of a run that has sent nothing.
    pub(super) fn conclude_plan(self) -> anyhow::Result<ExitCode> {
        let totals = &self.totals;
        if self.json {
            output::json(&serde_json::json!({"totals": totals}))?;
        } else {
            output::line(format_args!(
                "{} to copy with {} in {} blobs, {} in place already, {}{} failed; nothing was sent",
                totals.copied,
                output::size(totals.bytes_sent),
                totals.blobs_sent,
                totals.unchanged,
                totals.kept_text(),
                totals.failed,
            ))?;
        }
        Ok(totals.exit_code())
    }
}

impl Totals {
    /// What was kept, if anything was.
    fn kept_text(&self) -> String {
        match self.kept {
            0 => String::new(),
            kept => format!("{kept} kept as they were, "),
        }
    }

    fn exit_code(&self) -> ExitCode {
        if self.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(EXIT_COPIES_FAILED)
        }
    }
}

impl Line<'_> {
    fn new(source: &str, destination: &str) -> Self {
        Self {
            source: source.to_owned(),
            destination: destination.to_owned(),
            source_digest: None,
            digest: None,
            unchanged: None,
            kept: false,
            missing: None,
            reason: None,
            message: None,
        }
    }
}
