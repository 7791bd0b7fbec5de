//! Finding out which of several messages in an instance the guest works on.

use std::sync::Arc;

use wasmtime::component::{TaskGroupHook, TaskGroupId};

use crate::sync::Mutex;

/// The calls of the messages in an instance, by the group of tasks that the engine has for each.
#[derive(Default)]
pub(crate) struct Tasks {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    calls: Vec<(TaskGroupId, u32)>,
    entered: Option<TaskGroupId>,
    /// The message whose call was entered last, whether or not it still is.
    last: Option<u32>,
}

/// Told by the engine whenever it turns to another call.
pub(crate) struct Hook<F> {
    tasks: Arc<Tasks>,
    /// Called with the message that the guest works on from now on.
    turned: F,
}

impl Tasks {
    /// The call of this message has begun.
    pub(crate) fn add(&self, group: TaskGroupId, number: u32) {
        self.state.lock().calls.push((group, number));
    }

    /// The call of this message has ended.
    pub(crate) fn remove(&self, number: u32) {
        self.state.lock().calls.retain(|(_, other)| *other != number);
    }

    /// The message that the guest works on now.
    pub(crate) fn now(&self) -> Option<u32> {
        let state = self.state.lock();
        state.entered.and_then(|group| state.number_of(group))
    }

    /// The message that the guest works on now, or worked on last.
    pub(crate) fn last(&self) -> Option<u32> {
        self.state.lock().last
    }
}

impl State {
    fn number_of(&self, group: TaskGroupId) -> Option<u32> {
        self.calls.iter().find(|(other, _)| *other == group).map(|(_, number)| *number)
    }
}

impl<F: FnMut(Option<u32>) + Send + Sync + 'static> Hook<F> {
    pub(crate) fn new(tasks: &Arc<Tasks>, turned: F) -> Self {
        Self { tasks: Arc::clone(tasks), turned }
    }
}

impl<F: FnMut(Option<u32>) + Send + Sync + 'static> TaskGroupHook for Hook<F> {
    fn handle_start(&mut self, _: TaskGroupId) -> wasmtime::Result<()> {
        Ok(())
    }

    fn handle_enter(&mut self, group: TaskGroupId) -> wasmtime::Result<()> {
        let number = {
            let mut state = self.tasks.state.lock();
            state.entered = Some(group);
            let number = state.number_of(group);
            state.last = number;
            number
        };
        (self.turned)(number);
        Ok(())
    }

    fn handle_exit(&mut self, _: TaskGroupId) -> wasmtime::Result<()> {
        self.tasks.state.lock().entered = None;
        Ok(())
    }

    fn handle_finish(&mut self, _: TaskGroupId) -> wasmtime::Result<()> {
        Ok(())
    }
}
