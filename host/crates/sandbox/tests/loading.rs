//! What is loaded, what is refused, and what the cache does.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

mod guest;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use guest::{component, core_module, message, options, sandbox};
use wasmpost_msg::Receiver;
use wasmpost_sandbox::{EngineOptions, LoadLimits, Profile, Sandbox, WasmReceiver};

/// Why a file of these bytes is refused, file name included.
fn refusal(bytes: &[u8]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("guest.wasm");
    fs::write(&path, bytes).unwrap();
    match sandbox().load_file(&path) {
        Ok(_) => panic!("it was loaded"),
        Err(error) => error.to_string(),
    }
}

fn assert_refused(bytes: &[u8], words: &[&str]) {
    let text = refusal(bytes);
    for word in words.iter().chain(&["guest.wasm"]) {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
}

#[test]
fn a_file_that_is_not_there_is_told_by_name() {
    let Err(error) = sandbox().load_file(Path::new("/nowhere/guest.wasm")) else { panic!("it was loaded") };
    assert!(error.to_string().contains("/nowhere/guest.wasm"), "{error}");
}

#[test]
fn files_of_other_kinds_are_refused_by_name() {
    assert_refused(b"", &["not a WebAssembly file"]);
    assert_refused(b"(module)", &["not a WebAssembly file"]);
    assert_refused(b"\x7fELF\x02\x01\x01", &["not a WebAssembly file"]);
}

#[test]
fn a_precompiled_file_is_refused_by_name() {
    let engine = wasmtime::Engine::default();
    let compiled = engine.precompile_component(&component("", "(call $ok)")).unwrap();
    assert_refused(&compiled, &["precompiled"]);
}

#[test]
fn every_truncation_is_refused() {
    let whole = component("", "(call $ok)");
    let sandbox = sandbox();
    for length in (0..whole.len()).step_by(7) {
        assert!(sandbox.load(&whole[..length]).is_err(), "the first {length} bytes were loaded");
    }
    assert_refused(&whole[..whole.len() / 2], &["malformed"]);
}

#[test]
fn flipped_bytes_are_refused_or_loaded_and_never_fatal() {
    let whole = component("", "(call $ok)");
    let sandbox = sandbox();
    for at in (0..whole.len()).step_by(11) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x55;
        drop(sandbox.load(&flipped));
    }
}

#[test]
fn a_core_module_that_does_not_say_its_world_is_refused() {
    assert_refused(&wat::parse_str("(module)").unwrap(), &["component-type"]);
}

#[test]
fn a_component_that_receives_nothing_is_told_what_was_looked_for() {
    assert_refused(&wat::parse_str("(component)").unwrap(), &["wasmpost:messaging/receiver@0.1.0"]);
}

#[test]
fn an_import_that_the_host_does_not_offer_is_refused_by_name() {
    let mut whole = component("", "(call $ok)");
    // The same length, so that the file stays valid: another interface of the same shape.
    let (known, unknown) = (b"wasmpost:messaging/types@0.1.0", b"wasmpost:messaging/moods@0.1.0");
    let mut at = 0;
    while let Some(found) = whole[at..].windows(known.len()).position(|window| window == known) {
        whole[at + found..at + found + known.len()].copy_from_slice(unknown);
        at += found + known.len();
    }
    assert_refused(&whole, &["wasmpost:messaging/moods@0.1.0"]);
}

#[test]
fn switched_off_features_are_refused() {
    for module in [
        "(module (memory i64 1))",
        "(module (memory 1 1 shared))",
        "(module (memory 1) (memory 1))",
        "(module (type (struct (field i32))))",
        "(module (tag (param i32)))",
    ] {
        let text = format!("(component (core {})", &module[1..]);
        assert_refused(&wat::parse_str(text).unwrap(), &["malformed"]);
    }
}

#[test]
fn limits_of_loading_are_told_by_number() {
    let loading = |load: LoadLimits| {
        let sandbox = Sandbox::new(EngineOptions { pool_instances: 1, load, ..EngineOptions::default() }).unwrap();
        sandbox.load(&component("", "(call $ok)")).map(drop).map_err(|error| error.to_string())
    };
    let limits = LoadLimits::default();
    assert_eq!(loading(limits), Ok(()));
    for narrow in [
        LoadLimits { file: "100B".parse().unwrap(), ..limits },
        LoadLimits { functions: 2, ..limits },
        LoadLimits { function: "2B".parse().unwrap(), ..limits },
        LoadLimits { types: 1, ..limits },
        LoadLimits { nesting: 1, ..limits },
        LoadLimits { imports_and_exports: 1, ..limits },
    ] {
        assert!(loading(narrow).unwrap_err().starts_with("compile-limit: "), "{narrow:?}");
    }
}

