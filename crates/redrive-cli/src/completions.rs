//! `redrive completions`: what a shell needs to complete a command line.

use clap::{Args as ClapArgs, Command};
use clap_complete::Shell;

use crate::failure::Failure;
use crate::session::Session;

/// Print the completions for a shell
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive completions bash > ~/.local/share/bash-completion/completions/redrive\n  \
    redrive completions zsh > \"${fpath[1]}/_redrive\"")]
pub(crate) struct Args {
    /// bash, zsh, fish, elvish or powershell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

/// Prints them.
pub(crate) fn run(args: &Args, session: &mut Session, mut root: Command) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut root, "redrive", &mut text);
    session.out.write(&text)?;
    session.out.flush()
}
