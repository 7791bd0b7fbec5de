//! Files that should not be loaded, put in the place of a component that is at work.

use serde_json::json;
use wasmpost_tests::guest;

use crate::arena::{Arena, NEIGHBOURS};
use crate::guests::*;

/// Random bytes, but the same in every run.
const SEED: u64 = 15;

/// Puts each file in the place of a component that is at work and has the host reload it: it is refused by the name of
/// the file and these words, and the old one serves on.
pub(crate) fn refused_while_the_old_version_runs(settings: &str, files: &[(&str, Vec<u8>, &str)]) {
    let arena = Arena::new().host(settings);
    let file = arena.place.write("victim.wasm", std::fs::read(guest("noop")).unwrap());
    let arena = arena.attacker_file("victim", &file, "", vec![json!({ "body": "before" })]);
    arena.fight_with(|host| {
        host.wait_for_acks(NEIGHBOURS + 1);
        for (what, bytes, words) in files {
            std::fs::write(&file, bytes).unwrap();
            let reloaded = host.place.run(&["reload"]).fails(1, &["refused 1 component"]).stdout();
            let line = reloaded.lines().find(|line| line.contains("victim.wasm")).unwrap_or_default();
            assert!(line.starts_with("refused") && line.contains(words), "{what}: {words:?} in {reloaded}");
            host.publish("victim", &[json!({ "body": what })]);
            host.wait_for_acks(1);
        }
    });
}

/// The guests that a test names, as files with the word that tells what is wrong with each.
pub(crate) fn files(guests: &[(Hostile, &'static str)]) -> Vec<(&'static str, Vec<u8>, &'static str)> {
    guests.iter().map(|(guest, words)| (guest.name, guest.bytes(), *words)).collect()
}

#[test]
fn a03_ten_thousand_memories_and_two_hundred_instances_are_refused_when_they_are_loaded() {
    refused_while_the_old_version_runs("", &files(&[(A03_INSTANCES, "instance"), (A03_MEMORIES, "instance")]));
}

#[test]
fn a15_malformed_truncated_and_random_bytes_text_and_machine_code_are_refused_by_name() {
    let whole = std::fs::read(guest("noop")).unwrap();
    let mut damaged = whole.clone();
    damaged[8] ^= 0x55;
    let mut random = fastrand::Rng::with_seed(SEED);
    let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(4096).collect();
    // A package in another version of itself, as no toolchain writes it down. Reading it never ends.
    let interface = whole.windows(25).position(|bytes| bytes == b"wasmpost:messaging/topic@").unwrap();
    let mut entangled = whole.clone();
    entangled[interface + 27] = b'3';
    let component = wasmpost_sandbox::component_of(&whole).unwrap();
    let compiled = wasmtime::Engine::default().precompile_component(&component).unwrap();
    refused_while_the_old_version_runs(
        "",
        &[
            ("nothing", vec![], "empty"),
            ("text", b"(module (memory 1))".to_vec(), "not a WebAssembly file"),
            ("random bytes", noise.clone(), "not a WebAssembly file"),
            ("random bytes behind a header", [b"\0asm\x01\0\0\0", &noise[..]].concat(), "malformed"),
            ("random bytes behind another", [b"\0asm\x0d\0\x01\0", &noise[..]].concat(), "malformed"),
            ("truncated", whole[..whole.len() / 2].to_vec(), "malformed"),
            ("damaged", damaged, "malformed"),
            ("packages that need each other", entangled, "overflowed its stack"),
            ("a program of this machine", b"\x7fELF\x02\x01\x01".to_vec(), "not a WebAssembly file"),
            ("precompiled", compiled, "precompiled machine code"),
        ],
    );
}

#[test]
fn a15_unknown_imports_and_features_that_are_off_are_refused_by_name() {
    refused_while_the_old_version_runs(
        "",
        &files(&[
            (A15_UNKNOWN_IMPORT, "wasmpost:messaging/moods@0.1.0"),
            (A15_ASYNC, "async"),
            (A15_EXCEPTIONS, "exceptions"),
            (A15_FUNCTION_REFERENCES, "function references"),
            (A15_GC, "gc"),
            (A15_MEMORY64, "memory64"),
            (A15_MULTI_MEMORY, "multiple memories"),
            (A15_PAGE_SIZES, "custom page sizes"),
            (A15_STACK_SWITCHING, "stack switching"),
            (A15_THREADS, "threads"),
        ]),
    );
}
