//! The commands. Each returns its output and exit code; `main` prints them.

mod admin_client;
mod check;
mod explain;
mod healthcheck;
mod keys;
mod live_check;
mod run;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::config::{self, Config, LoadOptions, Loaded, SystemEnvironment, problem};

/// The result of a command.
#[derive(Debug, Default)]
pub struct CommandOutput {
    /// For standard output.
    pub stdout: String,
    /// For standard error.
    pub stderr: String,
    /// Exit code.
    pub exit_code: u8,
}

impl CommandOutput {
    fn new(stdout: String, ok: bool) -> Self {
        Self { stdout, stderr: String::new(), exit_code: u8::from(!ok) }
    }

    fn failed(stderr: String, exit_code: u8) -> Self {
        Self { stdout: String::new(), stderr, exit_code }
    }
}

/// EX_CONFIG of sysexits.h. systemd does not restart a service that exits with it
/// (`RestartPreventExitStatus=78`).
const BAD_CONFIG: u8 = 78;
/// Paths of the configuration file, tried in order if no flag sets it.
const DEFAULT_PATHS: [&str; 2] = ["keymux.toml", "/etc/keymux/keymux.toml"];

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
    /// Run the gateway. This is the default command.
    Run(FileArgs),
    /// Report all problems of the configuration.
    Check {
        #[command(flatten)]
        file: FileArgs,
        /// Print a JSON list of problems; with --live, of keys.
        #[arg(long)]
        json: bool,
        /// Test each key with a free call to its provider.
        #[arg(long)]
        live: bool,
    },
    /// Show which keys serve a model, in order, and why other keys do not.
    Explain {
        /// The model as a client requests it.
        model: String,
        /// The name of the client that requests it.
        #[arg(long)]
        client: Option<String>,
        /// Include the current state of the keys from the running gateway.
        #[arg(long)]
        running: bool,
        #[command(flatten)]
        file: FileArgs,
    },
    /// List all keys without their secrets.
    Keys {
        #[command(flatten)]
        file: FileArgs,
        /// Print a JSON list of keys.
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of the configuration file.
    Schema,
    /// Check that the running gateway is ready. For health checks of containers.
    Healthcheck(FileArgs),
}

#[derive(Args, Clone, Debug)]
struct FileArgs {
    /// The configuration file [default: ./keymux.toml, then /etc/keymux/keymux.toml]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Override one setting, for example `--set server.listen=127.0.0.1:9000`. Can be repeated.
    #[arg(long = "set", value_name = "SETTING=VALUE", value_parser = parse_setting)]
    set: Vec<(String, String)>,
}

impl FileArgs {
    fn options(self) -> LoadOptions {
        let found = || DEFAULT_PATHS.iter().map(Path::new).find(|path| path.exists());
        let file = self.config.or_else(|| found().map(Path::to_owned));
        LoadOptions { file: file.unwrap_or_else(|| DEFAULT_PATHS[0].into()), overrides: self.set }
    }
}

fn parse_setting(text: &str) -> Result<(String, String), String> {
    let (path, value) = text.split_once('=').ok_or("write SETTING=VALUE")?;
    Ok((path.trim().to_owned(), value.trim().to_owned()))
}

/// Runs the command that the arguments name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> CommandOutput {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => return CommandOutput::failed(error.to_string(), 2),
        Err(help) => return CommandOutput { stdout: help.to_string(), ..CommandOutput::default() },
    };
    match arguments.command.unwrap_or(Command::Run(arguments.run)) {
        Command::Run(file) => run::run(file.options()),
        Command::Check { file, json, live } => {
            let (options, colour) = (file.options(), std::io::stdout().is_terminal());
            if live {
                return live_check::check(&options, json, colour, std::io::stderr().is_terminal());
            }
            let (out, ok) = check::check(&options, json, colour);
            CommandOutput::new(out, ok)
        }
        Command::Explain { model, client, running, file } => with_config(&file.options(), |c| {
            explain::explain(c, &model, client.as_deref(), running)
        }),
        Command::Keys { file, json } => with_config(&file.options(), |config| {
            CommandOutput::new(keys::keys(config, json), true)
        }),
        Command::Schema => CommandOutput::new(config::schema::json_schema(), true),
        Command::Healthcheck(file) => healthcheck::healthcheck(&file.options()),
    }
}

/// Loads the file. If none was found, the problem names the paths that were tried.
fn load(options: &LoadOptions) -> Loaded {
    let mut loaded = config::load(options, &SystemEnvironment);
    let is_default = options.file == Path::new(DEFAULT_PATHS[0]);
    if is_default
        && !DEFAULT_PATHS.iter().any(|path| Path::new(path).exists())
        && let Some(problem) = loaded.problems.first_mut()
    {
        problem.help = Some(format!(
            "{} does not exist either; set the file with --config, or create one that contains [providers.echo]",
            DEFAULT_PATHS[1]
        ));
    }
    loaded
}

/// Runs a command on a valid configuration, or returns the problems of an invalid one.
fn with_config(
    options: &LoadOptions,
    command: impl FnOnce(&Config) -> CommandOutput,
) -> CommandOutput {
    let loaded = load(options);
    match &loaded.config {
        Some(config) => command(config),
        None => CommandOutput::failed(
            problem::report(&loaded.problems, std::io::stderr().is_terminal()),
            1,
        ),
    }
}
