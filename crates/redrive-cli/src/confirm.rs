//! Asking before something cannot be taken back.

use std::io::{BufRead, IsTerminal, Write};

use crate::failure::{Code, Failure};
use crate::stderr;
use crate::terminal::shown;

/// Whether the person has said yes beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consent {
    /// By `--yes`.
    Given,
    /// To be asked for.
    Asked,
}

/// Asks on the terminal: what would happen (`replay 12 dead letters of orders:dlq`), with the
/// first of what it would happen to. Without a terminal nothing happens.
pub(crate) fn confirm(what: &str, first: &[String], more: u64) -> Result<(), Failure> {
    let cure = "look first, with `redrive dlq list` and the same selection, then say --yes";
    confirm_or(what, first, more, cure)
}

/// The same, with what to do instead where there is no terminal.
pub(crate) fn confirm_or(
    what: &str,
    first: &[String],
    more: u64,
    cure: &'static str,
) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::usage(format!(
            "this would {what}, and there is no terminal to ask"
        ))
        .hint(cure));
    }
    let mut question = format!("this would {}:\n", shown(what));
    for line in first {
        question.push_str(&format!("  {}\n", shown(line)));
    }
    if more > 0 {
        question.push_str(&format!("  and {more} more\n"));
    }
    question.push_str("go on? [y/N] ");
    // What was said before the question stands before it.
    stderr::catch_up();
    let mut terminal = std::io::stderr().lock();
    terminal.write_all(question.as_bytes())?;
    terminal.flush()?;
    drop(terminal);
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" | "Yes" | "YES" => Ok(()),
        _ => Err(Failure::with(
            Code::Failed,
            "nothing was done: not confirmed",
        )),
    }
}
