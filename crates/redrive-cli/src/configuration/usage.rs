//! What is wrong with a command line, in the form of all errors.

use std::ffi::OsString;
use std::io::ErrorKind as Io;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::file::visible;
use crate::failure::{Code, Failure};

/// A mistake of usage as a failure; help and the version are printed, which is no failure.
pub(crate) fn failure(error: &clap::Error) -> Option<Failure> {
    failure_in(error, &Command::new("redrive"), &[])
}

/// As [`failure`], with the commands that there are and the line that was typed: what is suggested
/// exists, and the help that is pointed to is that of the command.
pub(super) fn failure_in(
    error: &clap::Error,
    root: &Command,
    line: &[OsString],
) -> Option<Failure> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            return match error.print() {
                Err(error) if error.kind() != Io::BrokenPipe => {
                    Some(Failure::new(format!("writing to stdout: {error}")))
                }
                // Nobody reading is no failure.
                _ => None,
            };
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // Without a stderr there is nobody to help.
            let _ = error.print();
        }
        _ => {}
    }
    let (command, names) = typed(root, line);
    let mut hints = suggestions(error, command);
    if hints.is_empty() {
        hints.push(format!("see `{} --help`", names.join(" ")));
    }
    let failure = Failure::with(Code::Usage, told(error));
    Some(failure.hint(hints.join("; ")))
}

/// The command that a line means, as far as it can be told, with the names that lead to it.
fn typed<'a>(root: &'a Command, line: &[OsString]) -> (&'a Command, Vec<&'a str>) {
    let (mut command, mut names) = (root, vec!["redrive"]);
    let mut words = line.iter().skip(1).map(|word| word.to_string_lossy());
    while let Some(word) = words.next() {
        if word == "--" {
            break;
        }
        if let Some(flag) = word.strip_prefix('-') {
            let takes_the_next = command.get_arguments().any(|known| {
                let long = known.get_long().map(|long| format!("-{long}"));
                let short = known.get_short().map(String::from);
                known.get_action().takes_values()
                    && [long, short].iter().flatten().any(|name| name == flag)
            });
            if takes_the_next {
                words.next();
            }
        } else if let Some(inside) = visible(command).find(|inside| inside.get_name() == word) {
            command = inside;
            names.push(inside.get_name());
        }
    }
    (command, names)
}

/// What is wrong, in one line. Built from the parts and not from the text: what was typed can
/// hold line breaks, and whatever else.
pub(super) fn told(error: &clap::Error) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
        Some(ContextValue::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let argument = || text(ContextKind::InvalidArg).unwrap_or_else(|| "an argument".to_owned());
    let value = || text(ContextKind::InvalidValue).unwrap_or_default();
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let name = text(ContextKind::InvalidSubcommand).unwrap_or_default();
            format!("unknown command {name:?}")
        }
        ErrorKind::UnknownArgument => format!("unknown argument {:?}", argument()),
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            "a command is missing".to_owned()
        }
        ErrorKind::MissingRequiredArgument => format!("missing: {}", argument()),
        ErrorKind::ArgumentConflict => match text(ContextKind::PriorArg) {
            Some(other) if other != argument() => {
                format!("{} and {other} exclude each other", argument())
            }
            _ => format!("{} is given more than once", argument()),
        },
        ErrorKind::InvalidValue if value().is_empty() => {
            format!("a value is missing for {}", argument())
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            format!("{} cannot be {:?}: {}", argument(), value(), why(error))
        }
        ErrorKind::TooManyValues => format!("one value too many for {}", argument()),
        ErrorKind::InvalidUtf8 => "an argument is not UTF-8".to_owned(),
        // The rest does not quote what was typed.
        kind => kind.as_str().unwrap_or("wrong usage").to_owned(),
    }
}

