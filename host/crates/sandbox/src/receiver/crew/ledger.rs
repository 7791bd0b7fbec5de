//! The CPU time of each message in an instance.
//!
//! The engine tells which message it turns to, and at each tick of the epoch the one it works on is charged. That
//! message pays until another one runs. All messages in it pay in equal parts for time that belongs to none of them,
//! such as making the instance. So every nanosecond is paid for, once.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::sync::Mutex;

/// The CPU time of each message in an instance.
#[derive(Default)]
pub(super) struct Ledger {
    accounts: Mutex<Accounts>,
}

#[derive(Default)]
struct Accounts {
    spent: BTreeMap<u32, Duration>,
    /// Of all polls together, what was paid for.
    paid: Duration,
    /// The message that pays now.
    running: Option<u32>,
}

impl Ledger {
    pub(super) fn open(&self, number: u32) {
        self.accounts.lock().spent.insert(number, Duration::ZERO);
    }

    /// Stops charging a message, and returns the time that it used.
    pub(super) fn close(&self, number: u32) -> Duration {
        self.accounts.lock().spent.remove(&number).unwrap_or_default()
    }

    /// Has a message pay from now on, and tells what it spent so far. `all` is what the instance spent.
    pub(super) fn runs(&self, all: Duration, number: Option<u32>) -> Duration {
        let mut accounts = self.accounts.lock();
        accounts.pay(all);
        accounts.running = number;
        number.and_then(|number| accounts.spent.get(&number)).copied().unwrap_or_default()
    }

    /// Has everything paid that the instance spent, and names the message that spent most, with what it did.
    pub(super) fn settle(&self, all: Duration) -> Option<(u32, Duration)> {
        let mut accounts = self.accounts.lock();
        accounts.pay(all);
        accounts.spent.iter().map(|(number, spent)| (*number, *spent)).max_by_key(|(_, spent)| *spent)
    }
}

impl Accounts {
    fn pay(&mut self, all: Duration) {
        let due = all.saturating_sub(self.paid);
        self.paid = all.max(self.paid);
        match self.running.and_then(|number| self.spent.get_mut(&number)) {
            Some(account) => *account += due,
            None => {
                let parts = u32::try_from(self.spent.len()).unwrap_or(u32::MAX).max(1);
                self.spent.values_mut().for_each(|account| *account += due / parts);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn opened(numbers: &[u32]) -> Ledger {
        let ledger = Ledger::default();
        numbers.iter().for_each(|number| ledger.open(*number));
        ledger
    }

    #[test]
    fn who_runs_pays_until_another_does() {
        let ledger = opened(&[1, 2]);
        assert_eq!(ledger.runs(Duration::ZERO, Some(1)), Duration::ZERO);
        assert_eq!(ledger.runs(3 * MS, Some(2)), Duration::ZERO);
        assert_eq!(ledger.runs(10 * MS, Some(2)), 7 * MS);
        assert_eq!(ledger.settle(12 * MS), Some((2, 9 * MS)));
        assert_eq!((ledger.close(1), ledger.close(2)), (3 * MS, 9 * MS));
    }

    #[test]
    fn what_nobody_in_particular_burnt_all_pay() {
        let ledger = opened(&[1, 2]);
        ledger.runs(4 * MS, Some(2));
        ledger.settle(5 * MS);
        assert_eq!((ledger.close(2), ledger.settle(7 * MS)), (3 * MS, Some((1, 4 * MS))));
    }

    #[test]
    fn those_who_come_later_do_not_pay_for_what_was_before() {
        let ledger = opened(&[1]);
        ledger.settle(8 * MS);
        ledger.open(2);
        ledger.settle(10 * MS);
        assert_eq!((ledger.close(1), ledger.close(2)), (9 * MS, MS));
    }
}
