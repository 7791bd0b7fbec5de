//! Attempts at what confined processes may not do, each made by a process of its own.
#![allow(unsafe_code)] // The standard library has no way to make most of these calls.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Error};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// How an attempt ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// With an error that says that it is not permitted.
    Refused,
    /// With the end of the process, for the system call.
    Ended,
    /// It is done: it is needed.
    Done,
}

/// Something that is attempted once the process is confined, with an end.
pub(crate) type Attempt = (&'static str, End, fn(&Scene) -> io::Result<()>);

/// The files, processes and sockets that attempts are made at.
pub(crate) struct Scene {
    /// A file that the process could read and write before.
    pub(crate) file: String,
    /// A port of this machine at which somebody listens.
    pub(crate) port: u16,
    /// A socket that was made before.
    pub(crate) socket: UdpSocket,
    /// A pipe that was made before.
    pub(crate) pipe: (io::PipeReader, io::PipeWriter),
}

/// A system call, by its number.
fn call(number: i64, arguments: [i64; 3]) -> io::Result<()> {
    let [first, second, third] = arguments;
    // SAFETY: none of the calls that are made here has an address among its arguments but that of nothing, so that the
    // kernel changes no memory.
    let answer = unsafe { libc::syscall(number, first, second, third, 0, 0, 0) };
    if answer < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

fn own() -> i64 {
    i64::from(std::process::id())
}

fn parent() -> i64 {
    i64::from(std::os::unix::process::parent_id())
}

/// Memory that is code, of no file, as little as there can be.
fn code() -> io::Result<()> {
    let protection = i64::from(libc::PROT_READ | libc::PROT_EXEC);
    // SAFETY: the kernel chooses where, so that it changes no memory that is in use.
    let mapped = unsafe {
        libc::syscall(libc::SYS_mmap, 0, 4096_i64, protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    };
    if mapped < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

fn read(path: &str) -> io::Result<()> {
    File::open(path).map(drop)
}

/// Calls that a compiler may not make, and a few that it must.
pub(crate) const COMPILER: &[Attempt] = &[
    ("open a file", End::Refused, |scene| read(&scene.file)),
    ("read a system file", End::Refused, |_| read("/etc/passwd")),
    ("read its memory as a file", End::Refused, |_| read("/proc/self/mem")),
    ("read its environment as a file", End::Refused, |_| read("/proc/self/environ")),
    ("read the memory of its host as a file", End::Refused, |_| read(&format!("/proc/{}/mem", parent()))),
    ("open a descriptor again", End::Refused, |_| read("/proc/self/fd/0")),
    ("list a directory", End::Refused, |_| fs::read_dir("/").map(drop)),
    ("look at a file", End::Refused, |scene| fs::metadata(&scene.file).map(drop)),
    ("write to a path", End::Refused, |scene| OpenOptions::new().append(true).open(&scene.file).map(drop)),
    ("create a file", End::Refused, |scene| File::create(format!("{}.made", scene.file)).map(drop)),
    ("create a directory", End::Refused, |scene| fs::create_dir(format!("{}.directory", scene.file))),
    ("remove a file", End::Refused, |scene| fs::remove_file(&scene.file)),
    ("rename a file", End::Refused, |scene| fs::rename(&scene.file, format!("{}.renamed", scene.file))),
    ("make a link", End::Refused, |scene| std::os::unix::fs::symlink("/", format!("{}.link", scene.file))),
    ("make a file in memory", End::Refused, |_| call(libc::SYS_memfd_create, [0, 0, 0])),
    ("make memory that is code", End::Refused, |_| code()),
    ("raise its limits", End::Refused, |_| call(libc::SYS_setrlimit, [0, 0, 0])),
    ("make a socket", End::Ended, |_| UdpSocket::bind("127.0.0.1:0").map(drop)),
    ("connect", End::Ended, |scene| TcpStream::connect(("127.0.0.1", scene.port)).map(drop)),
    ("listen", End::Ended, |_| TcpListener::bind("127.0.0.1:0").map(drop)),
    ("connect a socket that it has", End::Ended, |scene| scene.socket.connect(("127.0.0.1", scene.port))),
    ("send from a socket that it has", End::Ended, |scene| scene.socket.send_to(b"x", "127.0.0.1:9").map(drop)),
    ("fork", End::Ended, |_| call(libc::SYS_clone, [i64::from(libc::SIGCHLD), 0, 0])),
    ("start a program", End::Ended, |_| Command::new("/bin/true").spawn().map(drop)),
    ("become a program", End::Ended, |_| Err(Command::new("/bin/true").exec())),
    ("be traced", End::Ended, |_| call(libc::SYS_ptrace, [0, 0, 0])),
    ("trace its host", End::Ended, |_| call(libc::SYS_ptrace, [0x4206, parent(), 0])),
    ("read the memory of its host", End::Ended, |_| call(libc::SYS_process_vm_readv, [parent(), 0, 0])),
    ("write the memory of its host", End::Ended, |_| call(libc::SYS_process_vm_writev, [parent(), 0, 0])),
    ("signal its host", End::Ended, |_| call(libc::SYS_kill, [parent(), 0, 0])),
    ("signal a thread of its host", End::Ended, |_| call(libc::SYS_tgkill, [parent(), parent(), 0])),
    ("mount", End::Ended, |_| call(libc::SYS_mount, [0, 0, 0])),
    ("make namespaces", End::Ended, |_| call(libc::SYS_unshare, [i64::from(libc::CLONE_NEWUSER), 0, 0])),
    ("change its root", End::Ended, |_| call(libc::SYS_chroot, [0, 0, 0])),
    ("load a module of the kernel", End::Ended, |_| call(libc::SYS_finit_module, [-1, 0, 0])),
    ("load a program into the kernel", End::Ended, |_| call(libc::SYS_bpf, [0, 0, 0])),
    ("use rings of the kernel", End::Ended, |_| call(libc::SYS_io_uring_setup, [1, 0, 0])),
    ("measure the machine", End::Ended, |_| call(libc::SYS_perf_event_open, [0, 0, -1])),
    ("become another user", End::Ended, |_| call(libc::SYS_setuid, [0, 0, 0])),
    ("signal itself", End::Done, |_| call(libc::SYS_tgkill, [own(), own(), 0])),
    ("start a thread", End::Done, |_| {
        std::thread::Builder::new().spawn(|| ())?.join().map_err(|_| Error::other("lost"))
    }),
    ("write to a pipe that it has", End::Done, |scene| io::Write::write_all(&mut &scene.pipe.1, b"x")),
];

/// Calls that a hostile host may not make any more, and those that it needs. Its queue and its components are in the
/// directory of the file.
pub(crate) const SERVER: &[Attempt] = &[
    ("read a file elsewhere", End::Refused, |_| read(&format!("/proc/{}/environ", parent()))),
    ("list the root", End::Refused, |_| fs::read_dir("/").map(drop)),
    ("write elsewhere", End::Refused, |_| File::create("/dev/shm/wasmpost-confined").map(drop)),
    ("listen", End::Refused, |_| TcpListener::bind("127.0.0.1:0").map(drop)),
    ("start another program", End::Refused, |_| Command::new("/bin/true").spawn().map(drop)),
    ("start a program that it wrote", End::Refused, |scene| {
        let program = format!("{}.program", scene.file);
        fs::write(&program, "#!/bin/true\n")?;
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        Command::new(&program).spawn().map(drop)
    }),
    ("make a link", End::Refused, |scene| std::os::unix::fs::symlink("/", format!("{}.link", scene.file))),
    ("be traced", End::Refused, |_| call(libc::SYS_ptrace, [0, 0, 0])),
    ("trace another process", End::Refused, |_| call(libc::SYS_ptrace, [0x4206, parent(), 0])),
    ("read the memory of another process", End::Refused, |_| call(libc::SYS_process_vm_readv, [parent(), 0, 0])),
    ("signal another process", End::Refused, |_| call(libc::SYS_kill, [parent(), 0, 0])),
    ("mount", End::Refused, |_| call(libc::SYS_mount, [0, 0, 0])),
    ("make namespaces", End::Refused, |_| call(libc::SYS_unshare, [i64::from(libc::CLONE_NEWUSER), 0, 0])),
    ("fork into namespaces", End::Refused, |_| call(libc::SYS_clone, [i64::from(libc::CLONE_NEWUSER), 0, 0])),
    ("change its root", End::Refused, |_| call(libc::SYS_chroot, [0, 0, 0])),
    ("load a module of the kernel", End::Refused, |_| call(libc::SYS_finit_module, [-1, 0, 0])),
    ("load a program into the kernel", End::Refused, |_| call(libc::SYS_bpf, [0, 0, 0])),
    ("use rings of the kernel", End::Refused, |_| call(libc::SYS_io_uring_setup, [1, 0, 0])),
    ("use raw packets", End::Refused, |_| call(libc::SYS_socket, [i64::from(libc::AF_PACKET), 3, 0])),
    ("become another user", End::Refused, |_| call(libc::SYS_setuid, [0, 0, 0])),
    ("read what lies beside its queue", End::Done, |scene| read(&scene.file)),
    ("create a file beside its queue", End::Done, |scene| File::create(format!("{}.made", scene.file)).map(drop)),
    ("connect", End::Done, |scene| TcpStream::connect(("127.0.0.1", scene.port)).map(drop)),
    ("find the address of a name", End::Done, |scene| TcpStream::connect(("localhost", scene.port)).map(drop)),
    ("start itself", End::Done, |_| {
        let ended = Command::new("/proc/self/exe").env_clear().args(["attempt", "nothing"]).output()?;
        if ended.status.code() == Some(0) { Ok(()) } else { Err(Error::other(format!("{ended:?}"))) }
    }),
];
