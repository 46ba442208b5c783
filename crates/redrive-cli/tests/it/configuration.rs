//! The configuration file, the environment, and which of them wins.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::getuid;
use serde_json::Value;
use tempfile::TempDir;

use super::{Ended, command, ended, fed};

/// A folder with a configuration file in it.
struct Room(TempDir);

impl Room {
    fn with(text: impl AsRef<[u8]>) -> Self {
        let room = Self(tempfile::tempdir().unwrap());
        std::fs::write(room.file(), text).unwrap();
        room
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("here.toml")
    }

    /// The binary with this file.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = command(args);
        command.arg("--config").arg(self.file());
        command
    }

    #[track_caller]
    fn refused(&self) -> Ended {
        ended(&mut self.command(&["config", "show"])).failed(2)
    }
}

/// What `config show` tells of one key.
#[track_caller]
fn shown(command: &mut Command, table: &str, key: &str) -> (Value, String, Value) {
    let told = ended(command.args(["-o", "json"])).succeeded();
    let rows: Vec<Value> = serde_json::from_str(&told.stdout).unwrap();
    let row = rows
        .iter()
        .find(|row| row["table"] == table && row["key"] == key);
    let row = row.unwrap_or_else(|| panic!("no {table}.{key} in {}", told.stdout));
    let from = row["from"].as_str().unwrap().to_owned();
    (row["value"].clone(), from, row["place"].clone())
}

#[test]
fn the_later_wins_default_file_environment_flag() {
    let room = Room::with("# mine\nurl = \"redis://file\"\n\n[send]\nmax_size = \"1KiB\"\n");
    let file = room.file();
    let place = |line: u32| Value::from(format!("{}:{line}", file.display()));
    let show = &["config", "show"][..];

    let url = shown(&mut command(show), "", "url");
    assert_eq!(
        url,
        (
            "redis://127.0.0.1:6379".into(),
            "default".into(),
            Value::Null
        )
    );
    let url = shown(&mut room.command(show), "", "url");
    assert_eq!(url, ("redis://file".into(), "file".into(), place(2)));
    let mut with_variable = room.command(show);
    let with_variable = with_variable.env("REDRIVE_URL", "redis://variable");
    let url = shown(with_variable, "", "url");
    assert_eq!(
        url,
        (
            "redis://variable".into(),
            "environment".into(),
            "REDRIVE_URL".into()
        )
    );
    let mut with_flag = room.command(&["config", "show", "--url", "redis://flag"]);
    let url = shown(with_flag.env("REDRIVE_URL", "redis://variable"), "", "url");
    assert_eq!(url, ("redis://flag".into(), "flag".into(), "--url".into()));

    let size = shown(&mut command(show), "send", "max_size");
    assert_eq!(size, ("8MiB".into(), "default".into(), Value::Null));
    let size = shown(&mut room.command(show), "send", "max_size");
    assert_eq!(size, ("1KiB".into(), "file".into(), place(5)));
}

#[test]
fn the_form_of_the_output_follows_the_same_order() {
    let room = Room::with("output = \"jsonl\"\n");
    let first = |command: &mut Command| ended(command).succeeded().stdout.chars().next().unwrap();
    let show = &["config", "show"][..];
    assert_eq!(first(&mut command(show)), 'T', "a table");
    assert_eq!(first(&mut room.command(show)), '{', "lines");
    let mut with_variable = room.command(show);
    assert_eq!(
        first(with_variable.env("REDRIVE_OUTPUT", "json")),
        '[',
        "an array"
    );
    let mut with_flag = room.command(&["config", "show", "-o", "table"]);
    assert_eq!(first(with_flag.env("REDRIVE_OUTPUT", "json")), 'T');
}

