//! Standard output and error, cut into lines for the log.

use std::io::BufRead;
use std::sync::Arc;

use parking_lot::Mutex;

use super::log::{GuestLog, Level, LogSource};

/// Lines that a guest has begun and not ended yet.
pub(crate) struct Outputs([Arc<Lines>; 2]);

impl Outputs {
    pub(crate) fn new(outputs: [Arc<Lines>; 2]) -> Self {
        Self(outputs)
    }

    /// Ends the lines that are open, so that what one message wrote is not taken for what the next one does.
    pub(crate) fn end(&self) {
        self.0.iter().for_each(|lines| lines.end_open());
    }
}

/// Cuts what is written into lines for the log. All handles share the one line that is held back until it ends, so that
/// a thousand of them hold no more than one.
pub(crate) struct Lines {
    log: Arc<GuestLog>,
    source: LogSource,
    line: Mutex<Vec<u8>>,
}

impl Lines {
    pub(crate) fn new(log: &Arc<GuestLog>, source: LogSource) -> Self {
        Self { log: Arc::clone(log), source, line: Mutex::default() }
    }

    pub(crate) fn take(&self, bytes: &[u8]) {
        self.log.work().call(bytes.len());
        let mut line = self.line.lock();
        let mut rest = bytes;
        while !rest.is_empty() {
            let Some(left) = self.log.bytes_left() else { return self.skip(&mut line, rest) };
            let from = rest;
            // Reading from memory does not fail; skipping there is as fast as the machine can, even for a GiB.
            let length = rest.skip_until(b'\n').unwrap_or(from.len());
            let piece = from.get(..length).unwrap_or(from);
            let (text, ends) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            // Output that does not fit into the log any more need not be kept until its line ends; one byte too many is
            // kept, so that the line counts as dropped.
            let room = (left + 1).saturating_sub(line.len());
            line.extend_from_slice(text.get(..room.min(text.len())).unwrap_or_default());
            if ends {
                self.end(&mut line);
            }
        }
    }

    /// Counts the lines of a full log without looking at each.
    fn skip(&self, line: &mut Vec<u8>, bytes: &[u8]) {
        let mut ends = 0;
        let mut rest = bytes;
        while rest.skip_until(b'\n').is_ok_and(|length| length > 0) {
            ends += 1;
        }
        if !bytes.ends_with(b"\n") {
            ends -= u64::from(!bytes.is_empty());
        }
        if ends > 0 {
            self.log.drop_lines(ends);
            line.clear();
        }
        if let (true, Some(last)) = (line.is_empty(), bytes.last().filter(|last| **last != b'\n')) {
            // So that the line counts when it ends.
            line.push(*last);
        }
    }

    fn end_open(&self) {
        let mut line = self.line.lock();
        if !line.is_empty() {
            self.end(&mut line);
        }
    }

    fn end(&self, line: &mut Vec<u8>) {
        let level = if self.source == LogSource::Stderr { Level::Warn } else { Level::Info };
        self.log.line(level, self.source, "", &String::from_utf8_lossy(line));
        line.clear();
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.end_open();
    }
}
