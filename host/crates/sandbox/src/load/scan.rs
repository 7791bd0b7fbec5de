//! Looking through a file before it is compiled: compiling is bounded by what is let through here.

use wasmparser::{Chunk, Encoding, Import, Parser, Payload, TypeRef};
use wasmtime::Engine;

use crate::error::LoadError;
use crate::limits::LoadLimits;

/// The findings of a scan of a file.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    pub(super) is_component: bool,
    /// The version that the file says of itself.
    pub(super) version: Option<String>,
    /// Whether a core module says which world it implements.
    pub(super) has_world: bool,
    pub(super) imports_preview1: bool,
    /// Whether a core module is a program rather than a library.
    pub(super) has_start: bool,
    /// Whether a core module imports something.
    pub(super) has_imports: bool,
    functions: u32,
    types: u32,
    imports_and_exports: u32,
    /// Of the module that is being looked at.
    memories: u32,
}

impl Scanned {
    /// The engine would take several memories in one module, since it makes such modules itself.
    fn add_memories(&mut self, count: u32) -> Result<(), LoadError> {
        self.memories = self.memories.saturating_add(count);
        if self.memories > 1 {
            return Err(LoadError::Needs { proposals: "multiple memories".into() });
        }
        Ok(())
    }
}

impl LoadLimits {
    /// Parses the whole file without building anything from it.
    pub(super) fn scan(&self, bytes: &[u8]) -> Result<Scanned, LoadError> {
        if bytes.len() as u64 > self.file.0 {
            return Err(LoadError::too_large(self.file));
        }
        if Engine::detect_precompiled(bytes).is_some() {
            return Err(LoadError::NotWasm("it is precompiled machine code; give the .wasm file itself".into()));
        }
        if !bytes.starts_with(b"\0asm") {
            let kind = if bytes.is_empty() { "it is empty" } else { "it does not begin with \\0asm" };
            return Err(LoadError::NotWasm(kind.into()));
        }
        let mut scanned = Scanned::default();
        let malformed = |error: wasmparser::BinaryReaderError| LoadError::Malformed(error.to_string());
        let mut parsers = vec![Parser::new(0)];
        let mut rest = bytes;
        while let Some(mut parser) = parsers.pop() {
            let (consumed, payload) = match parser.parse(rest, true).map_err(malformed)? {
                Chunk::Parsed { consumed, payload } => (consumed, payload),
                // All of the file is there, so there is nothing to wait for.
                Chunk::NeedMoreData(_) => return Err(LoadError::Malformed("unexpected end".into())),
            };
            let inner = match &payload {
                Payload::ModuleSection { parser, .. } | Payload::ComponentSection { parser, .. } => {
                    Some(parser.clone())
                }
                _ => None,
            };
            let ended = matches!(payload, Payload::End(_));
            self.count(&mut scanned, &payload, parsers.len())?;
            rest = rest.get(consumed..).unwrap_or_default();
            if !ended {
                parsers.push(parser);
            }
            parsers.extend(inner);
            if parsers.len() > self.nesting as usize {
                return Err(LoadError::Limit(format!("nested deeper than {}", self.nesting)));
            }
        }
        Ok(scanned)
    }

    fn count(&self, scanned: &mut Scanned, payload: &Payload<'_>, depth: usize) -> Result<(), LoadError> {
        match payload {
            Payload::Version { encoding, .. } => {
                scanned.memories = 0;
                scanned.is_component = if depth == 0 { *encoding == Encoding::Component } else { scanned.is_component };
            }
            Payload::MemorySection(memories) => scanned.add_memories(memories.count())?,
            Payload::TypeSection(types) => scanned.types = scanned.types.saturating_add(types.count()),
            Payload::ComponentTypeSection(types) => scanned.types = scanned.types.saturating_add(types.count()),
            Payload::CodeSectionStart { count, .. } => scanned.functions = scanned.functions.saturating_add(*count),
            Payload::CodeSectionEntry(body) if body.range().end - body.range().start > self.function.0 => {
                return Err(LoadError::Limit(format!("a function has more than {} of code", self.function)));
            }
            Payload::ImportSection(imports) => {
                let is_memory = |import: &Import<'_>| matches!(import.ty, TypeRef::Memory(_));
                let memories = imports.clone().into_imports().flatten().filter(is_memory).count();
                scanned.add_memories(u32::try_from(memories).unwrap_or(u32::MAX))?;
                scanned.imports_and_exports = scanned.imports_and_exports.saturating_add(imports.count());
                if depth == 0 {
                    scanned.has_imports |= imports.count() > 0;
                    scanned.imports_preview1 |= imports_from(imports, "wasi_snapshot_preview1");
                }
            }
            Payload::ExportSection(exports) => {
                scanned.imports_and_exports = scanned.imports_and_exports.saturating_add(exports.count());
                if depth == 0 {
                    scanned.has_start = exports.clone().into_iter().flatten().any(|export| export.name == "_start");
                }
            }
            Payload::ComponentImportSection(imports) => {
                scanned.imports_and_exports = scanned.imports_and_exports.saturating_add(imports.count());
            }
            Payload::ComponentExportSection(exports) => {
                scanned.imports_and_exports = scanned.imports_and_exports.saturating_add(exports.count());
            }
            Payload::CustomSection(section) if depth == 0 => match section.name() {
                "version" => scanned.version = std::str::from_utf8(section.data()).ok().map(short),
                name if name.starts_with("component-type") => scanned.has_world = true,
                _ => {}
            },
            _ => {}
        }
        let over = |what: &str, max: u32| Err(LoadError::Limit(format!("more than {max} {what}")));
        match () {
            () if scanned.functions > self.functions => over("functions", self.functions),
            () if scanned.types > self.types => over("types", self.types),
            () if scanned.imports_and_exports > self.imports_and_exports => {
                over("imports and exports", self.imports_and_exports)
            }
            () => Ok(()),
        }
    }
}

fn imports_from(imports: &wasmparser::ImportSectionReader<'_>, module: &str) -> bool {
    imports.clone().into_imports().flatten().any(|import| import.module == module)
}

fn short(version: &str) -> String {
    version.chars().filter(|letter| !letter.is_control()).take(64).collect()
}
