//! Which proposals to WebAssembly a component can use: what the book says, tried.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

mod guest;

use std::collections::BTreeSet;

use guest::sandbox;

/// A module that is valid with the proposal and not without it.
const MODULES: &[(&str, &str)] = &[
    ("mutable globals", r#"(global (export "g") (mut i32) (i32.const 0))"#),
    ("sign extension", "(func (param i32) (drop (i32.extend8_s (local.get 0))))"),
    ("saturating conversions", "(func (param f32) (drop (i32.trunc_sat_f32_s (local.get 0))))"),
    ("multi-value", "(func (result i32 i32) (i32.const 1) (i32.const 2))"),
    ("bulk memory", "(memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 1)))"),
    ("reference types", "(table 1 externref) (func (result externref) (table.get 0 (i32.const 0)))"),
    ("SIMD", "(func (param v128) (drop (i32x4.add (local.get 0) (local.get 0))))"),
    ("relaxed SIMD", "(func (param v128) (drop (i8x16.relaxed_swizzle (local.get 0) (local.get 0))))"),
    ("tail calls", "(func $f (return_call $f))"),
    ("extended constants", "(global i32 (i32.add (i32.const 1) (i32.const 2)))"),
    ("exceptions", "(tag (param i32))"),
    ("gc", "(type (struct (field i32)))"),
    ("function references", "(type $f (func)) (func (param (ref $f)) (call_ref $f (local.get 0)))"),
    ("memory64", "(memory i64 1)"),
    ("threads", "(memory 1 1 shared)"),
    ("multiple memories", "(memory 1) (memory 1)"),
    ("custom page sizes", "(memory 1 (pagesize 1))"),
    ("stack switching", "(type $f (func)) (type $c (cont $f))"),
    (
        "wide arithmetic",
        "(func (param i64 i64 i64 i64) (result i64 i64) (i64.add128 (local.get 0) (local.get 1) (local.get 2) (local.get 3)))",
    ),
];

/// The proposals in the row of the book's table that begins so.
fn told(row: &str) -> BTreeSet<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/reference/webassembly.md");
    let page = std::fs::read_to_string(page).unwrap();
    let start = format!("| {row} | ");
    let line = page.lines().find_map(|line| line.strip_prefix(&start)).unwrap();
    line.trim_end_matches(" |").split(", ").map(str::to_owned).collect()
}

fn refusal(text: &str) -> String {
    let bytes = wat::parse_str(text).unwrap();
    sandbox().load(&bytes).map(drop).unwrap_err().to_string()
}

#[test]
fn a_component_can_use_the_proposals_that_the_book_says_and_is_told_the_others_by_name() {
    let mut on = BTreeSet::new();
    let mut off = BTreeSet::new();
    for (name, module) in MODULES {
        let refusal = refusal(&format!("(component (core module {module}))"));
        if refusal.contains("exports no receiver") {
            // It was compiled, and lacks nothing but what this is not about.
            on.insert((*name).to_owned());
        } else {
            let names: Vec<_> = name.split(" and ").collect();
            assert_eq!(refusal, format!("needs {}, which this host does not offer", names.join(" and ")));
            off.insert((*name).to_owned());
        }
    }
    assert_eq!((on, off), (told("offered"), told("switched off")));
}

#[test]
fn a_component_that_needs_several_is_told_all_of_them() {
    let text = "(component (core module (tag)) (core module (memory i64 1)))";
    assert_eq!(refusal(text), "needs exceptions and memory64, which this host does not offer");
}

#[test]
fn a_core_module_is_told_what_it_needs_before_it_is_joined_with_anything() {
    for (memory, name) in [("i64 1", "memory64"), ("1 1 shared", "threads")] {
        let text = format!(
            r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
                 (memory (export "memory") {memory}) (func (export "_start")))"#
        );
        assert_eq!(refusal(&text), format!("needs {name}, which this host does not offer"));
    }
}

#[test]
fn a_command_that_imports_nothing_is_a_command() {
    let bytes = wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start")))"#).unwrap();
    assert_eq!(sandbox().load(&bytes).unwrap().worlds(), ["wasi:cli/command@0.2"]);
}

#[test]
fn a_core_module_that_is_no_command_is_told_why() {
    let function = |from: &str| format!(r#"(module (import "{from}" "f" (func)) (func (export "_start")))"#);
    assert!(refusal(&function("env")).contains("imports from elsewhere"), "{}", refusal(&function("env")));
    let library = r#"(module (import "wasi_snapshot_preview1" "sched_yield" (func (result i32))))"#;
    assert!(refusal(library).contains("exports no _start"), "{}", refusal(library));
}
