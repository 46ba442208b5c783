//! `redrive man`: manual pages, made from the commands themselves.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::configuration::visible;
use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;
use crate::terminal::shown;

/// Print the manual page, or write one for each command
///
/// Without --dir the page of redrive itself is printed. With it a page for each command is written
/// into that folder, which is created if it is missing, and their names are printed.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive man | man -l -\n  \
    redrive man --dir ~/.local/share/man/man1 --force")]
pub(crate) struct Args {
    /// The folder to write the pages into
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Overwrite pages that are there already
    #[arg(long)]
    force: bool,
}

/// Prints the page, or writes all of them.
pub(crate) fn run(args: &Args, session: &mut Session, mut root: Command) -> Result<(), Failure> {
    root.build();
    let Some(folder) = &args.dir else {
        if args.force {
            return Err(Failure::usage("--force is for files: there is no --dir")
                .hint("redrive man --dir DIR --force"));
        }
        session.out.write(&page(root)?)?;
        return session.out.flush();
    };
    let mut pages = Vec::new();
    collect(&root, folder, &mut pages)?;
    if !args.force {
        // Looked for before the first is written: all of them, or none.
        let there: Vec<_> = pages.iter().filter(|(path, _)| path.exists()).collect();
        if let [(first, _), others @ ..] = &there[..] {
            let first = first.display();
            let others = match others.len() {
                0 => String::new(),
                many => format!(", and {many} more"),
            };
            return Err(
                Failure::new(format!("these are there already: {first}{others}"))
                    .hint("--force overwrites them; nothing was written"),
            );
        }
    }
    std::fs::create_dir_all(folder).map_err(|error| {
        Failure::new(format!("creating {}: {error}", folder.display()))
            .hint("name a folder that can be written to")
    })?;
    for (path, page) in &pages {
        write(path, page)?;
    }
    told(&mut session.out, &pages)
}

/// A file, and what belongs into it.
type Page = (PathBuf, Vec<u8>);

fn collect(command: &Command, folder: &Path, pages: &mut Vec<Page>) -> Result<(), Failure> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    pages.push((folder.join(format!("{name}.1")), page(command.clone())?));
    for inside in visible(command) {
        collect(inside, folder, pages)?;
    }
    Ok(())
}

/// The page of one command.
fn page(command: Command) -> Result<Vec<u8>, Failure> {
    let examples = command.get_after_help().map(ToString::to_string);
    let inside = visible(&command).next().is_some();
    let man = Man::new(command).source(concat!("redrive ", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if inside {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(examples) = examples {
        let mut roff = Roff::new();
        roff.control("SH", ["EXAMPLES"]);
        roff.control("nf", []);
        for line in examples.lines().skip(1) {
            roff.text([roman(line.trim_start())]);
        }
        roff.control("fi", []);
        roff.to_writer(&mut page)?;
    }
    Ok(page)
}

fn write(path: &Path, page: &[u8]) -> Result<(), Failure> {
    let mut file = OpenOptions::new();
    let opened = file.write(true).create(true).truncate(true).open(path);
    opened
        .and_then(|mut file| file.write_all(page))
        .map_err(|error| {
            Failure::new(format!("writing {}: {error}", path.display()))
                .hint("name a folder that can be written to")
        })
}

fn told(out: &mut Output, pages: &[Page]) -> Result<(), Failure> {
    let names = pages.iter().map(|(path, _)| path.display().to_string());
    if out.is_table() {
        for name in names {
            out.line(&shown(&name))?;
        }
        return out.flush();
    }
    let mut documents = out.documents();
    for name in names {
        documents.add(&name)?;
    }
    documents.end()
}
