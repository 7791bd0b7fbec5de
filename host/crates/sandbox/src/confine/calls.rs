//! The system calls that confined processes may make.
//!
//! They are tables: a call that a library begins to make is a word in one of them.

use libc::{
    AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID,
    CLONE_NEWUSER, CLONE_NEWUTS, CLONE_THREAD, F_GETFD, F_GETFL, PROT_EXEC,
};

/// A system call that is told apart by an argument. Several of one number are alternatives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) number: i64,
    /// Which of its arguments, counted from 0.
    pub(super) argument: u8,
    pub(super) test: Test,
}

/// A condition on an argument.
#[derive(Debug, Clone, Copy)]
pub(super) enum Test {
    /// This, in 32 bits.
    Is(u64),
    /// Anything but this, in 32 bits.
    IsNot(u64),
    /// No address.
    Nowhere,
    /// A number with all of these bits.
    Has(u64),
    /// A number with none of these bits.
    HasNone(u64),
}

/// Their numbers on this machine.
macro_rules! calls {
    ($($name:ident)*) => { &[$(libc::$name),*] };
}

const CODE: u64 = PROT_EXEC as u64;
/// Typing into a terminal. Its type differs between libraries.
const TIOCSTI: u64 = 0x5412;
const THREAD: u64 = CLONE_THREAD as u64;
const NAMESPACES: u64 =
    (CLONE_NEWCGROUP | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUSER | CLONE_NEWUTS) as u64;
/// To name a thread, and to name memory.
const NAMES: [u64; 2] = [libc::PR_SET_NAME as u64, 0x5356_4d41];

/// Compiling: reading and writing what is open, memory, threads, time. Serving needs them too.
pub(super) const COMPILING: &[i64] = calls! {
    SYS_read SYS_readv SYS_write SYS_writev SYS_lseek SYS_fstat SYS_close SYS_ppoll
    SYS_munmap SYS_mremap SYS_madvise SYS_brk SYS_membarrier
    SYS_futex SYS_set_robust_list SYS_get_robust_list SYS_set_tid_address SYS_rseq SYS_sched_yield
    SYS_sched_getaffinity SYS_sched_getparam SYS_sched_getscheduler
    SYS_getpid SYS_gettid SYS_getrandom SYS_sysinfo SYS_getrusage
    SYS_clock_gettime SYS_clock_getres SYS_clock_nanosleep SYS_nanosleep SYS_gettimeofday
    SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn SYS_rt_sigpending SYS_sigaltstack SYS_restart_syscall
    SYS_clone3 SYS_exit SYS_exit_group
};

/// Serving: files, connections, events, a child.
pub(super) const SERVING: &[i64] = calls! {
    SYS_execve SYS_wait4 SYS_waitid SYS_getppid SYS_getpgid SYS_getsid SYS_setpgid SYS_setsid SYS_kill SYS_tgkill
    SYS_tkill SYS_pidfd_open SYS_pidfd_send_signal
    SYS_getuid SYS_geteuid SYS_getgid SYS_getegid SYS_getgroups SYS_getresuid SYS_getresgid SYS_capget SYS_getcpu
    SYS_uname SYS_umask SYS_times SYS_prctl SYS_prlimit64
    SYS_getpriority SYS_setpriority SYS_sched_setaffinity SYS_sched_setscheduler SYS_sched_setparam
    SYS_sched_get_priority_max SYS_sched_get_priority_min
    SYS_seccomp SYS_landlock_create_ruleset SYS_landlock_add_rule SYS_landlock_restrict_self
    SYS_mmap SYS_mprotect SYS_mincore SYS_mlock SYS_munlock SYS_msync SYS_memfd_create
    SYS_openat SYS_openat2 SYS_close_range SYS_dup SYS_dup3 SYS_fcntl SYS_pipe2 SYS_pread64 SYS_pwrite64 SYS_preadv
    SYS_pwritev SYS_preadv2 SYS_pwritev2
    SYS_newfstatat SYS_statx SYS_statfs SYS_fstatfs SYS_faccessat SYS_faccessat2 SYS_readlinkat SYS_getcwd SYS_chdir
    SYS_fchdir SYS_getdents64
    SYS_unlinkat SYS_renameat SYS_renameat2 SYS_mkdirat SYS_linkat SYS_fchmod SYS_fchmodat SYS_fchown SYS_fchownat
    SYS_utimensat
    SYS_ftruncate SYS_truncate SYS_fallocate SYS_fsync SYS_fdatasync SYS_sync_file_range SYS_fadvise64 SYS_flock
    SYS_readahead SYS_copy_file_range SYS_sendfile SYS_splice
    SYS_getxattr SYS_lgetxattr SYS_fgetxattr SYS_fsetxattr SYS_listxattr SYS_flistxattr
    SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2 SYS_pselect6 SYS_eventfd2 SYS_signalfd4
    SYS_timerfd_create SYS_timerfd_settime SYS_timerfd_gettime
    SYS_inotify_init1 SYS_inotify_add_watch SYS_inotify_rm_watch
    SYS_socketpair SYS_connect SYS_bind SYS_listen SYS_accept SYS_accept4 SYS_getsockname SYS_getpeername
    SYS_getsockopt SYS_setsockopt SYS_shutdown
    SYS_sendto SYS_recvfrom SYS_sendmsg SYS_recvmsg SYS_sendmmsg SYS_recvmmsg
    SYS_futex_waitv SYS_rt_sigtimedwait SYS_rt_sigsuspend SYS_rt_sigqueueinfo SYS_rt_tgsigqueueinfo
    SYS_timer_create SYS_timer_settime SYS_timer_gettime SYS_timer_getoverrun SYS_timer_delete SYS_getitimer
    SYS_setitimer
};

