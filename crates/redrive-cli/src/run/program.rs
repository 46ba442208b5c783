//! Where a program is: looked up once, as a shell does.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use crate::failure::Failure;

/// Where programs are where the environment does not say, as for `execvp`.
const USUAL_PATH: &str = "/bin:/usr/bin";

/// A program and its arguments.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// As it was named, which it sees as its own name.
    pub(super) name: OsString,
    pub(super) path: PathBuf,
    pub(super) arguments: Vec<OsString>,
}

impl Program {
    /// Finds the program of a command line: in `PATH`, or as it is where its name has a `/`.
    pub(crate) fn find(command: &[OsString]) -> Result<Self, Failure> {
        let path = std::env::var_os("PATH").unwrap_or_else(|| USUAL_PATH.into());
        Self::find_in(command, &path)
    }

    fn find_in(command: &[OsString], path: &OsStr) -> Result<Self, Failure> {
        let Some((name, arguments)) = command.split_first() else {
            return Err(Failure::usage("the command is empty"));
        };
        let found = if name.as_encoded_bytes().contains(&b'/') {
            look(Path::new(name))
        } else {
            in_path(name, path)
        };
        let shown = name.to_string_lossy();
        match found {
            Found::Program(path) => Ok(Self {
                name: name.clone(),
                path,
                arguments: arguments.to_vec(),
            }),
            Found::NotExecutable => Err(Failure::usage(format!(
                "the handler {shown} is not a program that can be executed"
            ))
            .hint(format!("make it executable: chmod +x {shown}"))),
            Found::Nothing => Err(Failure::usage(format!("the handler {shown} was not found"))
                .hint("give its path, such as ./handler.sh, or a program in PATH")),
        }
    }
}

enum Found {
    Program(PathBuf),
    NotExecutable,
    Nothing,
}

fn look(path: &Path) -> Found {
    match std::fs::metadata(path) {
        Err(_) => Found::Nothing,
        Ok(file) if file.is_file() && rustix::fs::access(path, Access::EXEC_OK).is_ok() => {
            Found::Program(path.to_owned())
        }
        Ok(_) => Found::NotExecutable,
    }
}

fn in_path(name: &OsStr, path: &OsStr) -> Found {
    let mut result = Found::Nothing;
    if name.is_empty() {
        return result;
    }
    for folder in std::env::split_paths(path) {
        // POSIX: an empty part is the current directory.
        let folder = if folder.as_os_str().is_empty() {
            PathBuf::from(".")
        } else {
            folder
        };
        match look(&folder.join(name)) {
            Found::Program(path) => return Found::Program(path),
            // A directory of this name is none of the commands a shell finds either.
            Found::NotExecutable => result = Found::NotExecutable,
            Found::Nothing => {}
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(name: &str, path: &str) -> Result<PathBuf, String> {
        Program::find_in(&[name.into(), "argument".into()], path.as_ref())
            .map(|program| program.path)
            .map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn a_program_is_found_as_a_shell_finds_it() {
        let found = find("sh", "/no/such/folder:/etc:/bin:/usr/bin").unwrap();
        assert_eq!(found, Path::new("/bin/sh"));
        assert_eq!(find("/bin/sh", "").unwrap(), Path::new("/bin/sh"));
        for (name, path, told) in [
            ("sh", "/etc", "sh was not found"),
            ("", "/bin", "was not found"),
            ("/no/such/handler", "/bin", "/no/such/handler was not found"),
            ("/etc/passwd", "/bin", "not a program"),
            ("passwd", "/etc", "not a program"),
            ("/etc", "/bin", "not a program"),
        ] {
            let refused = find(name, path).unwrap_err();
            assert!(refused.contains(told), "{refused}");
            assert!(refused.contains("code: Usage"), "{refused}");
        }
    }
}
