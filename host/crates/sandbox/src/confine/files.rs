//! Files that a confined process reaches, by landlock.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError,
    RulesetStatus, Scope, path_beneath_rules,
};

/// The version of landlock whose rights are given up. A kernel with an older one confines as far as it can.
const VERSION: ABI = ABI::V7;
/// Keeps a directory known without reading it.
const O_PATH: i32 = 0o10_000_000;
/// The directory in which the kernel describes a process to itself.
const OWN: &str = "/proc/self";

/// The files and directories that a confined process reaches, with everything in them. Those that do not exist are left
/// out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// To be read.
    pub read: Vec<PathBuf>,
    /// To be read and written; in directories, files and sockets can be made and removed.
    pub change: Vec<PathBuf>,
    /// To be run as programs.
    pub run: Vec<PathBuf>,
}

/// A confined process keeps this as long as it lives.
#[derive(Debug)]
pub struct Confined {
    /// The kernel makes the directories of processes anew when it is short of memory, unless they are open. A new one
    /// would not be known as one that may be read.
    _own: Option<File>,
}

/// Reaches no file, opens no port, connects nowhere, and signals nobody but itself and its own.
pub(super) fn confine_from_all() -> io::Result<()> {
    let made = Ruleset::default()
        .handle_access(AccessFs::from_all(VERSION))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(VERSION)))
        .and_then(|rules| rules.scope(Scope::from_all(VERSION)))
        .and_then(Ruleset::create);
    enforce(made)
}

/// Reaches these files, opens no port, and signals nobody but itself and its own.
pub(super) fn confine_to(files: &Files) -> io::Result<Confined> {
    let own = OpenOptions::new().read(true).custom_flags(O_PATH).open(OWN).ok();
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let change = read
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::RemoveFile
        | AccessFs::MakeSock
        | AccessFs::MakeDir
        | AccessFs::RemoveDir;
    let run: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::Execute;
    let made = Ruleset::default()
        .handle_access(AccessFs::from_all(VERSION))
        .and_then(|rules| rules.handle_access(AccessNet::BindTcp))
        .and_then(|rules| rules.scope(Scope::from_all(VERSION)))
        .and_then(Ruleset::create)
        .and_then(|rules| rules.add_rules(path_beneath_rules([Path::new(OWN)], read)))
        .and_then(|rules| rules.add_rules(path_beneath_rules(&files.read, read)))
        .and_then(|rules| rules.add_rules(path_beneath_rules(&files.change, change)))
        .and_then(|rules| rules.add_rules(path_beneath_rules(&files.run, run)));
    enforce(made)?;
    Ok(Confined { _own: own })
}

fn enforce(made: Result<RulesetCreated, RulesetError>) -> io::Result<()> {
    let status = made.and_then(RulesetCreated::restrict_self).map_err(io::Error::other)?;
    if status.ruleset == RulesetStatus::NotEnforced {
        return Err(io::Error::from(io::ErrorKind::Unsupported));
    }
    Ok(())
}