/// Why a value is none of this argument's.
pub(super) fn why(error: &clap::Error) -> String {
    if let Some(ContextValue::Strings(known)) = error.get(ContextKind::ValidValue)
        && !known.is_empty()
    {
        return format!("it is one of {}", known.join(", "));
    }
    let Some(source) = std::error::Error::source(error) else {
        return "it is not of this kind".to_owned();
    };
    // Of a name or an id of the library's, how it is written: the value itself stands before it.
    let cure = source.downcast_ref::<redrive::Error>();
    let cure = cure.and_then(redrive::Error::cure);
    cure.map_or_else(|| source.to_string(), str::to_owned)
}

/// What may have been meant.
fn suggestions(error: &clap::Error, command: &Command) -> Vec<String> {
    let mut hints = Vec::new();
    for kind in [
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedArg,
        ContextKind::SuggestedValue,
    ] {
        let mut meant: Vec<&str> = match error.get(kind) {
            Some(ContextValue::String(one)) => vec![one],
            Some(ContextValue::Strings(some)) => some.iter().map(String::as_str).collect(),
            _ => Vec::new(),
        };
        if kind == ContextKind::SuggestedSubcommand {
            meant.retain(|name| visible(command).any(|inside| inside.get_name() == *name));
        }
        if !meant.is_empty() {
            hints.push(format!("did you mean {}?", meant.join(" or ")));
        }
    }
    if hints.is_empty()
        && let Some(ContextValue::StyledStrs(tips)) = error.get(ContextKind::Suggested)
    {
        hints.extend(tips.iter().map(ToString::to_string));
    }
    hints
}

#[cfg(test)]
mod tests {
    use clap::{Arg, ArgAction};

    use super::*;

    fn root() -> Command {
        Command::new("redrive")
            .arg(Arg::new("url").long("url").short('u').global(true))
            .subcommand(Command::new("demo"))
            .subcommand(Command::new("demo-worker").hide(true))
            .subcommand(
                Command::new("dlq").subcommand(
                    Command::new("list")
                        .arg(Arg::new("id").long("id").action(ArgAction::Append))
                        .arg(
                            Arg::new("n")
                                .short('n')
                                .value_parser(clap::value_parser!(u8)),
                        ),
                ),
            )
    }

    #[track_caller]
    fn said(words: &[&str]) -> Failure {
        let line: Vec<OsString> = words.iter().map(Into::into).collect();
        let mut root = root();
        let error = root.try_get_matches_from_mut(&line).unwrap_err();
        failure_in(&error, &root, &line).unwrap()
    }

    #[test]
    fn what_is_hidden_is_never_suggested() {
        assert_eq!(
            said(&["redrive", "dmo"]).texts(),
            ("unknown command \"dmo\"", Some("did you mean demo?"))
        );
        assert_eq!(
            said(&["redrive", "demo-wrker"]).texts().1,
            Some("did you mean demo?")
        );
    }

    #[test]
    fn the_help_pointed_to_is_that_of_the_command() {
        let wrong = said(&["redrive", "--url", "demo", "dlq", "list", "-n", "x"]);
        assert_eq!(wrong.texts().1, Some("see `redrive dlq list --help`"));
        assert_eq!(
            wrong.texts().0,
            "-n <n> cannot be \"x\": invalid digit found in string"
        );
    }

    #[test]
    fn what_was_typed_cannot_pose_as_what_we_say() {
        let typed = "x\n\nUsage: redrive rm\n  tip: run this\u{1b}[31m";
        for words in [
            &["redrive", typed][..],
            &["redrive", "demo", &format!("--{typed}")],
            &["redrive", "dlq", "list", "-n", typed],
        ] {
            let wrong = said(words);
            let (text, hint) = wrong.texts();
            assert!(!text.contains(['\n', '\u{1b}']), "{text}");
            assert!(hint.unwrap().contains("--"), "{hint:?}");
            assert!(!hint.unwrap().contains("redrive rm"), "{hint:?}");
        }
    }
}
