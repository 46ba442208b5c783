//! `docs/configuration.md`: where values come from, and every key of the file.

use clap::Command;

use super::{default, meaning, row, table, takes_a_value, value_name};
use crate::configuration::{keys, visible};

const HEAD: &str = "\
# Configuration

<!-- Made from the commands themselves by `make reference`; a test compares. -->

A value comes from, the later winning:

1. its default,
2. the configuration file,
3. an environment variable, for those that have one,
4. a flag.

`redrive config show` prints each value and where it came from, passwords as `***`. First it lists `config` and `log`: where
the file is, and what is logged. These two are no keys.

## The file

TOML. It is the first of these:

1. what `--config FILE` names,
2. what the environment variable `REDRIVE_CONFIG` names,
3. `$XDG_CONFIG_HOME/redrive/config.toml`, and without that variable `$HOME/.config/redrive/config.toml`.

A file that is named must be there, a regular file or a pipe, of 1 MiB at most; `/dev/null` is none. The usual place may
be empty; a file there that may not be read counts as none, and a line on stderr says so. An empty variable counts as
not set.

The global options stand at the top, those of a command in a table of its name: `[send]`, `[config.show]`. A key is the
long flag with `_` for `-`. A flag without a value is `true` or `false`, one that may be repeated takes an array. A key
that does not exist, or a value that the flag would not take, is an error (exit code 2) with its line and the nearest
name. Whatever must be said each time is no key: `--yes`, `--force`, `--because`, what a command is to work on, and the
arguments without a flag.

```toml
url = \"redis://127.0.0.1:6379\"

[send]
max_size = \"1MiB\"
```

## The environment

No other variable configures redrive.

| variable | means |
| --- | --- |
| `REDRIVE_URL` | `--url` |
| `REDRIVE_OUTPUT` | `--output` |
| `REDRIVE_CONFIG` | `--config` |
| `REDRIVE_AS` | `--as`: who does it, of every command that changes a dead-letter queue |
| `REDRIVE_LOG` | what is logged to stderr: `error`, `warn`, `info`, `debug`, `trace`, or a list such as `redrive=debug,info`; wins over `-q` and `-v` |
| `NO_COLOR` | `--no-color`, when it is set to anything |

## How values are written

| kind | is written like |
| --- | --- |
| duration | `250ms` `30s` `5m` `2h` `1d` `1h30m`; `none` where it can be turned off |
| size | `512` `64KiB` `8MiB` `1GiB`, and decimal: `64kB` `8MB` `1GB` |
| backoff | `none`, `10s` (always the same), `1s..5m` (doubling, a random part of it) |
| id of an entry | `1712-0` or `1712` |

";

/// The page.
pub(super) fn page(root: &Command) -> String {
    let mut page = HEAD.to_owned();
    section(root, &mut Vec::new(), &mut page);
    // A text file ends with one line end.
    format!("{}\n", page.trim_end())
}

fn section<'a>(command: &'a Command, names: &mut Vec<&'a str>, page: &mut String) {
    let rows: Vec<String> = keys(command, names.is_empty())
        .map(|(key, argument)| {
            let value = if takes_a_value(argument) {
                format!("`{}`", value_name(argument))
            } else {
                "`true`, `false`".to_owned()
            };
            let default = match default(argument) {
                none if none.is_empty() && !takes_a_value(argument) => "`false`".to_owned(),
                default => default,
            };
            row(&[&format!("`{key}`"), &value, &default, &meaning(argument)])
        })
        .collect();
    if !rows.is_empty() {
        page.push_str(&match names[..] {
            [] => "## At the top\n\n".to_owned(),
            _ => format!("## `[{}]`\n\n", names.join(".")),
        });
        page.push_str(&table(&["key", "value", "default", "meaning"], &rows));
    }
    for inside in visible(command) {
        names.push(inside.get_name());
        section(inside, names, page);
        names.pop();
    }
}
