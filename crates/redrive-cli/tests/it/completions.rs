//! Completions and man pages.

use super::redrive;

#[test]
fn every_shell_gets_completions_of_what_a_person_can_type() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let told = redrive(&["completions", shell]).succeeded();
        assert_eq!(told.stderr, "");
        assert!(told.stdout.contains("completions"), "{shell}");
        assert!(told.stdout.contains("max-size"), "{shell}");
        assert!(!told.stdout.contains("demo-worker"), "{shell}");
    }
    redrive(&["completions", "tcsh"]).failed(2).says("zsh");
}

#[test]
fn man_prints_one_page_or_writes_all_of_them_and_overwrites_only_when_told() {
    let page = redrive(&["man"]).succeeded().stdout;
    assert!(page.contains(".TH redrive 1"), "{page}");
    assert!(page.contains("redrive\\-send(1)"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("man1");
    let write = ["man", "--dir", into.to_str().unwrap()];
    let told = redrive(&write).succeeded().stdout;
    let mut names: Vec<String> = std::fs::read_dir(&into)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(told.lines().count(), names.len());
    assert!(names.contains(&"redrive.1".to_owned()), "{names:?}");
    assert!(
        names.contains(&"redrive-config-show.1".to_owned()),
        "{names:?}"
    );
    assert!(
        !names
            .iter()
            .any(|name| name.contains("worker") || name.contains("reference"))
    );
    let send = std::fs::read_to_string(into.join("redrive-send.1")).unwrap();
    for part in [
        ".SH NAME",
        ".SH SYNOPSIS",
        "max\\-size",
        ".SH EXAMPLES",
        "orders.jsonl",
    ] {
        assert!(send.contains(part), "{part}\n{send}");
    }

    std::fs::write(into.join("redrive-send.1"), "mine").unwrap();
    std::fs::remove_file(into.join("redrive.1")).unwrap();
    redrive(&write).failed(1).says("--force");
    let kept = std::fs::read_to_string(into.join("redrive-send.1")).unwrap();
    assert_eq!(kept, "mine");
    assert!(
        !into.join("redrive.1").exists(),
        "nothing at all is written"
    );
    redrive(&[&write[..], &["--force"]].concat()).succeeded();
    let written = std::fs::read_to_string(into.join("redrive-send.1")).unwrap();
    assert_eq!(written, send);
}
