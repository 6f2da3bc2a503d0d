//! The runner: every chore and every stage behind `cargo xtask`.
//!
//! It links none of the product's crates, so that it builds in seconds and a chore never waits for
//! DataFusion. Whatever needs the product runs the `whocalled` binary as a process.

#![expect(clippy::print_stderr, clippy::print_stdout, reason = "a terminal program: printing is what it does")]

mod azurite;
mod bench;
mod cargo;
mod codegen;
mod demo;
mod lint;
mod stage;
mod steps;
mod test;
mod tidy;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::cargo::Profile;
use crate::steps::Steps;

/// Every chore and every stage of whocalled, behind one door.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = stage::HELP)]
struct Arguments {
    /// Build a stage in the release profile: fast to run, over 20 minutes to build from cold on two cores
    #[arg(long)]
    release: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build whocalled and walk through its main job on a simulated archive; no network, no account
    Demo,
    /// Set up and run all tests; further arguments go to `cargo test`
    Test {
        /// Arguments for `cargo test`, for instance `--test slt` or `-- pattern`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Check formatting, house rules, clippy and the generated reference
    Lint,
    /// Everything that must hold before a change is merged: `test`, then `lint`
    Ci,
    /// Start the pinned Azurite in memory, on a free port, and run a command against it
    #[command(after_help = azurite::HELP)]
    Azurite {
        /// The command, after `--`; without one, Azurite runs until Ctrl-C
        #[arg(last = true)]
        command: Vec<OsString>,
    },
    /// Write docs/reference from what the binary says about itself
    Codegen {
        /// Change nothing; fail when a page is out of date
        #[arg(long)]
        check: bool,
    },
    /// Check the house rules that no compiler knows
    Tidy,
    /// Time the release binary, beside DuckDB, ClickHouse, Polars and rclone where those can be got
    Bench(bench::Options),
    #[command(external_subcommand)]
    Stage(Vec<OsString>),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    let profile = if arguments.release { Profile::Release } else { Profile::Dev };
    match arguments.command {
        Command::Demo => demo::run()?,
        Command::Test { arguments } => Steps::report(|steps| test::run(steps, &arguments))?,
        Command::Lint => Steps::report(lint::run)?,
        Command::Ci => Steps::report(|steps| {
            // A failed test does not hide what the lints would have said.
            let tested = test::run(steps, &[]);
            lint::run(steps).and(tested)
        })?,
        Command::Azurite { command } => return azurite::run(&command),
        Command::Codegen { check } => codegen::run(check)?,
        Command::Tidy => tidy::run()?,
        Command::Bench(options) => bench::run(&options)?,
        Command::Stage(arguments) => return stage::run(profile, &arguments),
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_stage_keeps_its_arguments_verbatim() {
        let arguments = Arguments::parse_from(["xtask", "--release", "convert", "--help", "-x", "--", "y"]);
        assert!(arguments.release);
        let Command::Stage(stage) = arguments.command else { panic!("convert is a stage") };
        assert_eq!(stage, ["convert", "--help", "-x", "--", "y"]);
    }

    #[test]
    fn test_hands_hyphens_on_to_cargo() {
        let arguments = Arguments::parse_from(["xtask", "test", "--test", "slt", "--", "views"]);
        let Command::Test { arguments } = arguments.command else { panic!("test is a chore") };
        assert_eq!(arguments, ["--test", "slt", "--", "views"]);
    }
}
