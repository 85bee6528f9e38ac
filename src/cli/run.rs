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
use super::hint;
use super::output;
use super::progress::Progress;
use crate::copy::{self, Copied, Counters, Failure, ImageCopy, ImageOutcome, Root, Selection};
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
    ///
    /// How many requests a registry gets at once is found out by its answers; this bounds memory.
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 48,
        value_parser = clap::value_parser!(u16).range(1..=256)
    )]
    parallel: u16,

    /// Say what would be sent, with its bytes, and send nothing
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
    ///
    /// A platform without a variant stands for all of its variants. Attestations of the chosen images
    /// come along.
    #[arg(long = "platform", value_name = "OS/ARCHITECTURE")]
    platforms: Vec<Platform>,

    /// What becomes of an index of which only some platforms are copied
    ///
    /// Without this option it is `none` for docker-archive: and docker-daemon:, which hold no index,
    /// and `rewrite` for every other place.
    #[arg(long, value_name = "POLICY", value_enum, requires = "platforms")]
    index_policy: Option<IndexPolicy>,

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
    /// No index: the image of the one platform that was chosen, under its own digest
    None,
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
    /// `to_one_place` says that the destination holds images of one platform and no index.
    fn options(&self, to_one_place: bool) -> anyhow::Result<copy::Options> {
        Ok(copy::Options {
            platforms: self.selection.selection(to_one_place)?,
            conversion: self.conversion.conversion(),
            referrers: !self.selection.no_referrers,
            parallel_images: usize::from(self.parallel),
            ..copy::Options::default()
        })
    }

    /// Whether images change their form.
    pub(super) fn converts(&self) -> bool {
        !self.conversion.conversion().is_none()
    }

    /// Copies what `opening` gives, or says what would be copied.
    pub(super) async fn run(
        &self,
        opening: impl Future<Output = anyhow::Result<Vec<ImageCopy>>>,
        to_one_place: bool,
        cancel: &CancellationToken,
    ) -> anyhow::Result<ExitCode> {
        if self.dry_run && self.converts() {
            bail!("what a conversion sends is not known before it is done: leave out --dry-run");
        }
        let options = self.options(to_one_place)?;
        let progress = Progress::new(self.quiet || self.dry_run);
        let copies = tokio::select! {
            copies = opening => copies?,
            () = cancel.cancelled() => return Ok(interrupted()),
        };
        let work = async {
            if self.dry_run {
                self.plan(&copies, &options).await
            } else {
                self.copy(&copies, &options, &progress).await
            }
        };
        let done = tokio::select! {
            done = work => done,
            () = cancel.cancelled() => {
                progress.close();
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

    async fn copy(
        &self,
        copies: &[ImageCopy],
        options: &copy::Options,
        progress: &Progress,
    ) -> anyhow::Result<ExitCode> {
        let counters = Arc::new(Counters::default());
        let outcomes =
            copy::copy_images(copies, options, Arc::clone(&counters), progress.observer()).await;
        // The screen is free before anything else is written.
        progress.close();
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
    async fn plan(
        &self,
        copies: &[ImageCopy],
        options: &copy::Options,
    ) -> anyhow::Result<ExitCode> {
        let mut outgoing = Outgoing::default();
        let mut totals = Totals::default();
        for copy in copies {
            let source = source_name(copy);
            let (digest, tree) = match self.read(copy, options).await {
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
    async fn read(
        &self,
        copy: &ImageCopy,
        options: &copy::Options,
    ) -> Result<(Digest, Tree), Failure> {
        let Root { source, manifest } = Root::read(
            copy.source.as_ref(),
            copy.image.as_reference(),
            &options.platforms,
        )
        .await?;
        let mut tree = read_tree(&copy.source, manifest, options.referrers)
            .await
            .map_err(|error| Failure {
                reason: Reason::SourceInvalid,
                message: error.to_string(),
            })?;
        // An index that stays as it is names images that are not copied.
        if matches!(options.platforms, Selection::Sparse(_)) {
            tree.retain_platforms(&self.selection.platforms);
        }
        Ok((source, tree))
    }
}

impl SelectionArguments {
    fn selection(&self, to_one_place: bool) -> anyhow::Result<Selection> {
        let platforms = self.platforms.clone();
        let usual = if to_one_place {
            IndexPolicy::None
        } else {
            IndexPolicy::Rewrite
        };
        Ok(
            match (self.index_policy.unwrap_or(usual), platforms.as_slice()) {
                (_, []) => Selection::All,
                (IndexPolicy::None, [platform]) => Selection::Image(platform.clone()),
                (IndexPolicy::None, _) => bail!(
                    "without an index there can be one image only: name one --platform, or write \
                     to a registry, oci: or oci-archive:"
                ),
                (IndexPolicy::Rewrite, _) => Selection::Rewrite(platforms),
                (IndexPolicy::Sparse, _) => Selection::Sparse(platforms),
            },
        )
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
