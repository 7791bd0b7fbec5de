//! Memories that begin as the kernel's page of zeroes, so that it can tell which of their pages a guest changed.
//!
//! Between two guests the pool asks the kernel for the changed pages of a memory (`PAGEMAP_SCAN`) and writes only those
//! anew. The kernel counts a page that was never touched as changed, once a neighbour within the same two mebibytes was:
//! then nearly all of a memory would be written with zeroes for each message. A page that shows the kernel's page of zeroes
//! does not count as changed, so every memory of a new pool is made to show it.
#![allow(unsafe_code)]

use std::fs::File;
use std::ptr::null_mut;
use std::sync::OnceLock;

use rustix::ioctl::{Opcode, Updater, ioctl, opcode};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use wasmtime::{Engine, Instance, Module, Store};

/// How much of each memory is made so, in pages of WebAssembly (64 KiB): more than most guests begin with. The kernel
/// keeps a table of 4 KiB for it.
const PAGES: u8 = 32;
/// In how many memories of a pool at most. It takes its memories in order, so those beyond are rarely used.
const MEMORIES_MAX: u32 = 256;

/// Whether the kernel tells changed pages from pages of zeroes. Older ones do not know the question.
pub fn is_change_told() -> bool {
    static TOLD: OnceLock<bool> = OnceLock::new();
    *TOLD.get_or_init(|| try_scan().is_ok_and(|is_told| is_told))
}

/// Has the memories of an engine's pool show the page of zeroes, as long as no guest runs there.
///
/// # Errors
///
/// The pool has fewer memories, or smaller ones, than `memories` and `memory_max` (in bytes) say.
pub fn map_zeroes(engine: &Engine, memories: u32, memory_max: usize) -> wasmtime::Result<()> {
    if !is_change_told() {
        return Ok(());
    }
    let pages = u8::try_from(memory_max >> 16).unwrap_or(PAGES).min(PAGES);
    let module = Module::new(engine, one_memory(pages))?;
    // All of them live at a time, so that each has a memory of its own.
    let mut stores = Vec::new();
    for _ in 0..memories.min(MEMORIES_MAX) {
        let mut store = Store::new(engine, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        let memory = instance.get_memory(&mut store, "m").ok_or_else(|| wasmtime::Error::msg("no memory"))?;
        let bytes = memory.data_size(&store);
        // SAFETY: the memory is mapped as long as its store lives, and populating for reads changes nothing in it. An
        // error costs time later, nothing else.
        let _ = unsafe { madvise(memory.data_ptr(&store).cast(), bytes, Advice::LinuxPopulateRead) };
        stores.push(store);
    }
    Ok(())
}

/// `(module (memory (export "m") PAGES))`
fn one_memory(pages: u8) -> [u8; 20] {
    let mut module = *b"\0asm\x01\0\0\0\x05\x03\x01\0\0\x07\x05\x01\x01m\x02\0";
    if let Some(minimum) = module.get_mut(12) {
        *minimum = pages;
    }
    module
}

/// Of two pages that show zeroes one is written: only that one may count as changed.
fn try_scan() -> std::io::Result<bool> {
    let pagemap = File::open("/proc/self/pagemap")?;
    let page = rustix::param::page_size();
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the mapping is new, lies where the kernel wants it, and nothing else refers to it.
    unsafe {
        let pages = mmap_anonymous(null_mut(), 2 * page, protection, MapFlags::PRIVATE)?;
        let told = madvise(pages, 2 * page, Advice::LinuxPopulateRead).and_then(|()| {
            pages.cast::<u8>().write_volatile(1);
            changed(&pagemap, pages.addr(), 2 * page)
        });
        munmap(pages, 2 * page)?;
        Ok(told? == page)
    }
}

/// How many bytes the kernel counts as changed, as the pool asks it.
fn changed(pagemap: &File, start: usize, length: usize) -> rustix::io::Result<usize> {
    let mut regions = [Region::default(); 2];
    let mut scan = Scan {
        size: size_of::<Scan>() as u64,
        start: start as u64,
        end: (start + length) as u64,
        vec: regions.as_mut_ptr().addr() as u64,
        vec_len: regions.len() as u64,
        category_inverted: FILE | ZERO,
        category_mask: WRITTEN | FILE | ZERO,
        ..Scan::default()
    };
    // SAFETY: the kernel reads and writes a `Scan`, which says where the regions are and how many fit.
    unsafe { ioctl(pagemap, Updater::<PAGEMAP_SCAN, Scan>::new(&mut scan))? };
    Ok(regions.iter().map(|region| (region.end - region.start) as usize).sum())
}

const PAGEMAP_SCAN: Opcode = opcode::read_write::<Scan>(b'f', 16);
/// Kinds of pages: written to, of a file, and the kernel's one of zeroes.
const WRITTEN: u64 = 1 << 1;
const FILE: u64 = 1 << 2;
const ZERO: u64 = 1 << 5;

/// A request to the kernel: `struct pm_scan_arg` of `linux/fs.h`.
#[repr(C)]
#[derive(Default)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// The answer to it: `struct page_region`.
#[repr(C)]
#[derive(Default, Clone, Copy)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A fault fails the test.

    use super::*;
    use crate::engine::{EngineOptions, config_to_run, memories};
    use crate::guest::Calls;

    #[test]
    fn only_what_a_guest_wrote_counts_as_changed_between_two_instances() {
        if !is_change_told() {
            return; // Memory is given back to such a kernel.
        }
        let options = EngineOptions { pool_instances: 1, ..EngineOptions::default() };
        let engine = Engine::new(&config_to_run(&options, Calls::Synchronous)).unwrap();
        map_zeroes(&engine, memories(&options), options.memory_max.bytes()).unwrap();
        let writing =
            "(module (memory (export \"m\") 17) (func (export \"f\") (i32.store8 (i32.const 1048576) (i32.const 1))))";
        let module = Module::new(&engine, wat::parse_str(writing).unwrap()).unwrap();
        let pagemap = File::open("/proc/self/pagemap").unwrap();
        for _ in 0..3 {
            let mut store = Store::new(&engine, ());
            store.set_epoch_deadline(1);
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            let memory = instance.get_memory(&mut store, "m").unwrap();
            assert_eq!(memory.data(&store).get(1 << 20), Some(&0), "what the instance before wrote is gone");
            instance.get_typed_func::<(), ()>(&mut store, "f").unwrap().call(&mut store, ()).unwrap();
            let told = changed(&pagemap, memory.data_ptr(&store).addr(), memory.data_size(&store)).unwrap();
            assert_eq!(told, rustix::param::page_size());
        }
    }
}
