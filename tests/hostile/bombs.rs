//! Components that are dear to compile.

use crate::guests::*;
use crate::loading::{files, refused_while_the_old_version_runs};

#[test]
fn a16_components_beyond_what_is_compiled_at_all_are_refused_when_they_are_looked_through() {
    refused_while_the_old_version_runs(
        "",
        &files(&[
            (A16_TYPES, "compile-limit: more than 10000 types"),
            (A16_FUNCTION, "compile-limit: a function has more than 1MiB of code"),
            (A16_COMPONENTS, "compile-limit: nested deeper than 16"),
        ]),
    );
}

#[test]
fn a16_a_component_that_takes_too_long_to_compile_is_refused() {
    let words = "compile-limit: compiling used more than 1s of CPU time";
    refused_while_the_old_version_runs("load = { compile_cpu = \"1s\" }", &files(&[(A16_LOOPS, words)]));
    let words = "compile-limit: compiling took longer than 500ms";
    refused_while_the_old_version_runs("load = { compile_wall = \"500ms\" }", &files(&[(A16_LOOPS, words)]));
}

#[test]
fn a16_a_component_that_takes_too_much_memory_to_compile_is_refused() {
    let words = "compile-limit: compiling used more than 256MiB of memory";
    refused_while_the_old_version_runs("load = { compile_memory = \"256MiB\" }", &files(&[(A16_NESTING, words)]));
}