#[test]
fn config_show_tells_the_same_in_all_forms_and_no_secret() {
    let room = Room::with("url = \"rediss://ann:hunter2@h:1/2\"\nquiet = true\n");
    let forms = ["table", "json", "jsonl"].map(|form| {
        let mut show = room.command(&["config", "show", "-o", form]);
        let told = ended(&mut show).succeeded();
        assert!(!told.stdout.contains("hunter2"), "{}", told.stdout);
        assert!(
            told.stdout.contains("rediss://ann:***@h:1/2"),
            "{}",
            told.stdout
        );
        told.stdout
    });
    let [table, json, jsonl] = forms;
    let rows: Vec<Value> = serde_json::from_str(&json).unwrap();
    let lines: Vec<Value> = jsonl
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    // All but the line that tells the form itself.
    let others = |rows: &[Value]| -> Vec<Value> {
        rows.iter()
            .filter(|row| row["key"] != "output")
            .cloned()
            .collect()
    };
    assert_eq!(others(&rows), others(&lines));
    assert_eq!(table.lines().count(), rows.len() + 1);
    for row in &rows {
        let keys: Vec<_> = row.as_object().unwrap().keys().collect();
        assert_eq!(keys.len(), 5, "{row}");
    }
    let mut by_variable = command(&["config", "show"]);
    by_variable.env("REDRIVE_URL", "redis://:hunter2@h");
    assert!(
        !ended(&mut by_variable)
            .succeeded()
            .stdout
            .contains("hunter2")
    );
}

#[test]
fn where_the_file_is_can_be_said_and_is_told() {
    let room = Room::with("output = \"json\"\n");
    let show = &["config", "show"][..];
    let path = Value::from(room.file().to_str().unwrap());
    let config = shown(&mut room.command(show), "", "config");
    assert_eq!(config, (path.clone(), "flag".into(), "--config".into()));
    let mut by_variable = command(show);
    let config = shown(by_variable.env("REDRIVE_CONFIG", room.file()), "", "config");
    assert_eq!(
        config,
        (path.clone(), "environment".into(), "REDRIVE_CONFIG".into())
    );
    // The flag wins.
    let mut both = room.command(show);
    let config = shown(both.env("REDRIVE_CONFIG", "/nowhere"), "", "config");
    assert_eq!(config.0, path);

    // The usual places, with the first of the two that is there.
    for (variable, inside) in [("XDG_CONFIG_HOME", "redrive"), ("HOME", ".config/redrive")] {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(inside);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("config.toml"), "quiet = true\n").unwrap();
        let mut usual = command(show);
        let quiet = shown(usual.env(variable, home.path()), "", "quiet");
        assert_eq!((quiet.0, &*quiet.1), ("true".into(), "file"));
    }
    // None there is none.
    let nothing = tempfile::tempdir().unwrap();
    let mut usual = command(show);
    let quiet = shown(usual.env("XDG_CONFIG_HOME", nothing.path()), "", "quiet");
    assert_eq!(quiet.1, "default");
}

#[test]
fn a_named_file_that_is_missing_is_an_error() {
    let missing = "/nowhere/redrive.toml";
    for args in [
        &["--config", missing][..],
        &["--config=/nowhere/redrive.toml"],
    ] {
        let args = [args, &["config", "show"]].concat();
        ended(&mut command(&args))
            .failed(2)
            .says(missing)
            .says("--config");
    }
    let mut by_variable = command(&["config", "show"]);
    by_variable.env("REDRIVE_CONFIG", missing);
    ended(&mut by_variable).failed(2).says(missing);
    // A folder is no file either.
    let mut folder = command(&["config", "show"]);
    ended(folder.env("REDRIVE_CONFIG", "/tmp"))
        .failed(2)
        .says("/tmp");
}

