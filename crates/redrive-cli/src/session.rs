//! What every command starts with: the global flags, the broker that they name, stdout.

use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use redrive::{Broker, ConnectOptions, ErrorKind};

use crate::configuration;
use crate::confirm::Consent;
use crate::failure::{Code, Failure};
use crate::output::{Colours, Format, Output};
use crate::progress::Quiet;

/// The flags that every command takes.
#[derive(ClapArgs, Clone, Debug)]
pub(crate) struct Globals {
    /// The server: redis://, rediss:// (TLS), unix:///PATH, redis+sentinel://HOST,HOST/SERVICE (REDRIVE_URL)
    #[arg(
        long,
        global = true,
        value_name = "URL",
        default_value = "redis://127.0.0.1:6379",
        help_heading = "Global options"
    )]
    pub(crate) url: String,
    /// The form of what is printed (REDRIVE_OUTPUT)
    #[arg(
        short = 'o',
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value_t,
        hide_possible_values = true,
        help = "The form of what is printed: table, json, jsonl (REDRIVE_OUTPUT)",
        help_heading = "Global options"
    )]
    pub(crate) output: Format,
    /// Say nothing but errors
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub(crate) quiet: bool,
    /// Say more on stderr; twice: even more
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Global options")]
    pub(crate) verbose: u8,
    /// Do not ask before what cannot be taken back
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) yes: bool,
    /// No colours (NO_COLOR)
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) no_color: bool,
    /// The configuration file (REDRIVE_CONFIG; $XDG_CONFIG_HOME/redrive/config.toml)
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Global options"
    )]
    pub(crate) config: Option<PathBuf>,
    /// Trust servers whose certificate this authority has signed, and no others (PEM)
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Global options"
    )]
    pub(crate) tls_ca: Option<PathBuf>,
    /// The client certificate to show (PEM)
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Global options"
    )]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The key of the client certificate (PEM)
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Global options"
    )]
    pub(crate) tls_key: Option<PathBuf>,
}

/// One call of the binary.
pub(crate) struct Session {
    pub(crate) globals: Globals,
    pub(crate) out: Output,
}

impl Session {
    pub(crate) fn new(globals: Globals) -> Self {
        let plain = globals.no_color || configuration::variable(configuration::NO_COLOR).is_some();
        let colours = if plain { Colours::Never } else { Colours::Auto };
        Self {
            out: Output::new(globals.output, colours),
            globals,
        }
    }

    /// Connects to the server that the flags name.
    pub(crate) async fn broker(&self) -> Result<Broker, Failure> {
        let globals = &self.globals;
        let mut options = ConnectOptions::default();
        if let Some(ca) = &globals.tls_ca {
            options = options.ca(read("--tls-ca", ca)?);
        }
        // Not told to clap: one of the two may come from the file, the other from a flag.
        match (&globals.tls_cert, &globals.tls_key) {
            (Some(certificate), Some(key)) => {
                options = options
                    .client_certificate(read("--tls-cert", certificate)?, read("--tls-key", key)?);
            }
            (None, None) => {}
            _ => {
                return Err(Failure::usage(
                    "--tls-cert is given without --tls-key, or the other way round",
                )
                .hint("a client certificate needs its key: give both"));
            }
        }
        let connected = Broker::connect_with(&globals.url, &options).await;
        connected.map_err(unconnected)
    }

    pub(crate) fn consent(&self) -> Consent {
        if self.globals.yes {
            Consent::Given
        } else {
            Consent::Asked
        }
    }

    /// Whether a command that has done all that was asked says nothing of it: `-q`, where no program
    /// asks for the report.
    pub(crate) fn is_silent(&self) -> bool {
        self.globals.quiet && self.out.is_table()
    }

    pub(crate) fn quiet(&self) -> Quiet {
        if self.globals.quiet {
            Quiet::Yes
        } else {
            Quiet::No
        }
    }
}

/// Why there is no broker. Nothing was looked for yet: what is not found is the service, of which the
/// sentinels that the URL names know nothing, and then the URL is wrong.
pub(crate) fn unconnected(error: redrive::Error) -> Failure {
    match error.kind() {
        ErrorKind::NotFound => Failure::from(error).code(Code::Usage),
        _ => error.into(),
    }
}

fn read(flag: &str, path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| {
        Failure::usage(format!("reading {flag} {}: {error}", path.display()))
            .hint("name a PEM file that can be read")
    })
}
