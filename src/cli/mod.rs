//! The commands. Each says what to print and how to exit; `main` does it.

mod admin_client;
pub mod check;
mod explain;
mod healthcheck;
pub mod keys;
mod live_check;
mod run;
pub mod schema;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::config::{self, Config, LoadOptions, Loaded, SystemEnvironment, problem};

/// What a command leaves to say when it is over.
#[derive(Debug, Default)]
pub struct Said {
    /// For standard output.
    pub out: String,
    /// For standard error.
    pub err: String,
    /// Exit code.
    pub code: u8,
}

impl Said {
    fn new(out: String, ok: bool) -> Self {
        Self { out, err: String::new(), code: u8::from(!ok) }
    }

    fn failed(err: String, code: u8) -> Self {
        Self { out: String::new(), err, code }
    }
}

/// sysexits.h, EX_CONFIG: systemd does not restart a service that ends with it
/// (`RestartPreventExitStatus=78`).
const BAD_CONFIG: u8 = 78;
/// Where the file is looked for when no flag says so.
const PLACES: [&str; 2] = ["keymux.toml", "/etc/keymux/keymux.toml"];

/// One daemon, one TOML file, in front of every LLM provider.
#[derive(Debug, Parser)]
#[command(name = "keymux", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: FileArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway (also what happens without a command).
    Run(FileArgs),
    /// Report every problem of the configuration.
    Check {
        #[command(flatten)]
        file: FileArgs,
        /// Print a JSON list: of problems, or with --live of keys.
        #[arg(long)]
        json: bool,
        /// Ask each provider with a free call whether it takes each key.
        #[arg(long)]
        live: bool,
    },
    /// Say which keys a model's requests go to, in order, and why not to others.
    Explain {
        /// The model, as a caller would ask for it.
        model: String,
        /// The client that asks.
        #[arg(long)]
        client: Option<String>,
        /// Ask the gateway that runs on this file how the keys fare.
        #[arg(long)]
        running: bool,
        #[command(flatten)]
        file: FileArgs,
    },
    /// List the keys, without their secrets.
    Keys {
        #[command(flatten)]
        file: FileArgs,
        /// Print a JSON list of keys.
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of the file.
    Schema,
    /// Ask a running gateway whether it is ready, for a container's health check.
    Healthcheck(FileArgs),
}

#[derive(Args, Clone, Debug)]
struct FileArgs {
    /// The configuration [default: ./keymux.toml, then /etc/keymux/keymux.toml]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Replace one setting, as in `--set server.listen=127.0.0.1:9000`; may be given more than once.
    #[arg(long = "set", value_name = "SETTING=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
}

impl FileArgs {
    fn options(self) -> LoadOptions {
        let found = || PLACES.iter().map(Path::new).find(|place| place.exists());
        let file = self.config.or_else(|| found().map(Path::to_owned));
        LoadOptions { file: file.unwrap_or_else(|| PLACES[0].into()), overrides: self.set }
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (path, value) = text.split_once('=').ok_or("write SETTING=VALUE")?;
    Ok((path.trim().to_owned(), value.trim().to_owned()))
}

/// Runs the command that the arguments name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Said {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => return Said::failed(error.to_string(), 2),
        Err(help) => return Said { out: help.to_string(), ..Said::default() },
    };
    match arguments.command.unwrap_or(Command::Run(arguments.run)) {
        Command::Run(file) => run::run(file.options()),
        Command::Check { file, json, live } => {
            let (options, colour) = (file.options(), std::io::stdout().is_terminal());
            if live {
                return live_check::check(&options, json, colour, std::io::stderr().is_terminal());
            }
            let (out, ok) = check::check(&options, json, colour);
            Said::new(out, ok)
        }
        Command::Explain { model, client, running, file } => with_config(&file.options(), |c| {
            explain::explain(c, &model, client.as_deref(), running)
        }),
        Command::Keys { file, json } => {
            with_config(&file.options(), |config| Said::new(keys::keys(config, json), true))
        }
        Command::Schema => Said::new(schema::schema(), true),
        Command::Healthcheck(file) => healthcheck::healthcheck(&file.options()),
    }
}

/// Loads the file; where none was found, the problem says what was looked for.
fn load(options: &LoadOptions) -> Loaded {
    let mut loaded = config::load(options, &SystemEnvironment);
    let looked_for = options.file == Path::new(PLACES[0]);
    if looked_for
        && !PLACES.iter().any(|place| Path::new(place).exists())
        && let Some(problem) = loaded.problems.first_mut()
    {
        problem.help = Some(format!(
            "nor is there {}; name a file with --config, or begin with one that holds [providers.echo]",
            PLACES[1]
        ));
    }
    loaded
}

/// What a command says of a good configuration; of a bad one, its problems are all there is to say.
fn with_config(options: &LoadOptions, say: impl FnOnce(&Config) -> Said) -> Said {
    let loaded = load(options);
    match &loaded.config {
        Some(config) => say(config),
        None => Said::failed(problem::report(&loaded.problems, std::io::stderr().is_terminal()), 1),
    }
}
