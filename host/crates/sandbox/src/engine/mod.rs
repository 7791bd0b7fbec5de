//! Engines: their settings, the clock that interrupts guests, and the places for instances.

mod mapping;
mod places;
mod settings;
mod ticker;
mod zeroes;

pub(crate) use mapping::Mapped;
pub(crate) use places::{Live, Place, Places};
pub use settings::{BATCH_MAX, CONCURRENT_MAX, Code, Compiler, EngineOptions, Profile};
pub(crate) use settings::{config_to_compile, config_to_run, memories};
pub(crate) use ticker::Ticker;
pub use zeroes::{is_change_told, map_zeroes};
