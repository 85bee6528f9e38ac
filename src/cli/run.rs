//! What `copy` and `sync` have in common: options of the engine, the run, its result.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use clap::{Args, ValueEnum};
use futures::future::join_all;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::conversion::ConversionArguments;
use super::output;
use super::progress;
use crate::copy::{self, Copied, Counters, Failure, ImageCopy, ImageOutcome, Selection};
use crate::inspect::{Missing, Outgoing, Tree, read_tree};
use crate::oci::{Digest, Platform};
use crate::reason::Reason;
use crate::worker::{EXIT_COPIES_FAILED, EXIT_INTERRUPTED};

/// What the help of `copy` and `sync` says of exit codes.
pub(super) const EXIT_CODES: &str = "\
Exit codes: 0 everything is in place; 10 some copies failed; 11 interrupted, what was copied stays; \
1 it could not start; 2 wrong usage.";

/// How a run goes, and what is printed.
#[derive(Args, Clone, Debug)]
pub(super) struct RunArguments {
    #[command(flatten)]
    selection: SelectionArguments,

    /// Images that are copied at once
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 48,
        value_parser = clap::value_parser!(u16).range(1..=256)
    )]
    parallel: u16,

    /// Say what would be sent and send nothing
    #[arg(long)]
    dry_run: bool,

    /// Print JSON: one object per image and destination, then one with the totals
    #[arg(long)]
    json: bool,

    /// Say nothing but errors on standard error
    #[arg(short, long)]
    quiet: bool,

    #[command(flatten)]
    conversion: ConversionArguments,
}

/// What is copied of each image.
#[derive(Args, Clone, Debug)]
struct SelectionArguments {
    /// Copy these platforms of an index only, for example linux/arm64; may be repeated
    #[arg(long = "platform", value_name = "OS/ARCHITECTURE")]
    platforms: Vec<Platform>,

    /// What becomes of an index of which only some platforms are copied
    #[arg(
        long,
        value_name = "POLICY",
        value_enum,
        default_value = "rewrite",
        requires = "platforms"
    )]
    index_policy: IndexPolicy,

    /// Leave signatures, attestations and other referrers behind
    #[arg(long)]
    no_referrers: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum IndexPolicy {
    /// A new index that names the chosen platforms only; it has another digest
    Rewrite,
    /// The same index; it names images that are not there, which some registries refuse
    Sparse,
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
    failed: usize,
    blobs_sent: u64,
    blobs_mounted: u64,
    blobs_existing: u64,
    bytes_sent: u64,
    bytes_recompressed: u64,
}

impl RunArguments {
    fn options(&self) -> copy::Options {
        let platforms = self.selection.platforms.clone();
        copy::Options {
            platforms: match (platforms.is_empty(), self.selection.index_policy) {
                (true, _) => Selection::All,
                (false, IndexPolicy::Rewrite) => Selection::Rewrite(platforms),
                (false, IndexPolicy::Sparse) => Selection::Sparse(platforms),
            },
            conversion: self.conversion.conversion(),
            referrers: !self.selection.no_referrers,
            parallel_images: usize::from(self.parallel),
            ..copy::Options::default()
        }
    }

    /// Whether images change their form.
    pub(super) fn converts(&self) -> bool {
        !self.conversion.conversion().is_none()
    }

    /// Copies what `opening` gives, or says what would be copied.
    pub(super) async fn run(
        &self,
        opening: impl Future<Output = anyhow::Result<Vec<ImageCopy>>>,
        cancel: &CancellationToken,
    ) -> anyhow::Result<ExitCode> {
        if self.dry_run && self.converts() {
            bail!("what a conversion sends is not known before it is done: leave out --dry-run");
        }
        let copies = tokio::select! {
            copies = opening => copies?,
            () = cancel.cancelled() => return Ok(interrupted()),
        };
        let work = async {
            if self.dry_run {
                self.plan(&copies).await
            } else {
                self.copy(&copies).await
            }
        };
        let done = tokio::select! {
            done = work => done,
            () = cancel.cancelled() => {
                let targets = copies.iter().flat_map(|copy| &copy.targets);
                join_all(targets.map(|target| target.place.put_away())).await;
                return Ok(interrupted());
            }
        };
        if !self.quiet {
            warnings(&copies).iter().for_each(output::tell);
        }
        done
    }

    async fn copy(&self, copies: &[ImageCopy]) -> anyhow::Result<ExitCode> {
        let counters = Arc::new(Counters::default());
        // The engine has the only observer: the bars are gone before anything else is written.
        let outcomes = copy::copy_images(
            copies,
            &self.options(),
            Arc::clone(&counters),
            progress::observer(self.quiet),
        )
        .await;
        let mut totals = Totals::default();
        for (copy, outcome) in copies.iter().zip(&outcomes) {
            self.report(copy, outcome, &mut totals)?;
        }
        let counts = counters.now();
        self.conclude(&Totals {
            blobs_sent: counts.sent,
            blobs_mounted: counts.mounted,
            blobs_existing: counts.existing,
            bytes_sent: counts.bytes,
            bytes_recompressed: counts.recompressed_bytes,
            ..totals
        })
    }

    fn report(
        &self,
        copy: &ImageCopy,
        outcome: &ImageOutcome,
        totals: &mut Totals,
    ) -> anyhow::Result<()> {
        let source = source_name(copy);
        for (target, result) in copy.targets.iter().zip(outcome) {
            let destination = target.to_string();
            match result {
                Ok(copied) => self.report_copied(&source, &destination, copied, totals)?,
                Err(failure) => self.report_failed(&source, &destination, failure, totals)?,
            }
        }
        Ok(())
    }

