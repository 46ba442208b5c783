//! What is wrong with a command line, in the form of all errors.

use clap::error::ErrorKind;

use crate::failure::Failure;

/// A mistake of usage as a failure; help and the version are printed, which is no failure.
pub(crate) fn failure(error: &clap::Error) -> Option<Failure> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Nobody reading is no failure.
            let _ = error.print();
            return None;
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            return Some(Failure::silent(crate::failure::Code::Usage));
        }
        _ => {}
    }
    let (text, hint) = told(error);
    Some(Failure::usage(text).hint(hint))
}

/// What clap says, as one line and a hint.
pub(super) fn told(error: &clap::Error) -> (String, String) {
    let rendered = error.render().to_string();
    let mut text = String::new();
    let mut tips = Vec::new();
    let mut usage = None;
    for line in rendered.lines() {
        let line = line.trim();
        if let Some(tip) = line.strip_prefix("tip: ") {
            tips.push(tip.to_owned());
        } else if let Some(line) = line.strip_prefix("Usage: ") {
            usage = Some(line.to_owned());
            break;
        } else if !line.is_empty() && !line.starts_with("For more information") {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(line.strip_prefix("error: ").unwrap_or(line));
        }
    }
    if tips.is_empty() {
        let command: Vec<&str> = usage
            .as_deref()
            .unwrap_or("redrive")
            .split(' ')
            .take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
            .collect();
        tips.push(format!("see `{} --help`", command.join(" ")));
    }
    (text, tips.join("; "))
}
