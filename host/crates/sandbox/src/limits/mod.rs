//! Limits of a delivery and their counters: quantities, limits, memory and time.

mod limiter;
mod loading;
mod meter;
mod quantity;
mod rows;

pub(crate) use limiter::Limiter;
pub use limiter::MemoryBudget;
pub use loading::LoadLimits;
pub(crate) use meter::{Charged, Meter, Metered, Work};
pub use quantity::{Size, Span};
pub use rows::{LimitCaps, LimitRow, Limits};
