//! The command line: one file for each verb.

mod check;
mod compile_component;
mod completions;
mod config_schema;
mod dead_letters;
mod dev;
mod failure;
mod feed;
mod inspect;
mod invoke;
mod logging;
mod logs;
mod ndjson;
mod new;
mod output;
mod pipe;
mod publish;
mod queues;
mod reload;
mod run;
mod signals;
mod single;
mod target;
mod tenants;
mod test;
mod token;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

pub use failure::Failure;

/// Hands each message of a queue to a sandboxed WebAssembly component.
#[derive(Debug, Parser)]
#[command(name = "wasmpost", version, max_term_width = 100, disable_help_subcommand = true)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    New(new::New),
    Dev(Box<dev::Dev>),
    Run(Box<run::Run>),
    Publish(publish::Publish),
    Pipe(pipe::Pipe),
    Invoke(invoke::Invoke),
    Test(test::Test),
    Inspect(inspect::Inspect),
    Check(check::Check),
    Queues(queues::Queues),
    DeadLetters(dead_letters::DeadLetters),
    Tenants(tenants::Tenants),
    Reload(reload::Reload),
    Logs(logs::Logs),
    Token(token::Token),
    ConfigSchema(config_schema::ConfigSchema),
    Completions(completions::Completions),
    #[command(hide = true)]
    CompileComponent(compile_component::CompileComponent),
}

/// Does what the arguments of the process say. The exit code is 0 when it was done, 1 when the work failed or its
/// output could not be written, 2 for bad usage or configuration, 3 for a duplicate that was to be none.
pub fn main() -> ExitCode {
    let command = match Command::try_parse() {
        Ok(command) => command,
        Err(error) => {
            return explain(&error);
        }
    };
    #[cfg(feature = "prove")]
    if let Err(fault) = wasmpost_delivery::prove::from_environment() {
        return Failure::usage(anyhow::Error::msg(fault)).report();
    }
    if let Verb::CompileComponent(verb) = command.verb {
        // It has limits of its own, too narrow for threads.
        return verb.run().map_or_else(|failure| failure.report(), |()| ExitCode::SUCCESS);
    }
    let verb = match command.verb {
        Verb::Run(verb) => verb.begin().map(|run| Verb::Run(Box::new(run))),
        verb => Ok(verb),
    };
    let verb = match verb {
        Ok(verb) => verb,
        Err(failure) => return failure.report(),
    };
    // Pulling, renewing leases and talking to the outside; guests have threads of their own.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            return Failure::failed(anyhow::Error::new(error).context("threads could not be started")).report();
        }
    };
    let done = runtime.block_on(verb.run());
    // A blocked thread, such as one that reads standard input, does not keep a command from ending.
    runtime.shutdown_background();
    // Why the work failed is more than that some output of it is missing.
    let done = done.and_then(|()| output::finish());
    let code = done.map_or_else(|failure| failure.report(), |()| ExitCode::SUCCESS);
    logging::end();
    code
}

/// Prints help and version, which are results, or what is wrong with the arguments.
fn explain(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        // There is no other place to tell it.
        drop(error.print());
        return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
    }
    let text = error.render();
    if std::io::IsTerminal::is_terminal(&std::io::stdout()) {
        output::raw(text.ansi().to_string().as_bytes());
    } else {
        output::raw(text.to_string().as_bytes());
    }
    output::finish().map_or_else(|failure| failure.report(), |()| ExitCode::SUCCESS)
}

/// The whole command line, for completions and documentation.
pub fn command() -> clap::Command {
    Command::command()
}

impl Verb {
    async fn run(self) -> Result<(), Failure> {
        match self {
            Self::New(verb) => verb.run(),
            Self::Dev(verb) => verb.run().await,
            Self::Run(verb) => verb.run().await,
            Self::Publish(verb) => verb.run().await,
            Self::Pipe(verb) => verb.run().await,
            Self::Invoke(verb) => verb.run().await,
            Self::Test(verb) => verb.run().await,
            Self::Inspect(verb) => verb.run(),
            Self::Check(verb) => verb.run().await,
            Self::Queues(verb) => verb.run().await,
            Self::DeadLetters(verb) => verb.run().await,
            Self::Tenants(verb) => verb.run().await,
            Self::Reload(verb) => verb.run().await,
            Self::Logs(verb) => verb.run().await,
            Self::Token(verb) => verb.run(),
            Self::ConfigSchema(verb) => verb.run(),
            Self::Completions(verb) => verb.run(),
            Self::CompileComponent(verb) => verb.run(),
        }
    }
}
