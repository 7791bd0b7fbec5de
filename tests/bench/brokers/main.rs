//! Measures the host on brokers that are servers against the bare loop of each one's client, side by side in one run: the
//! same server, the same messages, as many in flight. Only the ratios count; machines differ and are noisy.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::indexing_slicing)] // A program for people to look at.

mod bare_nats;
mod bare_rabbit;
mod host;

use std::time::Duration;

use host::Hosted;
use wasmpost_tests::servers::{Kind, Server};

const ROUNDS: usize = 9;
const MESSAGES: usize = 5_000;
const BODY_BYTES: usize = 1024;
/// How many messages are in flight, in the host and in the bare loop.
const IN_FLIGHT: usize = 64;

/// A way to use a broker that is measured: each takes all messages of a queue of its own once a round.
struct Variant {
    name: &'static str,
    rounds: Vec<Duration>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|verb| verb == "compile-component") {
        return wasmpost_sandbox::compile_for_parent(&arguments[1..]).unwrap();
    }
    let name = arguments.first().filter(|name| !name.starts_with('-'));
    println!(
        "{MESSAGES} messages of {BODY_BYTES} bytes, {IN_FLIGHT} in flight, a fresh instance for each; medians of \
         {ROUNDS} interleaved rounds\n"
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for kind in Kind::ALL.into_iter().filter(|kind| name.is_none_or(|name| kind.name() == name)) {
        match runtime.block_on(kind.start()) {
            Ok(server) => runtime.block_on(measure(kind, &server)),
            Err(missing) => println!("{}: {missing}\n", kind.name()),
        }
    }
}

async fn measure(kind: Kind, server: &Server) {
    let host = Hosted::new(&server.url()).await;
    let mut variants: Vec<_> = ["bare loop, acks not waited for", "bare loop, acks confirmed", "host"]
        .into_iter()
        .map(|name| Variant { name, rounds: Vec::new() })
        .collect();
    for round in 0..=ROUNDS {
        for (number, variant) in variants.iter_mut().enumerate() {
            let queue = format!("bench-{number}-{round}");
            let took = match (number, kind) {
                (2, _) => Some(host.drain(&queue).await),
                (_, Kind::Nats) => Some(bare_nats::drain(&server.url(), &queue, number == 1).await),
                (0, Kind::Rabbit) => Some(bare_rabbit::drain(&server.url(), &queue).await),
                // AMQP has no answer to an ack.
                (_, Kind::Rabbit) => None,
            };
            // The first round warms up.
            variant.rounds.extend(took.filter(|_| round > 0));
        }
    }
    host.close().await;
    println!("{}:", kind.name());
    let bare: Vec<f64> = variants[..2].iter().filter(|bare| !bare.rounds.is_empty()).map(Variant::median).collect();
    variants.iter().filter(|variant| !variant.rounds.is_empty()).for_each(|variant| variant.print(&bare));
    println!();
}

impl Variant {
    /// The time for one message, in seconds.
    fn median(&self) -> f64 {
        let mut sorted = self.rounds.clone();
        sorted.sort();
        sorted[sorted.len() / 2].as_secs_f64() / MESSAGES as f64
    }

    fn print(&self, bare: &[f64]) {
        let per_second = |whole: &Duration| MESSAGES as f64 / whole.as_secs_f64();
        let fastest = self.rounds.iter().min().unwrap();
        let slowest = self.rounds.iter().max().unwrap();
        let ratios: Vec<_> = bare.iter().map(|bare| format!("{:.2}", bare / self.median())).collect();
        println!(
            "  {:<32} {:>8.1} µs/message {:>8.0} messages/s  [{:.0} to {:.0}]  {} of bare",
            self.name,
            self.median() * 1e6,
            1.0 / self.median(),
            per_second(slowest),
            per_second(fastest),
            ratios.join(" and "),
        );
    }
}
