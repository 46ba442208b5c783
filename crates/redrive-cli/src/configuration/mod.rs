//! Where each value comes from: default, file, environment, flag; the later wins.

mod file;
pub(crate) mod show;
pub(crate) mod usage;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgMatches, Command};

use self::file::Setting;
use crate::failure::Failure;

/// The environment variables that set a value, and the argument that each stands for. Beside these
/// `REDRIVE_CONFIG`, `REDRIVE_LOG` and `NO_COLOR` are read, and no other.
const ENVIRONMENT: [(&str, &str); 2] = [("REDRIVE_URL", "url"), ("REDRIVE_OUTPUT", "output")];
pub(crate) const CONFIG: &str = "REDRIVE_CONFIG";
pub(crate) const LOG: &str = "REDRIVE_LOG";
pub(crate) const NO_COLOR: &str = "NO_COLOR";

/// What was set before the command line was read.
#[derive(Debug, Default)]
pub(crate) struct Configured {
    pub(crate) path: Option<PathBuf>,
    pub(crate) settings: Vec<Setting>,
    /// Name of the variable, id of the argument.
    pub(crate) environment: Vec<(&'static str, &'static str)>,
}

/// A variable of the environment; an empty one is none.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Parses a command line over what the file and the environment set.
pub(crate) fn parse(
    root: Command,
    line: &[OsString],
) -> Result<(ArgMatches, Configured), Option<Failure>> {
    let named = flag(line, "--config").or_else(|| variable(CONFIG).map(PathBuf::from));
    let mut configured = Configured::default();
    let mut command = root;
    // Help, and a version, must be had with a broken file too; and help shows defaults, which from
    // elsewhere may hold a password.
    let asks_for_help = line.iter().take_while(|word| *word != "--").any(|word| {
        ["-h", "--help", "-V", "--version"]
            .iter()
            .any(|help| word == help)
    });
    if asks_for_help {
        return match command.try_get_matches_from(line) {
            Ok(matches) => Ok((matches, configured)),
            Err(error) => Err(usage::failure(&error)),
        };
    }
    if let Some((path, text)) = file::find(named)? {
        configured.settings = file::read(&command, &path, &text)?;
        configured.path = Some(path);
    }
    for setting in &configured.settings {
        command = with_default(
            command,
            &setting.command,
            &setting.argument,
            &setting.values,
        );
    }
    for (name, argument) in ENVIRONMENT {
        if let Some(value) = variable(name) {
            let value = value.into_string().map_err(|_| {
                Failure::usage(format!("the environment variable {name} is not UTF-8"))
            })?;
            let mut command_line = Command::new("redrive").no_binary_name(true);
            if let Some(known) = command
                .get_arguments()
                .find(|known| known.get_id() == argument)
            {
                command_line = command_line.arg(known.clone().required(false));
            }
            if command_line
                .try_get_matches_from([format!("--{argument}={value}")])
                .is_err()
            {
                return Err(Some(
                    Failure::usage(format!(
                        "the environment variable {name} cannot be {value:?}"
                    ))
                    .hint(format!("see --{argument} in `redrive --help`")),
                ));
            }
            command = with_default(command, &[], argument, &[value]);
            configured.environment.push((name, argument));
        }
    }
    match command.try_get_matches_from(line) {
        Ok(matches) => Ok((matches, configured)),
        Err(error) => Err(usage::failure(&error)),
    }
}

/// The value of a flag, before anything is parsed: it says what the rest is parsed with.
fn flag(line: &[OsString], name: &str) -> Option<PathBuf> {
    let mut words = line.iter().take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        if word == name {
            return words.next().map(PathBuf::from);
        }
        let text = word.to_string_lossy();
        if let Some(value) = text
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('='))
        {
            return Some(PathBuf::from(value));
        }
    }
    None
}

/// The command tree with other defaults for one argument.
fn with_default(command: Command, inside: &[String], argument: &str, values: &[String]) -> Command {
    match inside {
        [] => command.mut_arg(argument, |known| {
            known.default_values(values.to_vec()).required(false)
        }),
        [first, rest @ ..] => command.mut_subcommand(first.clone(), |inner| {
            with_default(inner, rest, argument, values)
        }),
    }
}
