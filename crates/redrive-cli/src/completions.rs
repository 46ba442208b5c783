//! `redrive completions`: what a shell needs to complete a command line.

use clap::{Args as ClapArgs, Command};
use clap_complete::Shell;

use crate::configuration::visible;
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
pub(crate) fn run(args: &Args, session: &mut Session, root: &Command) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut without_hidden(root), "redrive", &mut text);
    session.out.write(&text)?;
    session.out.flush()
}

/// The commands that a person can type: the generators complete hidden ones as well.
fn without_hidden(command: &Command) -> Command {
    let mut copy = Command::new(command.get_name().to_owned())
        .args(command.get_arguments().cloned())
        .groups(command.get_groups().cloned())
        .subcommands(visible(command).map(without_hidden))
        .disable_help_subcommand(true);
    if let Some(about) = command.get_about() {
        copy = copy.about(about.clone());
    }
    match command.get_version() {
        Some(version) => copy.version(version.to_owned()),
        None => copy,
    }
}