#[test]
fn what_a_file_may_not_say_is_told_with_its_line() {
    for (text, line, told) in [
        ("\n\nurll = \"x\"", 3, "unknown key \"urll\""),
        ("[snd]\nmax_size = 1", 1, "unknown command \"snd\""),
        (
            "[send]\n\nmax_sise = 1",
            3,
            "unknown key \"max_sise\" in [send]",
        ),
        ("[config.shw]\n", 1, "unknown command \"shw\" in [config]"),
        ("[demo_worker]\n", 1, "unknown command"),
        ("[demo-worker]\nstream = \"x\"", 1, "unknown command"),
        ("quiet = 1", 1, "quiet is true or false"),
        ("quiet = \"yes\"", 1, "quiet is true or false"),
        ("\nurl = 1.5", 2, "url is a string"),
        ("url = 1979-05-27", 1, "url is a string"),
        ("url = [\"a\", \"b\"]", 1, "url takes one value"),
        (
            "output = \"josn\"",
            1,
            "output = \"josn\": it is one of table, json, jsonl",
        ),
        (
            "[send]\nmax_size = \"8 MB\"",
            2,
            "max_size = \"8 MB\": a size is written like",
        ),
        ("yes = true", 1, "unknown key \"yes\""),
        ("config = \"x\"", 1, "unknown key \"config\""),
        ("[send]\njson = \"{}\"", 2, "unknown key \"json\""),
        ("[man]\nforce = true", 2, "unknown key \"force\""),
        (
            "[send]\nurl = \"redis://x\"",
            2,
            "unknown key \"url\" in [send]",
        ),
        ("url = ", 1, ""),
        ("url = \"a\"\nurl = \"b\"", 2, ""),
        ("[", 1, ""),
    ] {
        let room = Room::with(text);
        let place = format!("{}:{line}: ", room.file().display());
        room.refused().says(&place).says(told);
    }
    let nearest = |text: &str, nearest: &str| {
        Room::with(text)
            .refused()
            .says(&format!("hint: did you mean {nearest}?"));
    };
    nearest("urll = \"x\"", "url");
    nearest("[send]\nmax_sise = 1", "max_size");
    nearest("[confg]", "config");
    Room::with(b"url = \"\xff\"").refused().says("UTF-8");
    // What steers a terminal is not passed on.
    let hostile = Room::with("\"\\u001b[31mx\" = 1\n").refused();
    assert!(!hostile.stderr.contains('\u{1b}'), "{}", hostile.stderr);
}

#[test]
fn values_of_a_file_count_as_if_they_were_typed() {
    let room = Room::with("tls_cert = \"/nowhere.pem\"\n");
    let send = &["send", "s", "-f", "a=1"][..];
    ended(&mut room.command(send))
        .failed(2)
        .says("needs its key: give both");
    // The one from the file, the other from a flag.
    let send = &["send", "s", "-f", "a=1", "--tls-key", "/nowhere.key"][..];
    ended(&mut room.command(send))
        .failed(2)
        .says("reading --tls-cert /nowhere.pem");
}

#[test]
fn help_and_the_version_are_had_with_a_broken_file() {
    let room = Room::with("[[[");
    room.refused();
    for args in [
        &["--help"][..],
        &["-h"],
        &["--version"],
        &["send", "--help"],
    ] {
        let told = ended(&mut room.command(args)).succeeded();
        assert_eq!(told.stderr, "");
        assert!(!told.stdout.is_empty());
    }
    // Nor does help show what is configured: it may be a secret.
    let room = Room::with("url = \"redis://:hunter2@h\"\n");
    let help = ended(
        room.command(&["--help"])
            .env("REDRIVE_URL", "redis://:hunter3@h"),
    );
    assert!(!help.succeeded().stdout.contains("hunter"));
}

#[test]
fn a_variable_that_cannot_be_is_told_by_name() {
    let set = |name: &str, value: &str| {
        let mut show = command(&["config", "show"]);
        ended(show.env(name, value))
    };
    let wrong = set("REDRIVE_LOG", "redrive=loud").failed(2);
    wrong
        .says("REDRIVE_LOG")
        .says("error, warn, info, debug, trace");
    let wrong = set("REDRIVE_OUTPUT", "xml").failed(2);
    wrong.says("REDRIVE_OUTPUT cannot be \"xml\": it is one of table, json, jsonl");
    // Empty is not set.
    for name in [
        "REDRIVE_LOG",
        "REDRIVE_OUTPUT",
        "REDRIVE_URL",
        "REDRIVE_CONFIG",
    ] {
        set(name, "").succeeded();
    }
    let mut plain = command(&["config", "show"]);
    let no_color = shown(plain.env("NO_COLOR", "1"), "", "no_color");
    assert_eq!((no_color.0, &*no_color.1), ("true".into(), "environment"));
    // No other variable configures anything.
    let mut other = command(&["config", "show"]);
    let size = shown(
        other
            .env("REDRIVE_MAX_SIZE", "1")
            .env("REDRIVE_QUIET", "true"),
        "",
        "quiet",
    );
    assert_eq!(size.1, "default");
}

