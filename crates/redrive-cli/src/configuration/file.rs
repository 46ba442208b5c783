//! The configuration file: TOML whose keys are the long flags of the commands.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use clap::{ArgAction, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::failure::Failure;
use crate::terminal::{note, shown};

/// How long a file may be, in bytes.
const LONGEST: u64 = 1024 * 1024;

/// One value that the file sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The command, from the top; none for the globals.
    pub(crate) command: Vec<String>,
    /// The id of its argument.
    pub(crate) argument: String,
    pub(crate) values: Vec<String>,
    pub(crate) line: usize,
}

/// Where the file is, if there is one: what was named must be there, the usual place may be empty,
/// or closed to us.
pub(super) fn find(named: Option<PathBuf>) -> Result<Option<(PathBuf, String)>, Failure> {
    let (path, must_exist) = match named {
        Some(path) => (path, true),
        None => match usual_place() {
            Some(path) => (path, false),
            None => return Ok(None),
        },
    };
    let error = match contents(&path) {
        Ok(text) => return Ok(Some((path, text))),
        Err(error) => error,
    };
    let shown = path.display();
    if !must_exist {
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => return Ok(None),
            ErrorKind::PermissionDenied => {
                note(&format!(
                    "going on without the configuration file {shown}: {error}"
                ));
                return Ok(None);
            }
            _ => {}
        }
    }
    Err(
        Failure::usage(format!("reading the configuration file {shown}: {error}"))
            .hint("name a file that can be read, by --config or REDRIVE_CONFIG"),
    )
}

/// What is in a file or a pipe, unless it has no end: a device may not.
fn contents(path: &Path) -> io::Result<String> {
    let wrong = |what: &str| io::Error::new(ErrorKind::InvalidData, what.to_owned());
    let file = File::open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    // The usual way to name nothing.
    if !kind.is_file() && !kind.is_fifo() && path != Path::new("/dev/null") {
        return Err(wrong("it is neither a file nor a pipe"));
    }
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(wrong("it is longer than 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8"))
}

fn usual_place() -> Option<PathBuf> {
    let folder = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|folder| folder.is_absolute())
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")))?;
    Some(folder.join("redrive").join("config.toml"))
}

/// What a file sets, checked against the commands as they are.
pub(super) fn read(root: &Command, path: &Path, text: &str) -> Result<Vec<Setting>, Failure> {
    let reading = Reading { path, text };
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let what = error.message().lines().next().unwrap_or("not TOML");
        reading.wrong(at, what)
    })?;
    let mut settings = Vec::new();
    reading.table(root, &mut Vec::new(), table.get_ref(), &mut settings)?;
    Ok(settings)
}

