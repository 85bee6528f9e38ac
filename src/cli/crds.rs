//! `transship crds`: the definitions of the custom resources.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use kube::ResourceExt as _;

use crate::api;

/// Print the definitions of the custom resources
#[derive(Debug, Args)]
#[command(after_help = "Example: transship crds | kubectl apply --server-side -f -")]
pub(super) struct Arguments {
    /// Write one file per definition into this directory instead
    #[arg(long, value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let mut output = std::io::stdout().lock();
        for definition in api::definitions().context("cannot build the definitions")? {
            let yaml = serde_saphyr::to_string(&definition)
                .context("cannot write a definition as YAML")?;
            match &self.directory {
                Some(directory) => {
                    let path = directory.join(format!("{}.yaml", definition.name_any()));
                    std::fs::write(&path, yaml)
                        .with_context(|| format!("cannot write {}", path.display()))?;
                }
                None => write!(output, "---\n{yaml}")?,
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