/// Calls that end the compiler: nothing that belongs to it makes them.
pub(super) const ENDING: &[i64] = calls! {
    SYS_socket SYS_socketpair SYS_connect SYS_bind SYS_listen SYS_accept SYS_accept4 SYS_sendto SYS_sendmsg
    SYS_sendmmsg SYS_recvfrom SYS_recvmsg SYS_recvmmsg
    SYS_execve SYS_execveat SYS_kill SYS_tkill SYS_rt_sigqueueinfo SYS_rt_tgsigqueueinfo SYS_pidfd_open
    SYS_pidfd_getfd SYS_pidfd_send_signal
    SYS_ptrace SYS_process_vm_readv SYS_process_vm_writev SYS_process_madvise SYS_kcmp
    SYS_mount SYS_umount2 SYS_pivot_root SYS_chroot SYS_unshare SYS_setns SYS_move_mount SYS_open_tree SYS_fsopen
    SYS_fsmount
    SYS_bpf SYS_perf_event_open SYS_userfaultfd SYS_io_uring_setup SYS_io_uring_enter SYS_io_uring_register
    SYS_init_module SYS_finit_module SYS_delete_module SYS_kexec_load SYS_reboot SYS_swapon SYS_swapoff
    SYS_open_by_handle_at SYS_name_to_handle_at SYS_fanotify_init SYS_keyctl SYS_add_key SYS_request_key
    SYS_setuid SYS_setgid SYS_setreuid SYS_setregid SYS_setresuid SYS_setresgid SYS_setgroups SYS_capset
    SYS_settimeofday SYS_clock_settime SYS_adjtimex SYS_sethostname SYS_personality
};

/// Calls that not every architecture has.
#[cfg(target_arch = "x86_64")]
mod old {
    pub(in super::super) const COMPILING: &[i64] = calls! {
        SYS_poll SYS_time
    };
    pub(in super::super) const SERVING: &[i64] = calls! {
        SYS_open SYS_creat SYS_stat SYS_lstat SYS_access SYS_readlink SYS_getdents SYS_unlink SYS_rename SYS_mkdir
        SYS_rmdir SYS_link SYS_chmod SYS_chown SYS_utime SYS_utimes SYS_futimesat
        SYS_pipe SYS_dup2 SYS_select SYS_epoll_create SYS_epoll_wait SYS_eventfd SYS_signalfd SYS_inotify_init SYS_vfork
        SYS_fork SYS_arch_prctl SYS_getrlimit SYS_setrlimit SYS_alarm SYS_pause SYS_getpgrp
    };
    pub(in super::super) const ENDING: &[i64] = calls! {
        SYS_fork SYS_vfork SYS_modify_ldt SYS_iopl SYS_ioperm
    };
}
#[cfg(not(target_arch = "x86_64"))]
mod old {
    pub(in super::super) const COMPILING: &[i64] = &[];
    pub(in super::super) const SERVING: &[i64] = &[];
    pub(in super::super) const ENDING: &[i64] = &[];
}
pub(super) use old::{COMPILING as COMPILING_OLD, ENDING as ENDING_OLD, SERVING as SERVING_OLD};

/// Compiling: memory that is no code, threads rather than processes, signals of this process to itself.
pub(super) fn compiling(process: u64) -> Vec<Call> {
    let names = NAMES.map(|name| (libc::SYS_prctl, 0, Test::Is(name)));
    let looks = [F_GETFD, F_GETFL].map(|look| (libc::SYS_fcntl, 1, Test::Is(look as u64)));
    let others = [
        (libc::SYS_mmap, 2, Test::HasNone(CODE)),
        (libc::SYS_mprotect, 2, Test::HasNone(CODE)),
        (libc::SYS_clone, 0, Test::Has(THREAD)),
        (libc::SYS_tgkill, 0, Test::Is(process)),
        // To look at a limit, and to set none.
        (libc::SYS_prlimit64, 2, Test::Nowhere),
    ];
    names.into_iter().chain(looks).chain(others).map(Call::from).collect()
}

/// Calls that end the compiler for what they ask for: a process, or a signal to another one.
pub(super) fn ending(process: u64) -> Vec<Call> {
    let calls = [(libc::SYS_clone, 0, Test::HasNone(THREAD)), (libc::SYS_tgkill, 0, Test::IsNot(process))];
    calls.map(Call::from).into()
}

/// Serving: sockets of the internet and of this machine, processes and threads that see what this one sees, devices to be
/// asked, but no terminal to be typed into.
pub(super) fn serving() -> Vec<Call> {
    let families = [AF_UNIX, AF_INET, AF_INET6, AF_NETLINK];
    let sockets = families.map(|family| (libc::SYS_socket, 0, Test::Is(family as u64)));
    let others = [(libc::SYS_clone, 0, Test::HasNone(NAMESPACES)), (libc::SYS_ioctl, 1, Test::IsNot(TIOCSTI))];
    sockets.into_iter().chain(others).map(Call::from).collect()
}

impl From<(i64, u8, Test)> for Call {
    fn from((number, argument, test): (i64, u8, Test)) -> Self {
        Self { number, argument, test }
    }
}
