//! The handler of the sweep's workers, and what it writes down.

use std::path::Path;

/// Handles a message as its payload says, and writes down that it ran. `$0` is the file of runs, `$1` the file whose being
/// there lets what waits go on.
pub(super) const HANDLER: &str = r#"
read -r what
echo "$REDRIVE_ID start" >> "$0"
case $what in
    *fail-once*) [ "$REDRIVE_ATTEMPT" -gt 1 ] || { echo "it fails once" >&2; exit 1; } ;;
    *hold-and-fail*) while [ ! -e "$1" ]; do sleep 0.02; done; echo "it fails at last" >&2; exit 1 ;;
    *needs-go*) [ -e "$1" ] || { echo "nothing works" >&2; exit 1; } ;;
    *hold*) while [ ! -e "$1" ]; do sleep 0.02; done ;;
    *fail*) echo "it always fails" >&2; exit 1 ;;
    *reject-at-first*) [ -e "$1" ] || exit 65 ;;
    *reject*) exit 65 ;;
    *slow*) sleep 0.3 ;;
esac
echo "$REDRIVE_ID done" >> "$0"
"#;

/// What has been written down of runs, a line each.
pub(super) fn lines(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The ids of the runs that have started, in order.
pub(super) fn starts(lines: &[String]) -> Vec<String> {
    let starts = lines.iter().filter_map(|line| line.strip_suffix(" start"));
    starts.map(str::to_owned).collect()
}
