//! A component is looked through before it is compiled: it is refused in words, or within the limits and as it was.
#![no_main]

use wasmpost_sandbox::component_of;

const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
/// The section of a component that is a core module.
const CORE_MODULE: u8 = 1;

/// A component that has these bytes as its only core module.
fn around(module: &[u8]) -> Vec<u8> {
    let mut component = [COMPONENT, &[CORE_MODULE]].concat();
    let mut length = module.len();
    while length > 0x7f {
        component.push(length as u8 | 0x80);
        length >>= 7;
    }
    component.push(length as u8);
    component.extend(module);
    component
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let component = if bytes.starts_with(COMPONENT) { bytes.to_vec() } else { around(bytes) };
    match component_of(&component) {
        Ok(same) => assert_eq!(same, component),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
