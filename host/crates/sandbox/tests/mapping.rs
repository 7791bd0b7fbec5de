//! More components than may be mapped at a time.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

mod guest;

use std::path::Path;
use std::sync::Arc;

use guest::{component, message, options};
use wasmpost_msg::{Disposition, Reason, Receiver};
use wasmpost_sandbox::{EngineOptions, Sandbox, WasmReceiver};

const MAX: usize = 3;

/// A sandbox that maps so few, with a cache if a directory is given.
fn narrow(cache: Option<&Path>) -> Arc<Sandbox> {
    let cache_dir = cache.map(|directory| directory.join("cache"));
    let options =
        EngineOptions { cache_dir, components_mapped_max: MAX, pool_instances: 4, ..EngineOptions::default() };
    Sandbox::new(options).unwrap()
}

/// A component that nobody else has.
fn numbered(number: usize) -> Vec<u8> {
    component(&number.to_string(), "(call $ok)")
}

fn receivers(sandbox: &Arc<Sandbox>, count: usize) -> Vec<WasmReceiver> {
    let receiver = |number| {
        let loaded = sandbox.load(&numbered(number)).unwrap();
        WasmReceiver::new(Arc::clone(sandbox), loaded, options()).unwrap()
    };
    (0..count).map(receiver).collect()
}

#[tokio::test]
async fn all_of_them_receive_and_no_more_than_allowed_are_mapped() {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = narrow(Some(directory.path()));
    let receivers = receivers(&sandbox, 4 * MAX);
    assert_eq!(sandbox.components_mapped(), MAX);
    for _ in 0..2 {
        for receiver in &receivers {
            receiver.receive(message("a", 1, "")).await.unwrap();
            assert_eq!(sandbox.components_mapped(), MAX);
        }
    }
}

#[tokio::test]
async fn one_that_is_in_use_stays_and_those_that_are_not_go() {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = narrow(Some(directory.path()));
    let receivers = receivers(&sandbox, 4 * MAX);
    receivers[0].receive(message("a", 1, "")).await.unwrap();
    // A mapped component does not need the cache any more.
    std::fs::remove_dir_all(directory.path().join("cache")).unwrap();
    receivers[0].receive(message("a", 1, "")).await.unwrap();
}

#[tokio::test]
async fn a_message_whose_component_cannot_be_mapped_again_is_given_back_uncounted() {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = narrow(Some(directory.path()));
    let receivers = receivers(&sandbox, 4 * MAX);
    std::fs::remove_dir_all(directory.path().join("cache")).unwrap();
    let error = receivers[0].receive(message("a", 1, "")).await.unwrap_err();
    assert_eq!((error.disposition(), error.reason()), (Disposition::GiveBack, Reason::HostBusy));
    assert!(error.text().contains("cache"), "{}", error.text());
    // As the error says, loading it again helps.
    let again = sandbox.load(&numbered(0)).unwrap();
    let receiver = WasmReceiver::new(Arc::clone(&sandbox), again, options()).unwrap();
    receiver.receive(message("a", 1, "")).await.unwrap();
}

#[test]
fn the_same_component_loaded_again_is_the_one_that_is_loaded() {
    let sandbox = narrow(None);
    let loaded: Vec<_> = (0..4 * MAX).map(|_| sandbox.load(&numbered(0)).unwrap()).collect();
    assert_eq!(sandbox.components_mapped(), 1);
    assert_eq!(loaded.iter().filter(|loaded| !loaded.is_from_cache()).count(), 1, "it was compiled once");
    drop(loaded);
    assert_eq!(sandbox.components_mapped(), 0);
}

#[tokio::test]
async fn without_a_cache_as_many_are_loaded_and_receive() {
    let sandbox = narrow(None);
    let receivers = receivers(&sandbox, 4 * MAX);
    for _ in 0..2 {
        for receiver in &receivers {
            receiver.receive(message("a", 1, "")).await.unwrap();
            assert_eq!(sandbox.components_mapped(), MAX);
        }
    }
}

#[tokio::test]
async fn as_many_components_are_loaded_and_receive_without_a_cache() {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = narrow(Some(directory.path()));
    // Gone under the host, it can neither be written nor read.
    std::fs::remove_dir_all(directory.path().join("cache")).unwrap();
    for receiver in &receivers(&sandbox, 4 * MAX) {
        receiver.receive(message("a", 1, "")).await.unwrap();
    }
}
