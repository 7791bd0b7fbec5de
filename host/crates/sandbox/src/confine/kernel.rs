//! The means of confinement that this process has: a kernel can lack them, and a container can forbid them.

use super::{files, filter};

/// The means of confinement that a process has.
///
/// # Examples
///
/// ```
/// use wasmpost_sandbox::Kernel;
///
/// let Kernel { landlock, seccomp } = Kernel::probe();
/// println!("files: {landlock}, system calls: {seccomp}");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel {
    /// Landlock, for files.
    pub landlock: bool,
    /// Filters of seccomp, for system calls.
    pub seccomp: bool,
}

impl Kernel {
    /// Tries both, on a thread that ends with it.
    pub fn probe() -> Self {
        let tried = std::thread::Builder::new().spawn(|| Self {
            landlock: files::confine_from_all().is_ok(),
            seccomp: filter::start_threads_by_clone().is_ok(),
        });
        let tried = tried.ok().and_then(|thread| thread.join().ok());
        tried.unwrap_or(Self { landlock: false, seccomp: false })
    }

    /// The names of those that it lacks, if it lacks any.
    pub fn missing(self) -> Option<&'static str> {
        match (self.landlock, self.seccomp) {
            (true, true) => None,
            (false, true) => Some("landlock"),
            (true, false) => Some("seccomp"),
            (false, false) => Some("landlock and seccomp"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trying_confines_nothing_but_a_thread_that_ended() {
        let before = Kernel::probe();
        assert_eq!(Kernel::probe(), before);
        assert!(std::fs::read_dir("/").unwrap().count() > 0);
    }

    #[test]
    fn each_missing_means_is_named() {
        let missing = |landlock, seccomp| Kernel { landlock, seccomp }.missing();
        assert_eq!(missing(true, true), None);
        assert_eq!(missing(false, true), Some("landlock"));
        assert_eq!(missing(true, false), Some("seccomp"));
        assert_eq!(missing(false, false), Some("landlock and seccomp"));
    }
}
