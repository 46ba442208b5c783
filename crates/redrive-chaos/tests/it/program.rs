//! The programs that are hurt: the real `redrive`, and this crate's own worker.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The worker of this crate.
pub(crate) fn worker() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_chaos-worker"))
}

/// The real binary, built as this test was: same folder, same profile.
///
/// Cargo gives a test the programs of its own package only, so the other one is asked for here.
pub(crate) fn redrive() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = worker().parent().unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args([
            "build",
            "--locked",
            "--quiet",
            "-p",
            "redrive-cli",
            "--bin",
            "redrive",
        ]);
        cargo.arg("--target-dir").arg(folder.parent().unwrap());
        if folder.ends_with("release") {
            cargo.arg("--release");
        }
        // What a runner tells a test of its own package, build scripts take for a change: everything would be built anew.
        for (name, _) in std::env::vars_os() {
            let told = [
                "CARGO_PKG_",
                "CARGO_MANIFEST_",
                "CARGO_BIN_EXE_",
                "CARGO_CRATE_",
                "NEXTEST",
            ];
            if told
                .iter()
                .any(|told| name.to_string_lossy().starts_with(told))
            {
                cargo.env_remove(name);
            }
        }
        let built = cargo
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "building redrive: {said}");
        let path = folder.join("redrive");
        assert!(path.is_file(), "{}", path.display());
        path
    })
}
