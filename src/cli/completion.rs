//! `transship completion`: what a shell needs to complete the command line.

use std::process::ExitCode;

use clap::{Args, CommandFactory as _};

use super::{CommandLine, output};

/// Print the completion script of a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  transship completion bash > /etc/bash_completion.d/transship
  transship completion zsh > \"${fpath[1]}/_transship\"
  transship completion fish > ~/.config/fish/completions/transship.fish

Exit codes: 0 printed; 2 wrong usage.")]
pub(super) struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let mut command = CommandLine::command();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "transship", &mut script);
        output::raw(&script)?;
        Ok(ExitCode::SUCCESS)
    }
}
