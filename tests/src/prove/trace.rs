//! Reads the output of `strace -f -y -s 64` of a host, and checks that each confirmation came after its bytes were on
//! disk.

use std::collections::HashMap;

use crate::prove::account::Fault;

/// A call of the system. Places are numbers of lines: a call that began in a line before another one began before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The thread.
    pub thread: u32,
    /// The name of the call.
    pub name: String,
    /// The arguments, as text.
    pub arguments: String,
    /// The result.
    pub result: i64,
    /// Where it began.
    pub begin: usize,
    /// Where it ended.
    pub end: usize,
    /// Whether the tracer made it fail.
    pub is_injected: bool,
}

impl Call {
    /// Whether it is one of these, about a file whose name ends so.
    fn is(&self, names: &[&str], file: &str) -> bool {
        let about = self.arguments.split([',', ' ']).next().unwrap_or_default();
        names.contains(&self.name.as_str()) && about.trim_end_matches('>').ends_with(file)
    }

    /// The descriptor that it is about, with what it leads to.
    fn descriptor(&self) -> &str {
        self.arguments.split(',').next().unwrap_or_default()
    }
}

/// The calls in a trace, in the order of their ends.
pub fn calls(trace: &str) -> Vec<Call> {
    let mut unfinished: HashMap<u32, (String, String, usize)> = HashMap::new();
    let mut calls = Vec::new();
    for (line, text) in trace.lines().enumerate() {
        let Some((thread, text)) = text.split_once(' ') else { continue };
        let (Ok(thread), text) = (thread.parse::<u32>(), text.trim_start()) else { continue };
        if let Some(resumed) = text.strip_prefix("<... ") {
            let Some((name, begun, begin)) = unfinished.remove(&thread) else { continue };
            let Some((_, rest)) = resumed.split_once("resumed>") else { continue };
            if let Some((arguments, result)) = finished(rest) {
                let arguments = format!("{begun}{arguments}");
                calls.push(call(thread, name, arguments, result, (begin, line)));
            }
            continue;
        }
        let Some((name, rest)) = text.split_once('(') else { continue };
        if let Some(begun) = rest.strip_suffix("<unfinished ...>") {
            unfinished.insert(thread, (name.to_owned(), begun.to_owned(), line));
        } else if let Some((arguments, result)) = finished(rest) {
            calls.push(call(thread, name.to_owned(), arguments.to_owned(), result, (line, line)));
        }
    }
    calls
}

fn finished(rest: &str) -> Option<(&str, &str)> {
    // The last one: arguments may contain anything.
    let at = rest.rfind(") = ").or_else(|| rest.rfind(" = "))?;
    let (arguments, result) = rest.split_at(at);
    Some((arguments.trim_end(), result.trim_start_matches(") ").trim_start_matches([' ', '='])))
}

fn call(thread: u32, name: String, arguments: String, result: &str, (begin, end): (usize, usize)) -> Call {
    let is_injected = result.contains("(INJECTED)");
    let result = result.split([' ', '<']).next().and_then(|number| number.parse().ok()).unwrap_or(-1);
    Call { thread, name, arguments, result, begin, end, is_injected }
}

/// Every answer that something is stored has, since what it answers was read, a write to the log of the queue file and
/// after that a completed flush of it. Says how many answers there were.
pub fn confirmations(calls: &[Call], faults: &mut Vec<Fault>) -> usize {
    const LOG: &str = "wasmpost.db-wal";
    let writes: Vec<_> =
        calls.iter().filter(|call| call.is(&["pwrite64", "pwritev"], LOG) && call.result > 0).collect();
    let flushes: Vec<_> =
        calls.iter().filter(|call| call.is(&["fsync", "fdatasync"], LOG) && call.result == 0).collect();
    let mut reads: HashMap<&str, &Call> = HashMap::new();
    let mut answers = 0;
    for call in calls {
        if ["read", "recvfrom", "recvmsg", "readv"].contains(&call.name.as_str()) && call.result > 0 {
            reads.insert(call.descriptor(), call);
        }
        let is_answer = ["write", "writev", "sendto", "sendmsg"].contains(&call.name.as_str())
            && call.arguments.contains("Published\\\":[{");
        if !is_answer {
            continue;
        }
        answers += 1;
        let Some(asked) = reads.get(call.descriptor()).map(|read| read.end) else {
            faults.push(Fault::new("I13", format!("line {}: an answer without a question", call.begin + 1)));
            continue;
        };
        let is_safe = writes
            .iter()
            .filter(|write| write.begin >= asked && write.end < call.begin)
            .any(|write| flushes.iter().any(|flush| flush.begin >= write.end && flush.end < call.begin));
        if !is_safe {
            faults.push(Fault::new("I13", format!("line {}: confirmed before it was on disk", call.begin + 1)));
        }
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: &str = "7 recvfrom(12<socket:[1]>, \"...{\\\"Publish\\\":[\", 8192, 0, NULL, NULL) = 300\n";
    const WRITTEN: &str = "8 pwrite64(9</d/wasmpost.db-wal>, \"x = ) = 1\", 4096, 32) = 4096\n";
    const FLUSH_BEGUN: &str = "8 fdatasync(9</d/wasmpost.db-wal> <unfinished ...>\n";
    const FLUSH_ENDED: &str = "8 <... fdatasync resumed>) = 0\n";
    const ANSWERED: &str =
        "7 sendto(12<socket:[1]>, \"\\0\\0\\0X{\\\"Published\\\":[{\\\"id\\\"\", 88, 0, NULL, 0) = 88\n";

    fn faults(trace: &[&str]) -> Vec<Fault> {
        let mut faults = Vec::new();
        assert_eq!(confirmations(&calls(&trace.concat()), &mut faults), 1);
        faults
    }

    #[test]
    fn an_answer_after_a_flush_that_followed_its_write_is_safe() {
        assert_eq!(faults(&[ASKED, WRITTEN, FLUSH_BEGUN, FLUSH_ENDED, ANSWERED]), []);
    }

    #[test]
    fn an_answer_before_the_flush_ended_or_without_one_is_a_fault() {
        for trace in [
            &[ASKED, WRITTEN, FLUSH_BEGUN, ANSWERED, FLUSH_ENDED][..],
            &[ASKED, WRITTEN, ANSWERED],
            &[WRITTEN, FLUSH_BEGUN, FLUSH_ENDED, ASKED, ANSWERED],
            &[ASKED, FLUSH_BEGUN, WRITTEN, FLUSH_ENDED, ANSWERED],
            &[
                ASKED,
                WRITTEN,
                FLUSH_BEGUN,
                "8 <... fdatasync resumed>) = -1 EIO (Input/output error) (INJECTED)\n",
                ANSWERED,
            ],
        ] {
            assert_eq!(faults(trace).len(), 1, "{trace:?}");
        }
    }

    #[test]
    fn a_call_that_was_made_to_fail_is_known_as_that() {
        let found = calls("8 fdatasync(9</d/wasmpost.db-wal>) = -1 EIO (Input/output error) (INJECTED)\n");
        assert_eq!((found.len(), found[0].result, found[0].is_injected), (1, -1, true));
    }
}
