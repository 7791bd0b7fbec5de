//! What a host did, seen from outside: what it was asked for, what it told, what its queue file holds, and whether all
//! of it adds up.

pub mod account;
pub mod letter;
pub mod log;
pub mod order;
pub mod seen;
pub mod steady;
pub mod trace;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::{build, target};

/// The program with points at which it may end and breaks. It does as the other one unless the environment asks.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(program) = std::env::var_os("WASMPOST_PROVE_PROGRAM") {
            return program.into();
        }
        build(&["--features", "prove"]);
        // Under a name of its own: the other program is built to the same place.
        let (built, new, program) = ("debug/wasmpost", "debug/wasmpost-prove.new", "debug/wasmpost-prove");
        std::fs::copy(target().join(built), target().join(new)).unwrap();
        std::fs::rename(target().join(new), target().join(program)).unwrap();
        target().join(program)
    })
}