    fn report_copied(
        &self,
        source: &str,
        destination: &str,
        copied: &Copied,
        totals: &mut Totals,
    ) -> anyhow::Result<()> {
        if copied.unchanged {
            totals.unchanged += 1;
        } else {
            totals.copied += 1;
        }
        if self.json {
            let mut line = Line::new(source, destination);
            line.source_digest = Some(&copied.source);
            line.digest = Some(&copied.digest);
            line.unchanged = Some(copied.unchanged);
            output::json(&line)
        } else {
            output::line(format_args!("{destination}@{}", copied.digest))
        }
    }

    fn report_failed(
        &self,
        source: &str,
        destination: &str,
        failure: &Failure,
        totals: &mut Totals,
    ) -> anyhow::Result<()> {
        totals.failed += 1;
        output::tell(format_args!(
            "not copied: {source} to {destination}: {failure} ({})",
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

    fn conclude(&self, totals: &Totals) -> anyhow::Result<ExitCode> {
        if self.json {
            output::json(&serde_json::json!({"totals": totals}))?;
        }
        if !self.quiet {
            output::tell(format_args!(
                "{} copied, {} in place already, {} failed; {} sent, {} blobs mounted",
                totals.copied,
                totals.unchanged,
                totals.failed,
                output::size(totals.bytes_sent),
                totals.blobs_mounted,
            ));
        }
        Ok(if totals.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(EXIT_COPIES_FAILED)
        })
    }

    /// Prints what each destination lacks. Nothing is written anywhere.
    async fn plan(&self, copies: &[ImageCopy]) -> anyhow::Result<ExitCode> {
        let mut outgoing = Outgoing::default();
        let mut totals = Totals::default();
        for copy in copies {
            let source = source_name(copy);
            let (digest, tree) = match self.read(copy).await {
                Ok(read) => read,
                Err(failure) => {
                    for target in &copy.targets {
                        self.report_failed(&source, &target.to_string(), &failure, &mut totals)?;
                    }
                    continue;
                }
            };
            for target in &copy.targets {
                let destination = target.to_string();
                let missing = outgoing
                    .missing(&tree, target.place.as_ref(), target.tag.as_ref())
                    .await;
                match missing {
                    Ok(missing) => {
                        let mut line = Line::new(&source, &destination);
                        line.source_digest = Some(&digest);
                        line.digest = Some(&tree.descriptor.digest);
                        line.missing = Some(&missing);
                        self.report_planned(&line, &missing, &mut totals)?;
                    }
                    Err(error) => {
                        let failure = Failure::of_place(copy::Side::Destination, &error);
                        self.report_failed(&source, &destination, &failure, &mut totals)?;
                    }
                }
            }
        }
        if self.json {
            output::json(&serde_json::json!({"totals": totals}))?;
        } else {
            output::line(format_args!(
                "{} to copy with {} in {} blobs, {} in place already, {} failed; nothing was sent",
                totals.copied,
                output::size(totals.bytes_sent),
                totals.blobs_sent,
                totals.unchanged,
                totals.failed,
            ))?;
        }
        Ok(if totals.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(EXIT_COPIES_FAILED)
        })
    }

    fn report_planned(
        &self,
        line: &Line<'_>,
        missing: &Missing,
        totals: &mut Totals,
    ) -> anyhow::Result<()> {
        if missing.in_place {
            totals.unchanged += 1;
        } else {
            totals.copied += 1;
        }
        totals.blobs_sent += missing.blobs as u64;
        totals.bytes_sent += missing.bytes;
        if self.json {
            return output::json(line);
        }
        let what = if missing.in_place {
            "in place".to_owned()
        } else {
            format!("{} in {} blobs", output::size(missing.bytes), missing.blobs)
        };
        output::line(format_args!(
            "{} -> {}: {what}",
            line.source, line.destination
        ))
    }

    /// The digest that the source has, and what would be copied of it.
    async fn read(&self, copy: &ImageCopy) -> Result<(Digest, Tree), Failure> {
        let root = copy
            .source
            .manifest(copy.image.as_reference())
            .await
            .map_err(|error| Failure::of_place(copy::Side::Source, &error))?;
        let digest = root.digest().clone();
        let root = self.options().platforms.apply(root)?;
        let mut tree = read_tree(&copy.source, root, !self.selection.no_referrers)
            .await
            .map_err(|error| Failure {
                reason: Reason::SourceInvalid,
                message: error.to_string(),
            })?;
        // An index that stays as it is names images that are not copied.
        if !self.selection.platforms.is_empty() {
            tree.retain_platforms(&self.selection.platforms);
        }
        Ok((digest, tree))
    }
}

fn interrupted() -> ExitCode {
    output::tell("interrupted; what is missing is copied when the command runs again");
    ExitCode::from(EXIT_INTERRUPTED)
}

/// What the places want people to know, each line once.
fn warnings(copies: &[ImageCopy]) -> BTreeSet<String> {
    let lines = copies.iter().flat_map(|copy| {
        let targets = copy.targets.iter();
        let targets = targets.flat_map(|target| target.place.warnings());
        targets.chain(copy.source.warnings())
    });
    lines.collect()
}

impl Line<'_> {
    fn new(source: &str, destination: &str) -> Self {
        Self {
            source: source.to_owned(),
            destination: destination.to_owned(),
            source_digest: None,
            digest: None,
            unchanged: None,
            missing: None,
            reason: None,
            message: None,
        }
    }
}

fn source_name(copy: &ImageCopy) -> String {
    match &copy.image {
        copy::ManifestName::Tag(tag) => format!("{}:{tag}", copy.source.name()),
        copy::ManifestName::Digest(digest) => format!("{}@{digest}", copy.source.name()),
    }
}
