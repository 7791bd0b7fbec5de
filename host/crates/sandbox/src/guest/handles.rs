//! The resources behind the handles that a guest has: messages and writers.

use wasmtime::component::Resource;

use super::delivery::Writer;

/// Stands for a message of the store, which lies in its state under the number that is its handle.
#[allow(unreachable_pub)] // The generated bindings re-export it.
pub struct Incoming;

/// The same of an asynchronous component.
#[allow(unreachable_pub)] // The generated bindings re-export it.
pub struct Lent;

/// One message that a guest is writing, with the number of the one in answer to which it does.
#[allow(unreachable_pub)] // The generated bindings re-export it.
pub struct LentWriter {
    pub(crate) writer: Writer,
    pub(crate) number: u32,
}

impl Incoming {
    /// The handle to a message.
    pub(crate) fn handle(number: u32) -> Resource<Self> {
        Resource::new_borrow(number)
    }

    /// The handle to one of several messages, which bindings for guests cannot borrow in a list.
    pub(crate) fn handle_of_several(number: u32) -> Resource<Self> {
        Resource::new_own(number)
    }
}

impl Lent {
    /// The handle to a message.
    pub(crate) fn handle(number: u32) -> Resource<Self> {
        Resource::new_borrow(number)
    }
}
