//! The commands, one module each.

mod convert;
mod doctor;
mod explain;
mod export;
mod fetch;
mod nightly;
mod optimize;
mod output;
mod progress;
mod reference;
mod report;
mod shell;
mod simulate;
mod sql;
mod statements;
mod status;
mod verify;

use std::future::Future;
use std::io::Write;

use anyhow::Context as _;
use clap::CommandFactory;

use crate::args::{Cli, Command, Init};
use crate::context::Context;
use crate::exit::Usage;
use crate::settings::template;

/// Runs a command to its end.
pub(crate) fn run(context: &Context, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Simulate(args) => simulate::run(context, &args),
        Command::Fetch(args) => block_on_one_thread(fetch::run(context, &args)),
        Command::Convert(args) => block_on(context, args.threads, convert::run(context, &args)),
        Command::Report(args) => block_on(context, None, report::run(context, &args)),
        Command::Explain(args) => block_on(context, None, explain::run(context, &args)),
        Command::Sql(args) => block_on(context, None, sql::run(context, &args)),
        Command::Status(args) => block_on(context, None, status::run(context, &args)),
        Command::Verify(args) => block_on(context, None, verify::run(context, &args)),
        Command::Doctor(args) => block_on(context, None, doctor::run(context, &args)),
        Command::Optimize(args) => block_on(context, None, optimize::run(context, &args)),
        Command::Export(args) => block_on(context, None, export::run(context, &args)),
        Command::Nightly(args) => block_on(context, None, nightly::run(context, &args)),
        Command::Init(args) => init(context, &args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "whocalled", &mut std::io::stdout());
            Ok(())
        }
        Command::Reference { page } => Ok(std::io::stdout().write_all(reference::page(page)?.as_bytes())?),
    }
}

/// The stack of a thread: plans of views are deep, the more so in a build that is not optimised.
const STACK_BYTES: usize = 8 << 20;

/// For work that waits for the network and decodes nothing: handing it from thread to thread costs
/// more than it gains.
fn block_on_one_thread(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(Box::pin(work))
}

fn block_on(
    context: &Context,
    threads: Option<usize>,
    work: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(context.threads(threads)).thread_stack_size(STACK_BYTES).enable_all();
    // Its futures are large, and the main thread's stack is not ours to size.
    runtime.build().context("cannot start threads")?.block_on(Box::pin(work))
}

fn init(context: &Context, args: &Init) -> anyhow::Result<()> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(&args.file);
    match file {
        Ok(mut file) => file.write_all(template().as_bytes())?,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Usage(format!("{} exists already, and is left as it is", args.file.display())).into());
        }
        Err(error) => return Err(error).with_context(|| format!("cannot write {}", args.file.display())),
    }
    context.say(format!("wrote {}: fill in archive and lake, then run `whocalled doctor`", args.file.display()));
    Ok(())
}
