//! Confinement: rights that a process gives up for good, by landlock for files and by seccomp for system calls.

mod calls;
mod files;
mod filter;
mod kernel;

use std::io;

pub use files::{Confined, Files};
pub use kernel::Kernel;

/// Confines this thread, and all threads that it starts from now on, to compiling: it uses the descriptors that are open and
/// opens none, has memory and threads, and nothing else. Gives back what it could be confined with.
///
/// A forbidden call fails. One that no compiler makes, such as a call for a socket, a process or the memory of another
/// process, ends the process with SIGSYS.
///
/// # Examples
///
/// ```
/// use wasmpost_sandbox::confine_compiler;
///
/// // On a thread of its own: the rest of this program goes on as it was.
/// let confined = std::thread::spawn(|| {
///     let kernel = confine_compiler();
///     kernel.landlock.then(|| std::fs::read_to_string("/etc/hostname").is_err())
/// });
/// assert_ne!(confined.join().expect("the thread ends well"), Some(false));
/// ```
pub fn confine_compiler() -> Kernel {
    let landlock = files::confine_from_all().is_ok();
    // Last, for the filter forbids the calls of landlock.
    let seccomp = filter::compiling().is_ok();
    Kernel { landlock, seccomp }
}

/// Confines this thread, and all threads that it starts from now on, to serving: it reaches these files and no others, opens
/// no port, runs no program but those among the files, and makes no system call that administers the machine or looks into
/// other processes. A forbidden call fails.
///
/// # Errors
///
/// That of the system, where it does not confine this thread, which may be confined in part then.
///
/// # Examples
///
/// ```no_run
/// use wasmpost_sandbox::{Confined, Files, confine_server};
///
/// // Before the program starts threads. The result is kept as long as the process lives.
/// let files = Files { read: vec!["/srv/components".into()], change: vec!["/srv/queue".into()], ..Files::default() };
/// let confined: Confined = confine_server(&files)?;
/// # drop(confined);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn confine_server(files: &Files) -> io::Result<Confined> {
    let confined = files::confine_to(files)?;
    filter::serving()?;
    Ok(confined)
}
