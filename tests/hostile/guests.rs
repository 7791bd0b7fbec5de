//! The hostile guests, a constant for each: `A01_LOOP` is `guests/hostile/examples/a01_loop.rs`, `A02_COPY` is
//! `guests/hostile/wat/a02_copy.wat`. One that no test names is dead code, which does not compile.
#![deny(dead_code)]

use std::path::PathBuf;

use wasmpost_tests::{Place, guest, root};
use wit_component::StringEncoding;

include!(concat!(env!("OUT_DIR"), "/hostile.rs"));

/// It has a package of its own, for the interfaces that it imports.
pub(crate) const A09_FETCHING: Hostile = Hostile::module("a09-fetching");

/// A guest that does harm.
#[derive(Clone, Copy)]
pub(crate) struct Hostile {
    /// The name of its file, and of its receiver and queue unless they get others.
    pub(crate) name: &'static str,
    /// In WebAssembly text, if it was not compiled with the other guests.
    text: Option<&'static str>,
}

impl Hostile {
    const fn module(name: &'static str) -> Self {
        Self { name, text: None }
    }

    const fn text(name: &'static str, text: &'static str) -> Self {
        Self { name, text: Some(text) }
    }

    /// The component itself, if it is in text.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        assembled(self.text.unwrap())
    }

    /// The file of the component.
    pub(crate) fn file(&self, place: &Place) -> PathBuf {
        match self.text {
            None => guest(self.name),
            Some(text) => place.write(&format!("{}.wasm", self.name), assembled(text)),
        }
    }
}

/// The component of a text, or its core module with the world that it implements.
fn assembled(text: &str) -> Vec<u8> {
    const LAYER: usize = 6;
    let mut wasm = wat::parse_str(repeated(text)).unwrap();
    if wasm[LAYER] == 0 {
        let mut resolve = wit_parser::Resolve::default();
        let (package, _) = resolve.push_dir(root().join("wit")).unwrap();
        let world = resolve.select_world(&[package], Some("plugin")).unwrap();
        wit_component::embed_component_metadata(&mut wasm, &resolve, world, StringEncoding::UTF8, false).unwrap();
    }
    wasm
}

/// The text with each piece between `(;repeat N;)` and `(;end;)` written N times.
fn repeated(text: &str) -> String {
    let mut pieces = text.split("(;repeat ");
    let mut whole = pieces.next().unwrap().to_owned();
    for piece in pieces {
        let (count, rest) = piece.split_once(";)").unwrap();
        let (repeated, rest) = rest.split_once("(;end;)").unwrap();
        whole += &repeated.repeat(count.parse().unwrap());
        whole += rest;
    }
    whole
}
