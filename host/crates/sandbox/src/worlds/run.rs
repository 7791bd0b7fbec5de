//! `wasi:cli/run`: commands. The body is their standard input, attributes are their environment, and their exit code
//! tells what became of the message.

use async_trait::async_trait;
use bytes::Bytes;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};
use wasmtime_wasi::p2::bindings::CommandIndices;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;

use super::Entry;
use crate::bindings::wasmpost::messaging::types::Failure;
use crate::error::exit_code;
use crate::state::StoreState;

/// The codes of `sysexits.h` that mean more than "failed".
const EX_DATAERR: i32 = 65;
const EX_TEMPFAIL: i32 = 75;

/// What a command finds when it starts, and what it leaves.
pub(crate) struct Command {
    /// The words of the command line.
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) stdin: Bytes,
    /// What takes standard output, if it is not for the log.
    pub(crate) stdout: Option<MemoryOutputPipe>,
}

struct Run(CommandIndices);

pub(super) fn bind(component: &InstancePre<StoreState>) -> wasmtime::Result<Box<dyn Entry>> {
    Ok(Box::new(Run(CommandIndices::new(component)?)))
}

#[async_trait]
impl Entry for Run {
    /// A command runs once: that it starts with fresh memory is what it counts on.
    fn prepare(&self, state: &mut StoreState) {
        let delivery = &state.delivery;
        let (id, attempt) = (delivery.context.id().to_owned(), delivery.context.attempt().to_string());
        let host = [("WASMPOST_ID", id), ("WASMPOST_ATTEMPT", attempt)].map(|(name, value)| (name.to_owned(), value));
        let attributes = delivery.attributes.iter().map(|(name, values)| (variable(name), values.join(", ")));
        let environment = attributes.chain(host).filter(|(_, value)| !value.contains('\0')).collect();
        let max = state.shared.limits.publish_message_bytes.bytes();
        state.command = Some(Command {
            arguments: vec![state.shared.name.to_string()],
            environment,
            stdin: std::mem::take(&mut state.body),
            stdout: state.shared.output.is_some().then(|| MemoryOutputPipe::new(max)),
        });
    }

    async fn call(&self, store: &mut Store<StoreState>, instance: &Instance) -> wasmtime::Result<Result<(), Failure>> {
        let command = self.0.load(&mut *store, instance)?;
        let code = match command.wasi_cli_run().call_run(&mut *store).await {
            Ok(Ok(())) => 0,
            Ok(Err(())) => 1,
            Err(error) => exit_code(error)?,
        };
        Ok(match code {
            0 => store.data_mut().put_out(),
            EX_DATAERR => Err(Failure::Reject(format!("exit code {code}, which says that the message is faulty"))),
            EX_TEMPFAIL => Err(Failure::Retry(format!("exit code {code}, which says to try again later"))),
            code => Err(Failure::Retry(format!("exit code {code}"))),
        })
    }
}

impl StoreState {
    /// Publishes what the command wrote.
    fn put_out(&mut self) -> Result<(), Failure> {
        match self.command.as_ref().and_then(|command| command.stdout.as_ref()).map(MemoryOutputPipe::contents) {
            Some(written) => self.delivery.publish_output(None, written),
            None => Ok(()),
        }
    }
}

/// `X-Github-Event` as `MSG_X_GITHUB_EVENT`.
fn variable(name: &str) -> String {
    let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' };
    "MSG_".chars().chain(name.chars().map(letter)).collect()
}
