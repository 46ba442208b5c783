//! A page of the documentation, as its blocks of code in order.

use std::path::Path;

/// What a reader is to do with a block. Said by what follows the language on the line that opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `sh`: type it.
    Run,
    /// `sh beside`: type it in a terminal of its own, where it goes on.
    Beside,
    /// `sh server`: the server, in a terminal of its own.
    Server,
    /// `sh not-run`: type it; too long for a test.
    NotRun,
    /// `… file NAME`: write it into a file.
    File(String),
    /// `… program NAME`: the example of this name.
    Program(String),
    /// `text`: what was said to the commands before.
    Shown,
    /// Anything else: read it.
    Read,
}

#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// The heading that it stands under.
    pub(crate) section: String,
    /// The line on which it is opened.
    pub(crate) line: usize,
    pub(crate) language: String,
    pub(crate) kind: Kind,
    pub(crate) text: String,
}

/// A file of the repository.
pub(crate) fn text(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::fs::read_to_string(root.join(path)).unwrap()
}

/// Its blocks.
pub(crate) fn blocks(path: &str) -> Vec<Block> {
    let page = text(path);
    let mut blocks = Vec::new();
    let mut section = String::new();
    let mut lines = page.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(heading) = line.strip_prefix("## ") {
            section = heading.to_owned();
        }
        let Some(info) = line.strip_prefix("```") else {
            continue;
        };
        let text: Vec<&str> = lines
            .by_ref()
            .map(|(_, line)| line)
            .take_while(|line| *line != "```")
            .collect();
        let (language, rest) = info.split_once(' ').unwrap_or((info, ""));
        blocks.push(Block {
            section: section.clone(),
            line: number + 1,
            language: language.to_owned(),
            kind: kind(language, rest),
            text: text.join("\n") + "\n",
        });
    }
    assert!(!blocks.is_empty(), "{path} has no blocks");
    blocks
}

fn kind(language: &str, rest: &str) -> Kind {
    match (language, rest.split_once(' ')) {
        (_, Some(("file", name))) => Kind::File(name.to_owned()),
        (_, Some(("program", name))) => Kind::Program(name.to_owned()),
        ("sh", _) => match rest {
            "" => Kind::Run,
            "beside" => Kind::Beside,
            "server" => Kind::Server,
            "not-run" => Kind::NotRun,
            other => panic!("what is `sh {other}`?"),
        },
        ("text", _) => Kind::Shown,
        _ => Kind::Read,
    }
}
