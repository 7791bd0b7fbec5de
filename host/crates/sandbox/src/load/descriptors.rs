//! The descriptors that a child was started with, and that it has no use for.
#![allow(unsafe_code)]

use std::fs;
use std::os::fd::RawFd;

/// The first that is neither standard input nor one of the outputs.
const FIRST: RawFd = 3;
/// As far as descriptors are looked for where the system does not list them.
const LAST: RawFd = 1 << 16;

/// Closes every descriptor but those of input and output: whatever was open where the host was started, and was not
/// meant for its child.
///
/// It has to be called before this process opens anything of its own.
pub(super) fn close_inherited() {
    // SAFETY: nothing in this process owns a descriptor yet, as the caller knows.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, FIRST, u32::MAX, 0) };
    if closed != 0 {
        // Linux before 5.9 does not know it.
        close_each();
    }
}

fn close_each() {
    let listed = fs::read_dir("/proc/self/fd").map(|entries| {
        let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        numbers.collect::<Vec<RawFd>>()
    });
    // The list is read to its end, and closed, before any of them is.
    let open = listed.unwrap_or_else(|_| (FIRST..=LAST).collect());
    for descriptor in open.into_iter().filter(|descriptor| *descriptor >= FIRST) {
        // SAFETY: as above, so that none is closed under its owner. One that is not open any more, as that of the list,
        // is no error.
        unsafe { rustix::io::close(descriptor) };
    }
}