#[test]
fn numbers_out_of_range_and_ids_are_refused_in_a_file_too() {
    for (text, why) in [
        ("[run]\nconcurrency = 0\n", "between 1 and 1000000"),
        ("[run]\nbatch = 1000001\n", "between 1 and 1000000"),
        ("[run]\nmax_attempts = 0\n", "0 is not in 1.."),
        ("[run]\nmax_crashes = 1\n", "1 is not in 2.."),
        ("[run]\nlease = \"99ms\"\n", "between 100ms and 365d"),
        ("[run]\nblock = \"0s\"\n", "between 1ms and 365d"),
        ("[run]\ntimeout = \"0s\"\n", "between 1ms and 365d; or none"),
        ("[dlq.purge]\nid = \"1-0\"\n", "unknown key \"id\""),
        ("[dlq.purge]\nall = true\n", "unknown key \"all\""),
    ] {
        let refused = Room::with(text).refused();
        assert!(refused.stderr.contains(why), "{text}: {}", refused.stderr);
        assert!(
            refused.stderr.contains("here.toml:2: "),
            "{}",
            refused.stderr
        );
    }
}

#[test]
fn ends_that_exclude_each_other_are_refused_from_a_file_too() {
    let run = ["run", "orders", "-g", "billing"];
    let room = Room::with("[run]\nuntil_idle = true\nmax_batches = 3\n");
    let refused = ended(&mut room.command(&run)).failed(2);
    let why = "error: --until-idle and --max-batches <N> exclude each other\nhint: `redrive config";
    assert!(refused.stderr.starts_with(why), "{}", refused.stderr);
    let room = Room::with("[run]\nlease = \"10m\"\n");
    let refused = ended(&mut room.command(&run)).failed(2);
    let why = "error: --foreign-lease is 5m, shorter than --lease, 10m\nhint: see `redrive run";
    assert!(refused.stderr.starts_with(why), "{}", refused.stderr);
}

/// `--config /dev/zero` was read until the memory was full.
#[test]
fn what_has_no_end_is_no_configuration_file() {
    let show = |path: &str| ended(&mut command(&["config", "show", "--config", path]));
    show("/dev/zero")
        .failed(2)
        .says("/dev/zero: it is neither a file nor a pipe");
    show("/tmp").failed(2).says("directory");
    show("/dev/null").succeeded();

    let comment = |length: usize| "#".repeat(length);
    let most = 1024 * 1024;
    Room::with(comment(most + 1))
        .refused()
        .says("longer than 1 MiB");
    let room = Room::with(comment(most));
    ended(&mut room.command(&["config", "show"])).succeeded();

    let mut piped = command(&["config", "show", "--config", "/dev/stdin"]);
    fed(&mut piped, b"[".to_vec())
        .failed(2)
        .says("/dev/stdin:1");
    let mut piped = command(&["config", "show", "--config", "/dev/stdin"]);
    fed(&mut piped, comment(2 * most).into_bytes())
        .failed(2)
        .says("longer than 1 MiB");
}

/// A worker under another user, with the home of the one who started it.
#[test]
fn a_usual_place_that_is_closed_counts_as_empty() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("redrive").join("config.toml");
    std::fs::create_dir(home.path().join("redrive")).unwrap();
    std::fs::write(&file, "quiet = true\n").unwrap();
    let show = |home: &std::path::Path| {
        let mut show = command(&["config", "show", "-o", "json"]);
        ended(show.env("XDG_CONFIG_HOME", home)).succeeded()
    };
    assert!(show(home.path()).stdout.contains("config.toml"));
    // A home that is no folder.
    assert_eq!(show(&file).stderr, "");

    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o000)).unwrap();
    let mut closed = command(&["config", "show", "-o", "json"]);
    closed.env("XDG_CONFIG_HOME", home.path());
    let mut named = command(&["config", "show", "--config"]);
    named.arg(&file);
    if getuid().is_root() {
        // Who may do everything may read it all the same: this is for somebody else.
        for command in [&mut closed, &mut named] {
            command.uid(65_534).gid(65_534);
        }
        let tried = closed.output();
        if tried.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied) {
            // Nobody else may run the binary where it is.
            return;
        }
    }
    let told = ended(&mut closed).succeeded();
    assert!(!told.stdout.contains("config.toml"), "{}", told.stdout);
    told.says("going on without the configuration file")
        .says("ermission denied");
    ended(&mut named).failed(2).says("ermission denied");
}
