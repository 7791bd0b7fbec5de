//! Points and breaks in a build that has them.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Break, Point};
use crate::timestamp::Timestamp;

/// Decides for everything that runs on the thread which has it.
pub trait Hook {
    /// A point is passed. To end what passes it, this unwinds.
    fn pass(&self, point: Point);

    /// Whether a commit fails.
    fn commit_fails(&self) -> bool;

    /// The wall clock.
    fn wall(&self) -> Timestamp;

    /// Which start of the machine this is.
    fn boot(&self) -> [u8; 16];

    /// Whether wasmpost is broken in this way.
    fn is_broken(&self, by: Break) -> bool;
}

/// The points and breaks that the environment of the process asks for.
#[derive(Default)]
struct Asked {
    breaks: Vec<Break>,
    crash: Option<(Point, u64)>,
    passed: AtomicU64,
}

static ASKED: OnceLock<Asked> = OnceLock::new();

thread_local! {
    static HOOK: RefCell<Option<Rc<dyn Hook>>> = const { RefCell::new(None) };
}

/// Has `hook` decide for this thread from now on, or nobody.
pub fn hook(hook: Option<Rc<dyn Hook>>) {
    HOOK.with(|place| drop(place.replace(hook)));
}

/// Does in this process what two variables ask for: `WASMPOST_BREAK` names breaks, with commas between them;
/// `WASMPOST_CRASH=POINT:N` ends the process, without any order, as it passes a point for the Nth time. An error says
/// what is wrong with them.
pub fn from_environment() -> Result<(), String> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let mut asked = Asked::default();
    for name in variable("WASMPOST_BREAK").iter().flat_map(|names| names.split(',')) {
        let found = Break::ALL.into_iter().find(|by| by.name() == name);
        asked.breaks.push(found.ok_or_else(|| format!("WASMPOST_BREAK: there is no break {name:?}"))?);
    }
    if let Some(crash) = variable("WASMPOST_CRASH") {
        asked.crash = Some(point_and_number(&crash).ok_or_else(|| {
            let names = Point::ALL.map(Point::name).join(", ");
            format!("WASMPOST_CRASH: {crash:?} is not POINT:N, with a point of {names}")
        })?);
    }
    // The first request wins.
    drop(ASKED.set(asked));
    Ok(())
}

fn point_and_number(text: &str) -> Option<(Point, u64)> {
    let (name, number) = text.split_once(':').unwrap_or((text, "1"));
    let point = Point::ALL.into_iter().find(|point| point.name() == name)?;
    Some((point, number.parse().ok().filter(|number| *number > 0)?))
}

fn hooked<T>(ask: impl FnOnce(&dyn Hook) -> T) -> Option<T> {
    // A thread that ends has no hook any more.
    let hook = HOOK.try_with(|place| place.borrow().clone()).ok().flatten()?;
    Some(ask(&*hook))
}

pub(super) fn pass(point: Point) {
    hooked(|hook| hook.pass(point));
    let Some(asked) = ASKED.get() else { return };
    if let Some((_, number)) = asked.crash.filter(|(at, _)| *at == point)
        && asked.passed.fetch_add(1, Ordering::SeqCst) + 1 == number
    {
        // As a kill does: nothing is told, flushed or given back.
        std::process::abort();
    }
}

pub(super) fn commit_fails() -> bool {
    hooked(|hook| hook.commit_fails()).unwrap_or(false)
}

pub(super) fn wall() -> Option<Timestamp> {
    hooked(|hook| hook.wall())
}

pub(super) fn boot() -> Option<[u8; 16]> {
    hooked(|hook| hook.boot())
}

pub(super) fn is_broken(by: Break) -> bool {
    hooked(|hook| hook.is_broken(by)).unwrap_or(false) || ASKED.get().is_some_and(|asked| asked.breaks.contains(&by))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_is_asked_for_by_point_and_number() {
        assert_eq!(point_and_number("guest-ok:3"), Some((Point::GuestOk, 3)));
        assert_eq!(point_and_number("committed"), Some((Point::Committed, 1)));
        for wrong in ["", "guest-ok:0", "guest-ok:x", "elsewhere:1"] {
            assert_eq!(point_and_number(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn nothing_is_broken_unless_asked_for() {
        assert!(Break::ALL.into_iter().all(|by| !is_broken(by)) && !commit_fails());
        Point::ALL.into_iter().for_each(pass);
    }

    #[test]
    fn names_are_told_apart() {
        let mut names: Vec<_> = Point::ALL.map(Point::name).into_iter().chain(Break::ALL.map(Break::name)).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