struct Reading<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Reading<'_> {
    fn line(&self, at: usize) -> usize {
        let before = self.text.get(..at).unwrap_or(self.text);
        before.matches('\n').count() + 1
    }

    fn wrong(&self, at: usize, what: &str) -> Failure {
        let place = format!("{}:{}", self.path.display(), self.line(at));
        Failure::usage(format!("{place}: {what}"))
            .hint("`redrive config show` lists every key; docs/configuration.md explains them")
    }

    fn table(
        &self,
        command: &Command,
        names: &mut Vec<String>,
        table: &DeTable<'_>,
        settings: &mut Vec<Setting>,
    ) -> Result<(), Failure> {
        for (key, value) in table {
            let (name, at) = (key.get_ref().as_ref(), key.span().start);
            if let DeValue::Table(inner) = value.get_ref() {
                let Some(inside) = visible(command).find(|inside| inside.get_name() == name) else {
                    let known = visible(command).map(|inside| inside.get_name().to_owned());
                    let known: Vec<String> = known.collect();
                    return Err(self.unknown(at, "command", name, names, &known));
                };
                names.push(name.to_owned());
                self.table(inside, names, inner, settings)?;
                names.pop();
                continue;
            }
            let known = || keys(command, names.is_empty());
            let Some((_, argument)) = known().find(|(known, _)| known == name) else {
                let known: Vec<String> = known().map(|(known, _)| known).collect();
                return Err(self.unknown(at, "key", name, names, &known));
            };
            let values = self.values(name, value)?;
            self.check(argument, name, value.span().start, &values)?;
            settings.push(Setting {
                command: names.clone(),
                argument: argument.get_id().to_string(),
                values,
                line: self.line(at),
            });
        }
        Ok(())
    }

    fn values(&self, name: &str, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, Failure> {
        if let DeValue::Array(items) = value.get_ref() {
            return items.iter().map(|item| self.value(name, item)).collect();
        }
        Ok(vec![self.value(name, value)?])
    }

    fn value(&self, name: &str, value: &Spanned<DeValue<'_>>) -> Result<String, Failure> {
        Ok(match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
            DeValue::Boolean(truth) => truth.to_string(),
            _ => {
                let what = format!(
                    "{name} is a string, a whole number, true or false, or an array of these"
                );
                return Err(self.wrong(value.span().start, &what));
            }
        })
    }

    /// Whether the command would take these values on its command line.
    fn check(
        &self,
        argument: &clap::Arg,
        name: &str,
        at: usize,
        values: &[String],
    ) -> Result<(), Failure> {
        let flag = matches!(argument.get_action(), ArgAction::SetTrue);
        if flag {
            return match values {
                [one] if one == "true" || one == "false" => Ok(()),
                _ => Err(self.wrong(at, &format!("{name} is true or false"))),
            };
        }
        let many = matches!(argument.get_action(), ArgAction::Append);
        if values.len() != 1 && !many {
            return Err(self.wrong(at, &format!("{name} takes one value")));
        }
        taken(argument, values.iter().map(String::as_str)).map_err(|why| {
            let values = values.join(", ");
            self.wrong(at, &format!("{name} = {:?}: {why}", shown(&values)))
        })
    }

    fn unknown(
        &self,
        at: usize,
        what: &str,
        name: &str,
        inside: &[String],
        known: &[String],
    ) -> Failure {
        let inside = match inside {
            [] => String::new(),
            names => format!(" in [{}]", names.join(".")),
        };
        let failure = self.wrong(at, &format!("unknown {what} {name:?}{inside}"));
        match nearest(name, known) {
            Some(nearest) => failure.hint(format!("did you mean {nearest}?")),
            None => failure,
        }
    }
}

/// Whether an argument takes these values, or why it does not. Its ties to other arguments do not
/// count here: what they are tied to may come from elsewhere.
pub(super) fn taken<'a>(
    argument: &clap::Arg,
    values: impl IntoIterator<Item = &'a str>,
) -> Result<(), String> {
    let alone = clap::Arg::new("value")
        .long("value")
        .action(ArgAction::Append)
        .value_parser(argument.get_value_parser().clone());
    let line = values.into_iter().map(|value| format!("--value={value}"));
    Command::new("redrive")
        .no_binary_name(true)
        .arg(alone)
        .try_get_matches_from(line)
        .map(drop)
        .map_err(|error| super::usage::why(&error))
}

/// The commands inside a command that a person can type.
pub(crate) fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command
        .get_subcommands()
        .filter(|inside| !inside.is_hide_set())
}

/// The keys of a command, each with its argument: long flags, `_` for `-`. Globals are keys at
/// the top, and only there.
pub(crate) fn keys(command: &Command, top: bool) -> impl Iterator<Item = (String, &clap::Arg)> {
    command
        .get_arguments()
        .filter(move |argument| top || !argument.is_global_set())
        .filter(|argument| !NOT_IN_A_FILE.contains(&argument.get_id().as_str()))
        .filter_map(|argument| Some((argument.get_long()?.replace('-', "_"), argument)))
}

/// What says yes beforehand, or is what a command is about or why, must be said each time; and the file
/// cannot name itself.
const NOT_IN_A_FILE: [&str; 10] = [
    "yes", "config", "help", "version", "all", "id", "verbose", "force", "json", "because",
];

/// The known name that is most like this one, if one is.
fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    known
        .iter()
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known.as_str())
}
