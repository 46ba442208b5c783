//! The library's scripts, as it sends them.

use std::path::Path;
use std::sync::LazyLock;

/// Each by itself and behind `shared.lua`: which of the two is sent is the library's affair.
pub(super) fn texts() -> &'static [String] {
    static TEXTS: LazyLock<Vec<String>> = LazyLock::new(|| {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = here.join("../redrive/src/redis/scripts");
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        let shared = read(&folder.join("shared.lua"));
        let files = std::fs::read_dir(&folder).unwrap();
        let texts = files.map(|file| read(&file.unwrap().path()));
        texts
            .filter(|text| *text != shared)
            .flat_map(|text| [format!("{shared}\n{text}"), text])
            .collect()
    });
    &TEXTS
}