#[test]
fn a_loaded_component_tells_what_it_is() {
    let bytes = core_module("orders", "(call $new_writer (i32.const 2048) $length (i32.const 512)) (call $ok)");
    let loaded = sandbox().load(&bytes).unwrap();
    assert_eq!(loaded.size_bytes(), bytes.len() as u64);
    assert_eq!(loaded.digest().len(), "sha256:".len() + 64);
    let imports = loaded.imports();
    assert!(imports.iter().any(|import| import == "wasmpost:messaging/topic@0.1.0"), "{imports:?}");
    assert!(!imports.iter().any(|import| import.starts_with("wasi:")), "{imports:?}");
    assert!(!loaded.needs().is_empty());
    assert!(sandbox().load(&component("", "(call $ok)")).unwrap().needs().is_empty());
}

fn cached(directory: &Path) -> EngineOptions {
    EngineOptions { pool_instances: 1, cache_dir: Some(directory.to_owned()), ..EngineOptions::default() }
}

/// A directory of a cache that does not exist yet.
fn cache_directory() -> (tempfile::TempDir, std::path::PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("cache");
    (parent, directory)
}

fn compiled_files(directory: &Path) -> Vec<std::path::PathBuf> {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| fs::metadata(path).unwrap().len() > 1000).collect();
    files.sort();
    files
}

#[test]
fn the_second_load_comes_from_the_cache() {
    let (_parent, directory) = cache_directory();
    let bytes = component("", "(call $ok)");
    assert!(!Sandbox::new(cached(&directory)).unwrap().load(&bytes).unwrap().is_from_cache());
    assert!(Sandbox::new(cached(&directory)).unwrap().load(&bytes).unwrap().is_from_cache());
    assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn other_settings_of_the_engine_do_not_share_compiled_code() {
    let (_parent, directory) = cache_directory();
    let bytes = component("", "(call $ok)");
    Sandbox::new(cached(&directory)).unwrap().load(&bytes).unwrap();
    let bounds = EngineOptions { profile: Profile::Bounds, ..cached(&directory) };
    assert!(!Sandbox::new(bounds).unwrap().load(&bytes).unwrap().is_from_cache());
}

#[tokio::test]
async fn a_damaged_file_of_the_cache_is_compiled_anew_and_replaced() {
    let (_parent, directory) = cache_directory();
    let bytes = component("", "(call $ok)");
    Sandbox::new(cached(&directory)).unwrap().load(&bytes).unwrap();
    let [file] = &compiled_files(&directory)[..] else { panic!("there is one file") };
    let whole = fs::read(file).unwrap();
    let mut changed = whole.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    let mut resigned = vec![0; 32];
    resigned.extend_from_slice(&whole[32..]);
    for damaged in [changed, resigned, whole[..100].to_vec(), Vec::new()] {
        fs::write(file, damaged).unwrap();
        let sandbox = Sandbox::new(cached(&directory)).unwrap();
        let loaded = sandbox.load(&bytes).unwrap();
        assert!(!loaded.is_from_cache());
        assert_eq!(WasmReceiver::new(sandbox, loaded, options()).unwrap().receive(message("m", 1, "")).await, Ok(()));
        assert!(Sandbox::new(cached(&directory)).unwrap().load(&bytes).unwrap().is_from_cache());
    }
}

#[test]
fn a_file_of_the_cache_that_was_renamed_to_another_component_is_not_run() {
    let (_parent, directory) = cache_directory();
    let (one, other) = (component("", "(call $ok)"), component("", "unreachable"));
    let sandbox = Sandbox::new(cached(&directory)).unwrap();
    sandbox.load(&one).unwrap();
    let one_file = compiled_files(&directory).pop().unwrap();
    sandbox.load(&other).unwrap();
    let other_file = compiled_files(&directory).into_iter().find(|file| *file != one_file).unwrap();
    fs::copy(other_file, one_file).unwrap();
    assert!(!sandbox.load(&one).unwrap().is_from_cache());
}

#[test]
fn a_directory_that_others_can_write_is_no_cache() {
    let (_parent, directory) = cache_directory();
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o770)).unwrap();
    let Err(error) = Sandbox::new(cached(&directory)) else { panic!("it was used") };
    assert!(error.to_string().contains("cache"), "{error}");
}

#[test]
fn a_key_that_others_can_read_is_no_key() {
    let (_parent, directory) = cache_directory();
    Sandbox::new(cached(&directory)).unwrap();
    for entry in fs::read_dir(&directory).unwrap() {
        fs::set_permissions(entry.unwrap().path(), fs::Permissions::from_mode(0o644)).unwrap();
    }
    assert!(Sandbox::new(cached(&directory)).is_err());
}

#[tokio::test]
async fn guests_run_under_every_profile() {
    let profiles = [(Profile::Guard, false), (Profile::Guard, true), (Profile::Bounds, false)];
    for (profile, hostile) in profiles {
        let options_of_engine = EngineOptions { pool_instances: 2, profile, hostile, ..EngineOptions::default() };
        let sandbox = Sandbox::new(options_of_engine).unwrap();
        let loaded = sandbox.load(&core_module("", "(call $ok)")).unwrap();
        let receiver = WasmReceiver::new(sandbox, loaded, options()).unwrap();
        assert_eq!(receiver.receive(message("m", 1, "")).await, Ok(()), "{profile:?} hostile={hostile}");
    }
}
