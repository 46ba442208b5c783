//! Where each value comes from: default, file, environment, flag; the later wins.

mod file;
#[cfg(test)]
mod fuzz;
pub(crate) mod show;
pub(crate) mod usage;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::{ArgMatches, Command};

use self::file::Setting;
pub(crate) use self::file::{keys, visible};
use crate::failure::Failure;

/// The environment variables that set a value, and the argument that each stands for. Beside these
/// `REDRIVE_CONFIG`, `REDRIVE_LOG` and `NO_COLOR` are read, and no other.
const ENVIRONMENT: [(&str, &str); 2] = [("REDRIVE_URL", "url"), ("REDRIVE_OUTPUT", "output")];
/// Who does something to dead letters; and the commands that take it, all of `dlq`.
pub(crate) const AS: (&str, &str) = ("REDRIVE_AS", "as");
pub(crate) const CHANGES: [&str; 7] = [
    "replay", "purge", "import", "undo", "pause", "resume", "abort",
];
pub(crate) const CONFIG: &str = "REDRIVE_CONFIG";
pub(crate) const LOG: &str = "REDRIVE_LOG";
pub(crate) const NO_COLOR: &str = "NO_COLOR";

/// What was set before the command line was read.
#[derive(Debug, Default)]
pub(crate) struct Configured {
    pub(crate) path: Option<PathBuf>,
    pub(crate) named_by: NamedBy,
    pub(crate) settings: Vec<Setting>,
    /// Name of the variable, id of the argument.
    pub(crate) environment: Vec<(&'static str, &'static str)>,
}

/// What said where the file is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum NamedBy {
    /// Nothing: it is in its usual place, or there is none.
    #[default]
    Nobody,
    /// `--config`.
    Flag,
    /// `REDRIVE_CONFIG`.
    Variable,
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
        return matches(command, line).map(|matches| (matches, configured));
    }
    let named = match (flag(line, "--config"), variable(CONFIG)) {
        (Some(path), _) => {
            configured.named_by = NamedBy::Flag;
            Some(path)
        }
        (None, Some(path)) => {
            configured.named_by = NamedBy::Variable;
            Some(PathBuf::from(path))
        }
        (None, None) => None,
    };
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
                    .hint(format!("see --{argument} in `redrive --help`"))
            })?;
            let known = command
                .get_arguments()
                .find(|known| known.get_id() == argument);
            if let Some(Err(why)) = known.map(|known| file::taken(known, [value.as_str()])) {
                return Err(Some(
                    Failure::usage(format!(
                        "the environment variable {name} cannot be {value:?}: {why}"
                    ))
                    .hint(format!("see --{argument} in `redrive --help`")),
                ));
            }
            command = with_default(command, &[], argument, &[value]);
            configured.environment.push((name, argument));
        }
    }
    let (name, argument) = AS;
    if let Some(value) = variable(name) {
        let value = value.into_string().map_err(|_| {
            Failure::usage(format!("the environment variable {name} is not UTF-8"))
                .hint("see --as in `redrive dlq replay --help`")
        })?;
        for inside in CHANGES {
            let inside = ["dlq".to_owned(), inside.to_owned()];
            command = with_default(command, &inside, argument, std::slice::from_ref(&value));
        }
        configured.environment.push((name, argument));
    }
    matches(command, line).map(|matches| (matches, configured))
}

fn matches(mut command: Command, line: &[OsString]) -> Result<ArgMatches, Option<Failure>> {
    command
        .try_get_matches_from_mut(line)
        .map_err(|error| usage::failure_in(&error, &command, line))
}

/// The value of a flag, before anything is parsed: it says what the rest is parsed with.
fn flag(line: &[OsString], name: &str) -> Option<PathBuf> {
    let mut words = line.iter().take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        if word == name {
            return words.next().map(PathBuf::from);
        }
        if let Some(value) = word
            .as_bytes()
            .strip_prefix(name.as_bytes())
            .and_then(|rest| rest.strip_prefix(b"="))
        {
            return Some(PathBuf::from(OsStr::from_bytes(value)));
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::{Arg, ArgAction};
    use proptest::prelude::*;

    use super::*;

    /// Commands with an argument of each kind.
    fn root() -> Command {
        let size = Arg::new("size").long("max-size").default_value("1");
        let size = size.value_parser(crate::literals::size);
        Command::new("redrive")
            .arg(Arg::new("url").long("url").global(true).default_value("x"))
            .arg(
                Arg::new("quiet")
                    .long("quiet")
                    .global(true)
                    .action(ArgAction::SetTrue),
            )
            .subcommand(
                Command::new("send")
                    .arg(size.requires("name"))
                    .arg(Arg::new("name").long("name").action(ArgAction::Append))
                    .subcommand(Command::new("inside").arg(Arg::new("n").long("n"))),
            )
    }

    /// What a line means over what a file sets.
    fn parsed(text: &str) -> Result<ArgMatches, Failure> {
        let mut command = root();
        for setting in file::read(&command, Path::new("f"), text)? {
            let Setting {
                command: inside,
                argument,
                values,
                ..
            } = setting;
            command = with_default(command, &inside, &argument, &values);
        }
        let line = ["redrive", "send", "inside"].map(OsString::from);
        matches(command, &line).map_err(Option::unwrap)
    }

    #[test]
    fn a_file_sets_what_a_flag_would() {
        let text = "url='a'\nquiet=true\n[send]\nmax_size=2\nname=['p','q']\n[send.inside]\nn=3";
        let all = parsed(text).unwrap();
        let send = all.subcommand_matches("send").unwrap();
        assert_eq!(send.get_one::<String>("url").unwrap(), "a");
        assert!(send.get_flag("quiet"));
        assert_eq!(send.get_one::<usize>("size"), Some(&2));
        let names: Vec<&String> = send.get_many("name").unwrap().collect();
        assert_eq!(names, ["p", "q"]);
        let inside = send.subcommand_matches("inside").unwrap();
        assert_eq!(inside.get_one::<String>("n").unwrap(), "3");
    }

    proptest! {
        #[test]
        fn no_bytes_in_a_file_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parsed(&String::from_utf8_lossy(&bytes));
        }

        /// As above, of what is nearly right.
        #[test]
        fn no_toml_in_a_file_makes_it_panic(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "url", "quiet", "[send]", "[send.inside]", "[[send]]", "max_size", "name", "n",
                    "=", ".", "\n", "'x'", "\"\\u0000\"", "true", "0x1F", "1_0", "-1", "1e9", "[",
                    "]", "['a', 1]", "{", "}", ",", "{n = 1}", "send", "'''", "\u{feff}", "é",
                    "\u{1b}",
                ]),
                0..30,
            )
        ) {
            let _ = parsed(&parts.concat());
        }
    }
}
