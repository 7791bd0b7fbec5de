//! Shared by the proofs: a host to be proved, load for it, and a look into its queue file.

pub mod file;
pub mod host;
pub mod load;
pub mod posting;

/// A number that may be set for long runs.
pub fn number(name: &str, default: u64) -> u64 {
    let set = std::env::var(name).ok().filter(|value| !value.is_empty());
    set.map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}

/// The source of chance: `WASMPOST_SEED`, or else a new seed, which is printed.
pub fn random() -> fastrand::Rng {
    let seed = number("WASMPOST_SEED", fastrand::u64(..));
    eprintln!("WASMPOST_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}
