//! `docs/cli.md`: every command, its options and examples.

use clap::{Arg, ArgAction, Command};

use super::{default, meaning, plain, row, table, takes_a_value, value_name};
use crate::configuration::visible;

const HEAD: &str = "\
# Commands

<!-- Made from the commands themselves by `make reference`; a test compares. -->

`redrive COMMAND --help` tells the same. What can stand in a file instead is in [configuration.md](configuration.md).

";

const FOOT: &str = "\
## Exit codes

| code | means |
| --- | --- |
| 0 | done |
| 1 | failed: unreachable, refused |
| 2 | usage, configuration, a bad URL: it can never be done like this |
| 3 | nothing matched: an unknown id, a missing stream, an empty selection |
| 4 | a part was done; also what was stopped, by one Ctrl-C or SIGTERM, before all was done |
| 5 | a rule of `stats --fail-if` is broken |
| 130, 143 | ended by a second Ctrl-C or SIGTERM; what only looks, or waits for an answer, by the first |

What a command answers goes to stdout; everything else goes to stderr. An error is a line `error: …`, followed by a line
`hint: …`.

On a terminal a table is as wide as that. In a pipe or a file its lines are as long as they need, for `grep`: of a text up
to 1,000 bytes. `-o json` has all of it.

With `-q` a command that changes something, or makes a file, says nothing where all of it was done. What only looks answers
as ever, so does `-o json`, and what was not done is told.
";

/// The page.
pub(super) fn page(root: &Command) -> String {
    let mut commands = Vec::new();
    leaves(root, &mut commands);
    let rows: Vec<String> = commands
        .iter()
        .map(|command| {
            let name = name(command);
            let link = format!("[`{name}`](#{})", name.replace(' ', "-"));
            row(&[&link, &about(command)])
        })
        .collect();
    let mut page = HEAD.to_owned();
    page.push_str(&table(&["command", "does"], &rows));
    page.push_str("## Global options\n\nEvery command takes these.\n\n");
    page.push_str(&options(root, Arg::is_global_set));
    for command in commands {
        page.push_str(&section(command));
    }
    page.push_str(FOOT);
    page
}

/// The commands that do something, in their order.
fn leaves<'a>(command: &'a Command, found: &mut Vec<&'a Command>) {
    for inside in visible(command) {
        if visible(inside).next().is_none() {
            found.push(inside);
        }
        leaves(inside, found);
    }
}

fn name(command: &Command) -> &str {
    command.get_bin_name().unwrap_or(command.get_name())
}

fn about(command: &Command) -> String {
    let about = command.get_about().map(ToString::to_string);
    plain(&about.unwrap_or_default())
}

fn section(command: &Command) -> String {
    let long = command
        .get_long_about()
        .or_else(|| command.get_about())
        .map(ToString::to_string);
    let text = plain(&long.unwrap_or_default());
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let mut section = format!(
        "## {}\n\n{}\n\n```\n{usage}\n```\n\n",
        name(command),
        text.trim()
    );
    let arguments: Vec<String> = command
        .get_positionals()
        .filter(|argument| !argument.is_hide_set())
        .map(|argument| {
            let name = format!("`{}`", value_name(argument));
            row(&[&name, &default(argument), &meaning(argument)])
        })
        .collect();
    section.push_str(&table(&["argument", "default", "meaning"], &arguments));
    section.push_str(&options(command, |argument| !argument.is_global_set()));
    if let Some(after) = command.get_after_help() {
        let after = after.to_string();
        let (before, examples) = after.split_once("Examples:\n").unwrap_or((&after, ""));
        if !before.trim().is_empty() {
            section.push_str(&format!("{}\n\n", plain(before.trim())));
        }
        let examples: Vec<&str> = examples.lines().map(str::trim_start).collect();
        if !examples.is_empty() {
            section.push_str(&format!("```sh\n{}\n```\n\n", examples.join("\n")));
        }
    }
    section
}

fn options(command: &Command, wanted: impl Fn(&Arg) -> bool) -> String {
    let rows: Vec<String> = command
        .get_opts()
        .chain(command.get_arguments().filter(|one| is_flag(one)))
        .filter(|argument| !argument.is_hide_set() && wanted(argument))
        .map(|argument| row(&[&flags(argument), &default(argument), &meaning(argument)]))
        .collect();
    table(&["option", "default", "meaning"], &rows)
}

/// What takes no value and is no question about the command itself.
fn is_flag(argument: &Arg) -> bool {
    !argument.is_positional()
        && !takes_a_value(argument)
        && matches!(
            argument.get_action(),
            ArgAction::SetTrue | ArgAction::SetFalse | ArgAction::Count
        )
}

fn flags(argument: &Arg) -> String {
    let short = argument.get_short().map(|short| format!("-{short}"));
    let long = argument.get_long().map(|long| format!("--{long}"));
    let names: Vec<String> = [short, long].into_iter().flatten().collect();
    let mut flags = names.join(", ");
    if takes_a_value(argument) {
        flags.push_str(&format!(" {}", value_name(argument)));
    }
    format!("`{flags}`")
}
