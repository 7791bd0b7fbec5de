//! Takes lines to standard error, on a thread of its own: a reader that stands still holds up nothing else.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// The most that waits to be written, in bytes. Further lines are dropped and counted.
pub(super) const WAITING_BYTES_MAX: usize = 4 << 20;
/// The pause before a device that takes nothing now is asked again.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// Work of the thread between writes.
pub(super) trait Between: Send + 'static {
    /// The line that tells how many were dropped.
    fn dropped(&self, lines: u64) -> Vec<u8>;

    /// Gives `writer` the lines that are due, and says when the next are.
    fn tick(&self, writer: &Writer, now: Instant) -> Option<Instant>;
}

/// Takes lines, and never waits for them to be written.
#[derive(Clone, Default)]
pub(super) struct Writer(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    dropped: u64,
    is_writing: bool,
    is_woken: bool,
}

/// The output of lines, and its progress.
struct Device<W> {
    inner: W,
    is_torn: bool,
}

impl Writer {
    /// Starts the thread that writes what this takes to `device`.
    pub(super) fn start(&self, device: impl Write + Send + 'static, between: impl Between) -> io::Result<()> {
        let writer = self.clone();
        let mut device = Device { inner: device, is_torn: false };
        thread::Builder::new().name("log".into()).spawn(move || writer.run(&mut device, &between)).map(drop)
    }

    /// Takes whole lines, or counts them as dropped where too much waits.
    pub(super) fn push(&self, lines: &[u8]) {
        let mut state = self.0.state.lock();
        // Once something was dropped nothing is taken until that can be told: the order is kept.
        if state.dropped > 0 || state.waiting.len() + lines.len() > WAITING_BYTES_MAX {
            state.dropped += count(lines);
            return;
        }
        state.waiting.extend_from_slice(lines);
        drop(state);
        self.0.filled.notify_one();
    }

    /// Has the thread ask again when something is due.
    pub(super) fn wake(&self) {
        self.0.state.lock().is_woken = true;
        self.0.filled.notify_one();
    }

    /// Waits until everything is written, or until `deadline`.
    pub(super) fn flush(&self, deadline: Instant) {
        let mut state = self.0.state.lock();
        while state.is_writing || !state.waiting.is_empty() || state.dropped > 0 {
            if self.0.emptied.wait_until(&mut state, deadline).timed_out() {
                return;
            }
        }
    }

    fn run(&self, device: &mut Device<impl Write>, between: &impl Between) {
        let mut lost = 0;
        loop {
            let due = between.tick(self, Instant::now());
            let Some((lines, dropped)) = self.take(due) else { continue };
            lost += device.write(&lines) + dropped;
            if lost > 0 && device.write(&between.dropped(lost)) == 0 {
                lost = 0;
            }
            self.0.state.lock().is_writing = false;
            self.0.emptied.notify_all();
        }
    }

    /// Waits for something to write; none when it is time to ask what is due.
    fn take(&self, due: Option<Instant>) -> Option<(Vec<u8>, u64)> {
        let mut state = self.0.state.lock();
        while state.waiting.is_empty() && state.dropped == 0 {
            if std::mem::take(&mut state.is_woken) {
                return None;
            }
            match due {
                None => self.0.filled.wait(&mut state),
                Some(due) if self.0.filled.wait_until(&mut state, due).timed_out() => return None,
                Some(_) => {}
            }
        }
        state.is_writing = true;
        Some((std::mem::take(&mut state.waiting), std::mem::take(&mut state.dropped)))
    }
}

impl<W: Write> Device<W> {
    /// Writes lines and counts those that it could not write. An error is told nowhere: there is no other place.
    fn write(&mut self, lines: &[u8]) -> u64 {
        if self.is_torn && self.write_bytes(b"\n") > 0 {
            return count(lines);
        }
        let left = self.write_bytes(lines);
        let (written, left) = lines.split_at(lines.len() - left);
        if !written.is_empty() {
            self.is_torn = !written.ends_with(b"\n");
        }
        count(left)
    }

    /// Writes bytes and counts those that it could not write.
    fn write_bytes(&mut self, mut bytes: &[u8]) -> usize {
        while !bytes.is_empty() {
            match self.inner.write(bytes) {
                Ok(written) if written > 0 => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(BUSY_PAUSE),
                _ => break,
            }
        }
        bytes.len()
    }
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Tells of what was dropped in a few letters, and has nothing due.
    struct Told;

    impl Between for Told {
        fn dropped(&self, lines: u64) -> Vec<u8> {
            format!("dropped {lines}\n").into_bytes()
        }

        fn tick(&self, _: &Writer, _: Instant) -> Option<Instant> {
            None
        }
    }

    /// Takes as many writes as it is allowed to, or fails.
    struct Slow {
        allowed: Receiver<io::Result<usize>>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Nobody allows anything any more when the test is over.
            let allowed = self.allowed.recv().unwrap_or(Ok(usize::MAX))?.min(bytes.len());
            self.written.lock().extend_from_slice(&bytes[..allowed]);
            Ok(allowed)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The bytes that were written.
    type Written = Arc<Mutex<Vec<u8>>>;

    fn slow() -> (Writer, Sender<io::Result<usize>>, Written) {
        let (allow, allowed) = channel();
        let writer = Writer::default();
        let written = Arc::default();
        writer.start(Slow { allowed, written: Arc::clone(&written) }, Told).unwrap();
        (writer, allow, written)
    }

    fn text(written: &Mutex<Vec<u8>>) -> String {
        String::from_utf8(written.lock().clone()).unwrap()
    }

    #[test]
    fn lines_that_nobody_takes_are_dropped_and_counted_and_nobody_waits() {
        let (writer, allow, written) = slow();
        let line = [vec![b'x'; 1023], vec![b'\n']].concat();
        let lines = 3 * WAITING_BYTES_MAX / line.len();
        (0..lines).for_each(|_| writer.push(&line));
        writer.flush(Instant::now());
        assert!(written.lock().is_empty(), "the device stands still");
        drop(allow);
        writer.flush(Instant::now() + PATIENCE);
        let told = text(&written);
        let dropped = |line: &str| line.strip_prefix("dropped ").map(|lines| lines.parse::<usize>().unwrap());
        let accounted: usize = told.lines().map(|line| dropped(line).unwrap_or(1)).sum();
        assert_eq!(accounted, lines, "each was written or counted");
        assert!(told.lines().any(|line| dropped(line).is_some()));
        assert!(told.len() <= 2 * WAITING_BYTES_MAX + 2 * line.len(), "what waits is bounded");
        writer.push(b"after\n");
        writer.flush(Instant::now() + PATIENCE);
        assert!(text(&written).ends_with("after\n"), "it goes on");
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_a_torn_one_is_ended() {
        let (writer, allow, written) = slow();
        for allowed in [Ok(3), Err(io::Error::other("full")), Err(io::Error::other("full"))] {
            allow.send(allowed).unwrap();
        }
        writer.push(b"first\nsecond\n");
        // Three answers: a piece of the lines, an error for the rest, an error for the line that tells of them.
        while text(&written) != "fir" {
            std::thread::yield_now();
        }
        drop(allow);
        writer.flush(Instant::now() + PATIENCE);
        writer.push(b"third\n");
        writer.flush(Instant::now() + PATIENCE);
        assert_eq!(text(&written), "fir\nthird\ndropped 2\n");
    }
}
