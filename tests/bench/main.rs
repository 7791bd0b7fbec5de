//! Measures the host against the raw loops below it, side by side in one run: wasmtime alone on the same component and
//! body, and SQLite alone on the same messages and durability. Only the ratios count; machines differ and are noisy.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::indexing_slicing)] // A program for people to look at.

mod durable;
mod guests;

use std::time::Duration;

/// The size of each body, in bytes.
const BODY_BYTES: usize = 1024;

fn main() {
    let name = std::env::args().nth(1).filter(|name| !name.starts_with('-'));
    let wanted = |group: &str| name.as_deref().is_none_or(|name| name == group);
    println!("bodies of {BODY_BYTES} bytes; medians of interleaved rounds; [lowest to highest]\n");
    if wanted("guests") {
        guests::run();
    }
    if wanted("durable") {
        durable::run();
    }
}

/// Rounds of one variant: the time of each for one message.
#[derive(Default)]
struct Rounds(Vec<Duration>);

impl Rounds {
    fn add(&mut self, whole: Duration, messages: usize) {
        self.0.push(whole / u32::try_from(messages).unwrap());
    }

    fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort();
        sorted[sorted.len() / 2].as_secs_f64()
    }

    fn print(&self, name: &str, base: &Rounds) {
        let micros = |duration: &Duration| duration.as_secs_f64() * 1e6;
        let (lowest, highest) = (self.0.iter().min().unwrap(), self.0.iter().max().unwrap());
        println!(
            "{name:<46} {:>8.2} µs/message {:>9.0} messages/s  [{:.2} to {:.2}]  {:.2} of raw",
            self.median() * 1e6,
            1.0 / self.median(),
            micros(lowest),
            micros(highest),
            base.median() / self.median(),
        );
    }
}
