//! Loading: components that are accepted, those that are refused, and the cache.
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
fn anything_but_a_plain_file_is_refused_by_name_without_being_read() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("guest.wasm");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    for (path, kind) in [(&*fifo, "a pipe"), (Path::new("/dev/zero"), "a device"), (directory.path(), "a directory")] {
        let Err(error) = sandbox().load_file(path) else { panic!("it was loaded") };
        let text = error.to_string();
        assert!(text.contains(kind) && text.contains(&format!("{path:?}")), "{text}");
    }
}

#[test]
fn a_file_behind_two_links_is_loaded_and_one_that_is_too_large_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let place = |name| directory.path().join(name);
    fs::write(place("file"), component("", "(call $ok)")).unwrap();
    std::os::unix::fs::symlink("file", place("one")).unwrap();
    std::os::unix::fs::symlink("one", place("two")).unwrap();
    sandbox().load_file(&place("two")).unwrap();
    // Empty but for its size, which reading it would have to take.
    fs::File::create(place("large")).unwrap().set_len(1 << 40).unwrap();
    let Err(error) = sandbox().load_file(&place("large")) else { panic!("it was loaded") };
    assert!(error.to_string().contains("compile-limit: file has more than 64MiB"), "{error}");
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
    // At the top level a section that begins with 0 is a custom one: without those at its end the component is whole.
    for length in (0..whole.len()).step_by(7).filter(|length| whole[*length] != 0) {
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
    let known = b"wasmpost:messaging/types@0.1.0";
    let unknown = b"wasmpost:messaging/moods@0.1.0";
    let mut at = 0;
    while let Some(found) = whole[at..].windows(known.len()).position(|window| window == known) {
        whole[at + found..at + found + known.len()].copy_from_slice(unknown);
        at += found + known.len();
    }
    assert_refused(&whole, &["wasmpost:messaging/moods@0.1.0"]);
}

#[test]
fn a_text_that_a_file_makes_long_is_cut() {
    let name = "n".repeat(90_000);
    let text = format!("(component (core module (import {name:?} \"f\" (func))) (core instance (instantiate 0)))");
    let refusal = refusal(&wat::parse_str(text).unwrap());
    assert!(refusal.len() < 3_000 && refusal.contains("left out"), "{} bytes", refusal.len());
    let exports: String = (0..900).map(|number| format!("(export \"e{number}\" (type 0))")).collect();
    let refusal = self::refusal(&wat::parse_str(format!("(component (type u8) {exports})")).unwrap());
    assert!(refusal.len() < 6_000 && refusal.contains("e0, e1") && refusal.contains("left out"), "{refusal}");
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
    let one = component("", "(call $ok)");
    let other = component("", "unreachable");
    let sandbox = Sandbox::new(cached(&directory)).unwrap();
    sandbox.load(&one).unwrap();
    let one_file = compiled_files(&directory).pop().unwrap();
    sandbox.load(&other).unwrap();
    let other_file = compiled_files(&directory).into_iter().find(|file| *file != one_file).unwrap();
    fs::copy(other_file, one_file).unwrap();
    assert!(!sandbox.load(&one).unwrap().is_from_cache());
}

/// Whether the component was taken from a cache that is at the directory, by a sandbox of its own.
fn is_cached(directory: &Path, bytes: &[u8]) -> bool {
    Sandbox::new(cached(directory)).unwrap().load(bytes).unwrap().is_from_cache()
}

#[tokio::test]
async fn without_a_cache_that_can_be_used_components_are_compiled_and_the_reason_is_told() {
    let parent = tempfile::tempdir().unwrap();
    let place = |name| parent.path().join(name);
    fs::write(place("file"), "").unwrap();
    fs::create_dir(place("open")).unwrap();
    fs::set_permissions(place("open"), fs::Permissions::from_mode(0o770)).unwrap();
    let bytes = component("", "(call $ok)");
    for (directory, fault) in [
        (place("file"), "Not a directory"),
        (place("file/below"), "Not a directory"),
        (place("open"), "mode 0700"),
        ("/proc/nowhere".into(), "No such file"),
    ] {
        for _ in 0..2 {
            let sandbox = Sandbox::new(cached(&directory)).unwrap();
            let told = sandbox.cache_fault().unwrap().to_owned();
            for word in [fault, "host.cache_dir", "XDG_CACHE_HOME", directory.to_str().unwrap()] {
                assert!(told.contains(word), "{word:?} is not in {told:?}");
            }
            let loaded = sandbox.load(&bytes).unwrap();
            assert!(!loaded.is_from_cache(), "{directory:?}");
            assert_eq!(
                WasmReceiver::new(sandbox, loaded, options()).unwrap().receive(message("m", 1, "")).await,
                Ok(())
            );
        }
    }
}

