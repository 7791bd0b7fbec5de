//! Limits for components that are loaded, and for compiling them.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::quantity::{Size, Span};

/// Limits for components that are loaded, and for compiling them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LoadLimits {
    /// The size of the file.
    pub file: Size,
    /// The number of functions of all modules together.
    pub functions: u32,
    /// The code of one function.
    pub function: Size,
    /// The number of types of all modules and components together.
    pub types: u32,
    /// Modules and components within one another.
    pub nesting: u32,
    /// Imports and exports of all modules and components together.
    pub imports_and_exports: u32,
    /// Core instances that one component is made of.
    pub core_instances: u32,
    /// CPU time of compiling one component.
    pub compile_cpu: Span,
    /// Memory of the process that compiles one component.
    pub compile_memory: Size,
    /// Time from the start of compiling to its end.
    pub compile_wall: Span,
}

impl Default for LoadLimits {
    /// 64 MiB, 50 000 functions of 1 MiB each, 10 000 types, nested 16 deep, 1 000 imports and exports, 32 core
    /// instances; 30 seconds of CPU time and 2 GiB to compile, within five minutes.
    ///
    /// # Examples
    ///
    /// ```
    /// use wasmpost_sandbox::{LoadLimits, Size};
    ///
    /// let limits = LoadLimits { file: Size(8 << 20), compile_cpu: "10s".parse()?, ..LoadLimits::default() };
    /// assert_eq!(limits.file.to_string(), "8MiB");
    /// # Ok::<(), String>(())
    /// ```
    fn default() -> Self {
        Self {
            file: Size(64 << 20),
            functions: 50_000,
            function: Size(1 << 20),
            types: 10_000,
            nesting: 16,
            imports_and_exports: 10_000,
            core_instances: 32,
            compile_cpu: Span(Duration::from_secs(30)),
            compile_memory: Size(2 << 30),
            // The compiler runs at the lowest priority: on a busy machine its CPU time comes late.
            compile_wall: Span(Duration::from_secs(300)),
        }
    }
}

impl LoadLimits {
    /// For what was scanned before, under limits that are not known here.
    pub(crate) fn none() -> Self {
        Self {
            file: Size(u64::MAX),
            functions: u32::MAX,
            function: Size(u64::MAX),
            types: u32::MAX,
            nesting: u32::MAX,
            imports_and_exports: u32::MAX,
            core_instances: u32::MAX,
            ..Self::default()
        }
    }
}
