//! The file that is imported: read twice, first to see that it is whole.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::packing::unpacked;
use super::random;
use crate::failure::Failure;

/// What can be read twice. Of stdin and pipes a copy is kept while they are read, in a file that has
/// no name.
pub(crate) struct Source {
    name: String,
    file: File,
    /// What is read the first time, where that is not the file.
    first: Option<File>,
}

impl Source {
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            let stdin = rustix::io::dup(io::stdin()).map_err(io::Error::from);
            let stdin = stdin.map_err(|error| Failure::new(format!("reading stdin: {error}")))?;
            return Self::copied("stdin".to_owned(), stdin.into());
        }
        let name = path.display().to_string();
        let failed = |error: &io::Error| match error.kind() {
            ErrorKind::NotFound => Failure::new(format!("no such file: {name}"))
                .hint("name a file that `redrive dlq export` wrote, or - for stdin"),
            _ => Failure::new(format!("reading {name}: {error}")),
        };
        let file = File::open(path).map_err(|error| failed(&error))?;
        let kind = file.metadata().map_err(|error| failed(&error))?;
        if kind.is_dir() {
            return Err(Failure::new(format!("{name} is a folder")).hint("name a file in it"));
        }
        if !kind.is_file() {
            return Self::copied(name, file);
        }
        Ok(Self {
            name,
            file,
            first: None,
        })
    }

    fn copied(name: String, from: File) -> Result<Self, Failure> {
        let file = nameless().map_err(|error| {
            let folder = std::env::temp_dir();
            Failure::new(format!(
                "keeping a copy of {name} in {}: {error}",
                folder.display()
            ))
            .hint("import from a file instead")
        })?;
        Ok(Self {
            name,
            file,
            first: Some(from),
        })
    }

    /// As it is called for people.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its lines, from the first on.
    pub(crate) fn lines(&mut self, longest: usize) -> Result<Lines, Failure> {
        let name = self.name.clone();
        let opened = (|| {
            let mut file = self.file.try_clone()?;
            file.seek(SeekFrom::Start(0))?;
            match self.first.take() {
                Some(from) => unpacked(Copied { from, copy: file }),
                None => unpacked(file),
            }
        })();
        let from = opened.map_err(|error| Failure::new(format!("reading {name}: {error}")))?;
        Ok(Lines {
            name,
            from,
            line: Vec::new(),
            longest,
            number: 0,
        })
    }
}

/// A file without a name, readable by its owner alone, that goes with the process.
fn nameless() -> io::Result<File> {
    let path: PathBuf = std::env::temp_dir().join(format!("redrive-import-{}", random()));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// What is read of the one is kept in the other.
struct Copied {
    from: File,
    copy: File,
}

impl Read for Copied {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(into)?;
        self.copy.write_all(into.get(..read).unwrap_or_default())?;
        Ok(read)
    }
}

/// The lines of an export, one at a time, none longer than what was said.
pub(crate) struct Lines {
    name: String,
    from: Box<dyn BufRead>,
    line: Vec<u8>,
    longest: usize,
    number: u64,
}

impl Lines {
    /// The next line, without its line feed; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, Failure> {
        self.line.clear();
        self.number += 1;
        let most = self.longest as u64 + 1;
        let read = (&mut self.from)
            .take(most)
            .read_until(b'\n', &mut self.line);
        read.map_err(|error| self.unread(&error))?;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        } else if self.line.is_empty() {
            return Ok(None);
        }
        if self.line.len() > self.longest {
            let (name, number, longest) = (&self.name, self.number, self.longest);
            return Err(Failure::new(format!(
                "line {number} of {name} is longer than {longest} bytes"
            ))
            .hint("where it is an export with dead letters as large as that, say --max-line"));
        }
        Ok(Some(&self.line))
    }

    fn unread(&self, error: &io::Error) -> Failure {
        let (name, number) = (&self.name, self.number);
        match error.kind() {
            // What those say who unpack.
            ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput => {
                Failure::new(format!(
                    "{name} is cut or damaged: it does not unpack beyond line {number}"
                ))
                .hint("copy it again, or export it again; --salvage imports what is whole of it")
            }
            _ => Failure::new(format!("reading line {number} of {name}: {error}")),
        }
    }
}
