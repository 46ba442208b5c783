//! `redrive config show`: each value, and where it came from.

use clap::parser::ValueSource;
use clap::{ArgMatches, Args as ClapArgs, Command};
use serde::Serialize;

use super::{AS, CONFIG, Configured, LOG, NO_COLOR, NamedBy, file, variable};
use crate::failure::Failure;
use crate::output::Table;
use crate::session::Session;

/// Print each configured value, and where it came from
///
/// A value comes from the default, the configuration file, the environment or a flag; the later
/// wins. What can stand in the file is listed, under the name that it has there; and, before it,
/// config and log, which are no keys: where the file is, and what is logged. Secrets are shown as
/// ***.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive config show\n  \
    redrive config show --config ./redrive.toml -o json")]
pub(crate) struct Args {}

/// One value.
#[derive(Debug, Serialize)]
struct Row {
    /// The table of the file that it belongs to; empty for the globals.
    table: String,
    key: String,
    /// `null` where nothing is set and there is no default.
    value: Option<String>,
    /// `default`, `file`, `environment` or `flag`.
    from: &'static str,
    /// The file and line, the variable or the flag.
    place: Option<String>,
}

/// Prints them.
pub(crate) fn run(
    session: &mut Session,
    root: &Command,
    matches: &ArgMatches,
    configured: &Configured,
) -> Result<(), Failure> {
    let mut rows = Vec::from(beside_the_file(configured));
    collect(root, matches, configured, &mut Vec::new(), &mut rows);
    if session.out.is_table() {
        let mut table = Table::new(["table", "key", "value", "from"]);
        for row in &rows {
            let from = row.place.as_deref().unwrap_or(row.from);
            let value = row.value.as_deref().unwrap_or("-");
            table.row([row.table.as_str(), &row.key, value, from]);
        }
        return session.out.table(table);
    }
    let mut documents = session.out.documents();
    for row in &rows {
        documents.add(row)?;
    }
    documents.end()
}

/// What is no key of the file: where the file is, and what is logged.
fn beside_the_file(configured: &Configured) -> [Row; 2] {
    let row = |key: &str, value, from, place: Option<&str>| Row {
        table: String::new(),
        key: key.to_owned(),
        value,
        from,
        place: place.map(str::to_owned),
    };
    let (from, place) = match configured.named_by {
        NamedBy::Nobody => ("default", None),
        NamedBy::Flag => ("flag", Some("--config")),
        NamedBy::Variable => ("environment", Some(CONFIG)),
    };
    let path = configured.path.as_ref();
    let path = path.map(|path| path.display().to_string());
    let log = variable_text(LOG);
    [
        row("config", path, from, place),
        match log {
            Some(log) => row("log", Some(log), "environment", Some(LOG)),
            None => row("log", None, "default", None),
        },
    ]
}

fn collect(
    command: &Command,
    matches: &ArgMatches,
    configured: &Configured,
    names: &mut Vec<String>,
    rows: &mut Vec<Row>,
) {
    for (key, argument) in file::keys(command, names.is_empty()) {
        let id = argument.get_id().as_str();
        let given =
            names.is_empty() && matches!(matches.value_source(id), Some(ValueSource::CommandLine));
        let variable = configured
            .environment
            .iter()
            .find(|(_, known)| *known == id);
        let setting = configured
            .settings
            .iter()
            .find(|setting| setting.command == *names && setting.argument == id);
        let (from, place) = match (given, variable, setting) {
            (true, ..) => ("flag", argument.get_long().map(|long| format!("--{long}"))),
            (_, Some((name, _)), _) if names.is_empty() || id == AS.1 => {
                ("environment", Some((*name).to_owned()))
            }
            (_, _, Some(setting)) => (
                "file",
                configured
                    .path
                    .as_ref()
                    .map(|path| format!("{}:{}", path.display(), setting.line)),
            ),
            _ if id == "no_color" && super::variable(NO_COLOR).is_some() => {
                ("environment", Some(NO_COLOR.to_owned()))
            }
            _ => ("default", None),
        };
        let value = if from == "environment" && id == "no_color" {
            Some("true".to_owned())
        } else if names.is_empty() {
            raw(matches, id)
        } else if from == "environment" {
            variable_text(AS.0)
        } else {
            setting
                .map(|setting| setting.values.join(", "))
                .or_else(|| {
                    let defaults = argument.get_default_values().iter();
                    let defaults: Vec<_> = defaults.map(|value| value.to_string_lossy()).collect();
                    (!defaults.is_empty()).then(|| defaults.join(", "))
                })
        };
        let secret = id == "url" || id == "http";
        rows.push(Row {
            table: names.join("."),
            key,
            value: value.map(|value| {
                if secret {
                    without_secrets(&value)
                } else {
                    value
                }
            }),
            from,
            place,
        });
    }
    for inside in file::visible(command) {
        names.push(inside.get_name().to_owned());
        collect(inside, matches, configured, names, rows);
        names.pop();
    }
}

fn variable_text(name: &str) -> Option<String> {
    variable(name).map(|value| value.to_string_lossy().into_owned())
}

fn raw(matches: &ArgMatches, id: &str) -> Option<String> {
    let values = matches.try_get_raw(id).ok().flatten()?;
    let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
    Some(values.join(", "))
}

/// A URL with its password, and everything that could be one, as `***`.
pub(crate) fn without_secrets(url: &str) -> String {
    let (rest, query) = match url.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (url, None),
    };
    let mut safe = match rest.rsplit_once('@') {
        // Whatever stands before the last @ may hold one: also in what is no URL.
        Some((before, after)) => {
            let (scheme, user) = match before.split_once("://") {
                Some((scheme, user)) => (format!("{scheme}://"), user),
                None => (String::new(), before),
            };
            let user = user.split_once(':').map_or("***", |(user, _)| user);
            let user = if user == "***" {
                "***".to_owned()
            } else {
                format!("{user}:***")
            };
            format!("{scheme}{user}@{after}")
        }
        None => rest.to_owned(),
    };
    if let Some(query) = query {
        let parts: Vec<String> = query
            .split('&')
            .map(|part| match part.split_once('=') {
                Some((name @ ("db" | "user" | "protocol" | "sentinel_username"), value)) => {
                    format!("{name}={value}")
                }
                Some((name, _)) => format!("{name}=***"),
                None => "***".to_owned(),
            })
            .collect();
        safe.push('?');
        safe.push_str(&parts.join("&"));
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        for (url, shown) in [
            ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
            ("redis://:secret@h/0", "redis://:***@h/0"),
            ("rediss://u:se@cret@h:1/2", "rediss://u:***@h:1/2"),
            ("u:secret@h", "u:***@h"),
            ("redis://secret@h", "redis://***@h"),
            (
                "unix:///s?db=1&user=u&pass=secret",
                "unix:///s?db=1&user=u&pass=***",
            ),
            ("redis://h?secret", "redis://h?***"),
            (
                "redis+sentinel://u:secret@h:1,i/s/2?sentinel_username=v&sentinel_password=secret",
                "redis+sentinel://u:***@h:1,i/s/2?sentinel_username=v&sentinel_password=***",
            ),
        ] {
            assert_eq!(without_secrets(url), shown);
        }
    }
}
