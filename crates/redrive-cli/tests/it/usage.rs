//! Help, versions and mistakes.

use super::redrive;

#[test]
fn the_version_is_told() {
    let ended = redrive(&["--version"]);
    assert_eq!(ended.code, Some(0));
    assert_eq!(
        ended.stdout,
        concat!("redrive ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn help_tells_the_commands_and_each_has_two_examples() {
    insta::assert_snapshot!("help", redrive(&["--help"]).stdout);
    let demo = redrive(&["demo", "--help"]);
    assert_eq!(demo.code, Some(0));
    insta::assert_snapshot!("help-demo", demo.stdout);
    let examples = demo.stdout.split("Examples:").nth(1).unwrap();
    assert_eq!(examples.matches("redrive demo").count(), 2);
}

#[test]
fn what_is_not_a_command_or_a_flag_is_a_usage_error() {
    for args in [&["dmeo"][..], &[][..], &["demo", "--incident-report"][..]] {
        let ended = redrive(args);
        assert_eq!(ended.code, Some(2), "{args:?}");
        assert!(ended.stdout.is_empty(), "{args:?}");
        assert!(!ended.stderr.is_empty(), "{args:?}");
    }
}
