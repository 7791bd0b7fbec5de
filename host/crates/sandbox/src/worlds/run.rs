//! `wasi:cli/run@0.2`: commands. The body is their standard input, attributes are their environment, and their exit code
//! tells what became of the message.

use std::collections::HashMap;

use async_trait::async_trait;
use wasmpost_msg::Attributes;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};
use wasmtime_wasi::p2::bindings::CommandIndices;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;

use super::Entry;
use crate::error::exit_code;
use crate::guest::bindings::wasmpost::messaging::types::Failure;
use crate::guest::{Command, Level, StoreState, short};

/// The codes of `sysexits.h` that mean more than "failed".
const EX_DATAERR: i32 = 65;
const EX_TEMPFAIL: i32 = 75;

/// How many names that are left out of the environment are told.
const LEFT_OUT_TOLD: usize = 8;

struct Run(CommandIndices);

pub(super) fn bind(component: &InstancePre<StoreState>) -> wasmtime::Result<Box<dyn Entry>> {
    Ok(Box::new(Run(CommandIndices::new(component)?)))
}

#[async_trait]
impl Entry for Run {
    fn prepare(&self, state: &mut StoreState) {
        prepare(state);
    }

    async fn call(&self, store: &mut Store<StoreState>, instance: &Instance) -> wasmtime::Result<Result<(), Failure>> {
        let command = self.0.load(&mut *store, instance)?;
        let ran = command.wasi_cli_run().call_run(&mut *store).await;
        ended(store.data_mut(), ran)
    }
}

/// Puts what a command finds when it starts into the store. A command runs once: that it starts with fresh memory is what
/// it counts on.
pub(super) fn prepare(state: &mut StoreState) {
    let delivery = &state.delivery;
    delivery.work.call(delivery.attributes.bytes() + delivery.attributes.values_len());
    let id = delivery.context.id().to_owned();
    let attempt = delivery.context.attempt().to_string();
    let host = [("WASMPOST_ID", id), ("WASMPOST_ATTEMPT", attempt)].map(|(name, value)| (name.to_owned(), value));
    let (mut environment, left_out) = variables(&delivery.attributes);
    if !left_out.is_empty() {
        let text = format!("attributes left out, for their environment variables belong to others: {left_out}");
        delivery.log.tell(Level::Warn, &text);
    }
    environment.extend(host);
    environment.retain(|(_, value)| !value.contains('\0'));
    let max = state.shared.limits.publish_message_bytes.bytes();
    state.command = Some(Command {
        arguments: vec![state.shared.name.to_string()],
        environment,
        stdin: std::mem::take(&mut state.body),
        stdout: state.shared.output.is_some().then(|| MemoryOutputPipe::new(max)),
    });
}

/// The outcome of the message of a command that ended like this.
pub(super) fn ended(
    state: &mut StoreState,
    ran: wasmtime::Result<Result<(), ()>>,
) -> wasmtime::Result<Result<(), Failure>> {
    let code = match ran {
        Ok(Ok(())) => 0,
        Ok(Err(())) => 1,
        Err(error) => exit_code(error)?,
    };
    Ok(match code {
        0 => state.put_out(),
        EX_DATAERR => Err(Failure::Reject(format!("exit code {code}, which says that the message is faulty"))),
        EX_TEMPFAIL => Err(Failure::Retry(format!("exit code {code}, which says to try again later"))),
        code => Err(Failure::Retry(format!("exit code {code}"))),
    })
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

/// The environment that attributes make, and the names that are left out of it. A variable has one value: where several
/// names come to the same variable, the one wins whose only signs are hyphens, as names of headers are written, and of
/// others the first.
fn variables(attributes: &Attributes) -> (Vec<(String, String)>, String) {
    let mut found: Vec<(String, &str, &[String])> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut left_out = Vec::new();
    for (name, values) in attributes.iter() {
        let variable = variable(name);
        let Some(other) = places.get(&variable).and_then(|at| found.get_mut(*at)) else {
            places.insert(variable.clone(), found.len());
            found.push((variable, name, values));
            continue;
        };
        if is_plain(name) && !is_plain(other.1) {
            left_out.push(std::mem::replace(other, (variable, name, values)).1);
        } else {
            left_out.push(name);
        }
    }
    let more = left_out.len().saturating_sub(LEFT_OUT_TOLD);
    let mut told = left_out.iter().take(LEFT_OUT_TOLD).map(|name| short(name)).collect::<Vec<_>>().join(", ");
    if more > 0 {
        told += &format!(" and {more} more");
    }
    (found.into_iter().map(|(variable, _, values)| (variable, values.join(", "))).collect(), told)
}

fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// `X-Github-Event` as `MSG_X_GITHUB_EVENT`.
fn variable(name: &str) -> String {
    let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' };
    "MSG_".chars().chain(name.chars().map(letter)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(names: &[&str]) -> (Vec<(String, String)>, String) {
        variables(&names.iter().map(|name| (*name, *name)).collect())
    }

    #[test]
    fn a_variable_has_one_value_and_names_with_hyphens_win() {
        for names in [["X_role", "X-Role", "X.role"], ["X-Role", "X.role", "X_role"]] {
            let (environment, left_out) = seen(&names);
            assert_eq!(environment, [("MSG_X_ROLE".to_owned(), "X-Role".to_owned())]);
            assert!(left_out.contains("X_role") && left_out.contains("X.role") && !left_out.contains("X-Role"));
        }
        let (environment, left_out) = seen(&["X_role", "X.role"]);
        assert_eq!((environment[0].1.as_str(), left_out.as_str()), ("X_role", "X.role"));
    }

    #[test]
    fn names_with_variables_of_their_own_are_all_there() {
        assert_eq!(seen(&["X-Role", "Role", "X_Rôle"]).0.len(), 3);
        assert_eq!(seen(&["X-Role", "Role"]).1, "");
    }
}
