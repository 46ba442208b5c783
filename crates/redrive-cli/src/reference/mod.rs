//! The reference pages of `docs/`, made from the commands themselves, so that they stay true.

mod cli;
mod configuration;

use clap::{Arg, ArgAction, Args as ClapArgs, Command, ValueEnum};

use crate::failure::Failure;
use crate::session::Session;

/// Print a reference page
#[derive(ClapArgs)]
pub(crate) struct Args {
    #[arg(value_enum)]
    page: Page,
}

#[derive(Clone, Copy, ValueEnum)]
enum Page {
    Cli,
    Configuration,
}

/// Prints it.
pub(crate) fn run(args: &Args, session: &mut Session, mut root: Command) -> Result<(), Failure> {
    root.build();
    let page = match args.page {
        Page::Cli => cli::page(&root),
        Page::Configuration => configuration::page(&root),
    };
    session.out.write(page.as_bytes())?;
    session.out.flush()
}

/// A row of a table.
fn row(cells: &[&str]) -> String {
    let cells: Vec<String> = cells
        .iter()
        .map(|cell| cell.replace('|', "\\|").replace('\n', " "))
        .collect();
    format!("| {} |\n", cells.join(" | "))
}

/// A table; nothing where it has no rows.
fn table(headings: &[&str], rows: &[String]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let line = vec!["---"; headings.len()];
    format!("{}{}{}\n", row(headings), row(&line), rows.concat())
}

/// Text that is read as it is: in plain Markdown a `<` would begin a tag.
fn plain(text: &str) -> String {
    text.replace('<', "\\<").replace('*', "\\*")
}

/// What an argument is for, and what it can be where that is a closed set.
fn meaning(argument: &Arg) -> String {
    let text = argument.get_help().map(ToString::to_string);
    let mut text = plain(&text.unwrap_or_default());
    let known: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|known| !known.is_hide_set())
        .map(|known| known.get_name().to_owned())
        .collect();
    let said = known.iter().all(|known| text.contains(known.as_str()));
    if takes_a_value(argument) && !known.is_empty() && !said {
        text.push_str(&format!(": {}", known.join(", ")));
    }
    text
}

/// The default as code; nothing where there is none.
fn default(argument: &Arg) -> String {
    let values: Vec<_> = argument
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy())
        .collect();
    match values.join(", ") {
        none if none.is_empty() || !takes_a_value(argument) => String::new(),
        values => format!("`{values}`"),
    }
}

fn takes_a_value(argument: &Arg) -> bool {
    matches!(argument.get_action(), ArgAction::Set | ArgAction::Append)
}

/// How the value of an argument is called.
fn value_name(argument: &Arg) -> String {
    match argument.get_value_names() {
        Some(names) => names.join(" "),
        None => argument.get_id().as_str().to_uppercase(),
    }
}
