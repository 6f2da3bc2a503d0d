//! `whocalled`: who called Azure OpenAI?
//!
//! The one binary. It alone reads the environment, the clock and the terminal; results go to
//! stdout, everything else to stderr.

mod args;
mod commands;
mod context;
mod exit;
mod failpoint;
mod settings;
mod time;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use context::Context;
use exit::{Ended, Exit, exit_of};
use settings::Settings;

/// See `docs/decisions/0012-allocator.md`.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are results, and go to stdout.
            drop(error.print());
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Success.into() };
        }
    };
    match start(cli) {
        Ok(()) => Exit::Success.into(),
        Err(error) if is_broken_pipe(&error) => Exit::Success.into(),
        Err(error) => {
            if !error.is::<Ended>() {
                drop(writeln!(std::io::stderr(), "error: {}", describe(&error)));
            }
            exit_of(&error).into()
        }
    }
}

fn start(cli: Cli) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(&cli.global.log)
        .map_err(|error| exit::Usage(format!("--log {}: {error}", cli.global.log)))?;
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).init();
    let (settings, settings_error) = match Settings::load(cli.global.config.as_deref()) {
        Ok(settings) => (settings, None),
        // What is wrong is what it is there to say.
        Err(error) if matches!(cli.command, Command::Doctor(_)) => (Settings::default(), Some(error)),
        Err(error) => return Err(error),
    };
    let context = Context { settings, settings_error, quiet: cli.global.quiet };
    commands::run(&context, cli.command)
}

/// The error and what caused it, each said once, on lines of its own.
fn describe(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let said = cause.to_string();
        if text.contains(&said) {
            continue;
        }
        if !text.is_empty() {
            text.push_str("\n  because ");
        }
        text.push_str(&said);
    }
    text
}

/// Whether the reader of our output has gone away, as `head` does, which is no failure. Writers of
/// formats pass the system's error on as text.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.to_string().contains("Broken pipe"))
}