#[test]
fn a_key_that_cannot_be_used_is_made_anew_and_the_cache_goes_on() {
    type Break = fn(&Path);
    let breaks: [(&str, Break); 7] = [
        ("read by others", |key| fs::set_permissions(key, fs::Permissions::from_mode(0o644)).unwrap()),
        ("empty", |key| fs::write(key, "").unwrap()),
        ("too long", |key| fs::write(key, [0; 33]).unwrap()),
        ("a second name", |key| fs::hard_link(key, key.with_extension("other")).unwrap()),
        ("a link", |key| {
            fs::rename(key, key.with_extension("moved")).unwrap();
            std::os::unix::fs::symlink("key.moved", key).unwrap();
        }),
        ("a pipe", |key| put_fifo(key)),
        ("a directory", |key| {
            fs::remove_file(key).unwrap();
            fs::create_dir(key).unwrap();
            fs::write(key.join("inside"), "").unwrap();
        }),
    ];
    let bytes = component("", "(call $ok)");
    for (how, broken) in breaks {
        let (_parent, directory) = cache_directory();
        assert!(!is_cached(&directory, &bytes) && is_cached(&directory, &bytes));
        broken(&directory.join("key"));
        assert!(!is_cached(&directory, &bytes), "{how}: what another key vouched for was run");
        assert!(is_cached(&directory, &bytes), "{how}: the new key is not kept");
    }
}

fn put_fifo(path: &Path) {
    drop(fs::remove_file(path));
    rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
}

#[test]
fn a_file_of_the_cache_that_is_not_ours_alone_is_compiled_anew_and_replaced() {
    type Break = fn(&Path);
    let breaks: [(&str, Break); 6] = [
        ("a second name", |file| fs::hard_link(file, file.with_extension("other")).unwrap()),
        ("written by others", |file| fs::set_permissions(file, fs::Permissions::from_mode(0o620)).unwrap()),
        ("a link", |file| {
            fs::rename(file, file.with_extension("moved")).unwrap();
            std::os::unix::fs::symlink(file.with_extension("moved"), file).unwrap();
        }),
        ("a pipe", |file| put_fifo(file)),
        ("a directory", |file| {
            fs::remove_file(file).unwrap();
            fs::create_dir(file).unwrap();
            fs::write(file.join("inside"), "").unwrap();
        }),
        ("a link to a device", |file| {
            fs::remove_file(file).unwrap();
            std::os::unix::fs::symlink("/dev/zero", file).unwrap();
        }),
    ];
    let bytes = component("", "(call $ok)");
    for (how, broken) in breaks {
        let (_parent, directory) = cache_directory();
        assert!(!is_cached(&directory, &bytes) && is_cached(&directory, &bytes));
        broken(&compiled_files(&directory)[0]);
        assert!(!is_cached(&directory, &bytes), "{how}: it was run");
        assert!(is_cached(&directory, &bytes), "{how}: it was not replaced");
    }
}

#[tokio::test]
async fn a_component_from_the_cache_does_not_change_with_its_file() {
    let (_parent, directory) = cache_directory();
    let bytes = component("", "(call $ok)");
    Sandbox::new(cached(&directory)).unwrap().load(&bytes).unwrap();
    let sandbox = Sandbox::new(cached(&directory)).unwrap();
    let loaded = sandbox.load(&bytes).unwrap();
    assert!(loaded.is_from_cache());
    // Written into the file itself, so that whoever had mapped it would run this.
    let file = fs::OpenOptions::new().write(true).open(&compiled_files(&directory)[0]).unwrap();
    let size = usize::try_from(file.metadata().unwrap().len()).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &vec![0xcc; size], 0).unwrap();
    let receiver = WasmReceiver::new(sandbox, loaded, options()).unwrap();
    assert_eq!(receiver.receive(message("m", 1, "")).await, Ok(()));
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
