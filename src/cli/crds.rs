//! `transship crds`: the definitions of the custom resources.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use kube::ResourceExt as _;

use super::output;
use crate::api;

/// Print the definitions of the custom resources
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  transship crds | kubectl apply --server-side -f -
  transship crds --directory crds

Exit codes: 0 printed or written; 1 a file cannot be written; 2 wrong usage.")]
pub(super) struct Arguments {
    /// Write one file per definition into this directory, which must be there, instead
    #[arg(long, value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        for definition in api::definitions().context("cannot build the definitions")? {
            let yaml = serde_saphyr::to_string(&definition)
                .context("cannot write a definition as YAML")?;
            match &self.directory {
                Some(directory) => {
                    let path = directory.join(format!("{}.yaml", definition.name_any()));
                    std::fs::write(&path, yaml)
                        .with_context(|| format!("cannot write {}", path.display()))?;
                }
                None => output::raw(format!("---\n{yaml}").as_bytes())?,
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
