//! The invariants.

use std::fmt;
use crate::history::Event;
use crate::plan::Plan;

#[derive(Debug)]
pub struct Violation { pub invariant: &'static str, pub text: String }

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.invariant, self.text)
    }
}

pub fn check(_plan: &Plan, _events: &[Event]) -> Vec<Violation> { Vec::new() }
