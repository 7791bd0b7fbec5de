//! Proposals to WebAssembly that are switched off, so that a file which needs one is told which.

use wasmparser::{Validator, WasmFeatures};

/// The proposals that [`config_to_compile`](crate::engine::config_to_compile) switches off, by their names in
/// docs/reference/webassembly.md.
const OFF: &[(&str, WasmFeatures)] = &[
    ("exceptions", WasmFeatures::EXCEPTIONS.union(WasmFeatures::LEGACY_EXCEPTIONS)),
    ("gc", WasmFeatures::GC),
    ("function references", WasmFeatures::FUNCTION_REFERENCES),
    ("memory64", WasmFeatures::MEMORY64),
    ("threads", WasmFeatures::THREADS.union(WasmFeatures::SHARED_EVERYTHING_THREADS)),
    ("custom page sizes", WasmFeatures::CUSTOM_PAGE_SIZES),
    ("stack switching", WasmFeatures::STACK_SWITCHING),
    ("wide arithmetic", WasmFeatures::WIDE_ARITHMETIC),
];

/// The features that the engine accepts by default, beside those that are switched off.
const ON: WasmFeatures = WasmFeatures::WASM3.union(WasmFeatures::COMPONENT_MODEL);

/// The proposals without which a file that was refused is no valid one, and with which it is. It is as much work as
/// compiling begins with, a few times over, and is done where that was.
pub(super) fn needed(file: &[u8]) -> Option<String> {
    let is_valid = |features| Validator::new_with_features(features).validate_all(file).is_ok();
    let all_off = OFF.iter().fold(WasmFeatures::empty(), |all, (_, features)| all | *features);
    let on = ON.union(WasmFeatures::CM_ASYNC) - all_off;
    if is_valid(on) || !is_valid(on | all_off) {
        return None;
    }
    let needed = OFF.iter().filter(|(_, features)| !is_valid((on | all_off) - *features));
    let names: Vec<_> = needed.map(|(name, _)| *name).collect();
    (!names.is_empty()).then(|| names.join(" and "))
}

/// Whether a component that was refused would not have been if it were let be asynchronous.
pub(super) fn is_asynchronous(component: &[u8]) -> bool {
    let is_valid = |asynchronous| {
        let mut features = WasmFeatures::default();
        features.set(WasmFeatures::CM_ASYNC, asynchronous);
        Validator::new_with_features(features).validate_all(component).is_ok()
    };
    !is_valid(false) && is_valid(true)
}
