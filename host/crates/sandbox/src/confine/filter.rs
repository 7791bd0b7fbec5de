//! Filters of system calls, by seccomp.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

use super::calls::{self, Call, Test};

/// System calls that are filtered alike: by number, and by number and argument.
struct Calls<'a> {
    numbers: &'a [&'a [i64]],
    tested: Vec<Call>,
}

/// Leaves this thread the calls of compiling, and ends the process for what no compiler does.
pub(super) fn compiling() -> io::Result<()> {
    let process = u64::from(std::process::id());
    let ending = Calls { numbers: &[calls::ENDING, calls::ENDING_OLD], tested: calls::ending(process) };
    apply(&ending, SeccompAction::KillProcess, SeccompAction::Allow)?;
    start_threads_by_clone()?;
    let numbers = [calls::COMPILING, calls::COMPILING_OLD];
    // The last one, for it forbids filters as well.
    apply(&Calls { numbers: &numbers, tested: calls::compiling(process) }, SeccompAction::Allow, refused(libc::EPERM))
}

/// Leaves this thread the calls of serving.
pub(super) fn serving() -> io::Result<()> {
    start_threads_by_clone()?;
    let numbers = [calls::COMPILING, calls::COMPILING_OLD, calls::SERVING, calls::SERVING_OLD];
    apply(&Calls { numbers: &numbers, tested: calls::serving() }, SeccompAction::Allow, refused(libc::EPERM))
}

/// Forbids this thread `clone3` alone: a filter cannot see what it is asked for, and libraries use `clone` where the
/// kernel does not know it.
pub(super) fn start_threads_by_clone() -> io::Result<()> {
    let clone3 = Calls { numbers: &[&[libc::SYS_clone3]], tested: Vec::new() };
    apply(&clone3, refused(libc::ENOSYS), SeccompAction::Allow)
}

fn refused(error: i32) -> SeccompAction {
    SeccompAction::Errno(error.unsigned_abs())
}

/// Of several filters, the strictest answer holds.
fn apply(calls: &Calls<'_>, listed: SeccompAction, others: SeccompAction) -> io::Result<()> {
    let program = program(calls, listed, others).map_err(io::Error::other)?;
    apply_filter(&program).map_err(io::Error::other)
}

fn program(calls: &Calls<'_>, listed: SeccompAction, others: SeccompAction) -> Result<BpfProgram, BackendError> {
    let untested = calls.numbers.iter().copied().flatten().map(|number| (*number, Vec::new()));
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = untested.collect();
    for call in &calls.tested {
        rules.entry(call.number).or_default().push(SeccompRule::new(vec![condition(call)?])?);
    }
    SeccompFilter::new(rules, others, listed, std::env::consts::ARCH.try_into()?)?.try_into()
}

fn condition(call: &Call) -> Result<SeccompCondition, BackendError> {
    let (length, operator, value) = match call.test {
        Test::Is(value) => (SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value),
        Test::IsNot(value) => (SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, value),
        Test::Nowhere => (SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0),
        Test::Has(bits) => (SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(bits), bits),
        Test::HasNone(bits) => (SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(bits), 0),
    };
    SeccompCondition::new(call.argument, length, operator, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_listed_both_with_a_test_of_its_argument_and_without() {
        let tables = [
            ([calls::COMPILING, calls::COMPILING_OLD, &[], &[]], calls::compiling(1)),
            ([calls::COMPILING, calls::COMPILING_OLD, calls::SERVING, calls::SERVING_OLD], calls::serving()),
            ([calls::ENDING, calls::ENDING_OLD, &[], &[]], calls::ending(1)),
        ];
        for (numbers, tested) in tables {
            for call in tested {
                assert!(!numbers.concat().contains(&call.number), "{call:?}");
            }
        }
    }

    #[test]
    fn nothing_that_ends_the_compiler_is_left_to_it() {
        let left = [calls::COMPILING, calls::COMPILING_OLD].concat();
        let ending = [calls::ENDING, calls::ENDING_OLD].concat();
        assert_eq!(left.into_iter().find(|number| ending.contains(number)), None);
    }
}
