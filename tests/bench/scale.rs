//! How a host starts and what it holds with many components and many tenants. Each measurement is a process of its own,
//! so that its memory is its own; the first of each kind compiles, the second loads from the cache.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::indexing_slicing)] // A program for people to look at.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use wasmpost::config::Config;
use wasmpost::delivery::Broker;
use wasmpost::host::Host;
use wasmpost::msg::{Attributes, Publication};
use wasmpost_tests::guest;

/// Tenants, components among them, and what that is called.
const SIZES: &[(usize, usize, &str)] = &[
    (1, 1, "1 tenant, 1 component"),
    (1_000, 1_000, "1 000 tenants, 1 000 components"),
    (10_000, 100, "10 000 tenants, 100 components"),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["compile-component", ..] => wasmpost_sandbox::compile_for_parent(&arguments[1..]).unwrap(),
        ["measure", directory, tenants, components] => {
            measure(Path::new(directory), tenants.parse().unwrap(), components.parse().unwrap());
        }
        _ => all(),
    }
}

fn all() {
    for (tenants, components, what) in SIZES {
        let directory = tempfile::tempdir().unwrap();
        write_components(directory.path(), *components);
        for state in ["compiled", "from the cache"] {
            let tenants = tenants.to_string();
            let components = components.to_string();
            let arguments = ["measure", directory.path().to_str().unwrap(), &tenants, &components];
            println!("{what}, {state}:");
            let ran = Command::new(std::env::current_exe().unwrap()).args(arguments).status().unwrap();
            assert!(ran.success());
        }
    }
}

/// Components that differ in a custom section.
fn write_components(directory: &Path, count: usize) {
    let original = std::fs::read(guest("webhook-triage")).unwrap();
    for number in 0..count as u64 {
        let mut component = original.clone();
        component.extend_from_slice(&[0, 10, 1, b'n']);
        component.extend_from_slice(&number.to_le_bytes());
        std::fs::write(directory.join(format!("{number}.wasm")), component).unwrap();
    }
}

fn measure(directory: &Path, tenants: usize, components: usize) {
    let mut text = format!("[brokers]\ndefault = \"memory:\"\n[host]\ncache_dir = {:?}\n", directory.join("cache"));
    (0..tenants).for_each(|tenant| text.push_str(&format!("[tenants.t{tenant}]\nmessages = 1000\n")));
    for tenant in 0..tenants {
        let component = directory.join(format!("{}.wasm", tenant % components));
        text.push_str(&format!("[[receivers]]\nqueue = \"in\"\ntenant = \"t{tenant}\"\ncomponent = {component:?}\n"));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let began = Instant::now();
        let config = Config::parse(&text, &directory.join("wasmpost.toml")).unwrap();
        let configured = began.elapsed();
        let host = Host::start(config).await.unwrap();
        let started = began.elapsed();
        let resident = resident();
        let broker = host.broker("default").unwrap();
        publish(&*broker, tenants).await;
        let serving = Instant::now();
        host.drained().await.unwrap();
        println!(
            "  configuration read {configured:.2?}, serving after {started:.2?}, resident {}; one message for each \
             tenant handled in {:.2?}, resident {}\n",
            mebibytes(resident),
            serving.elapsed(),
            mebibytes(self::resident())
        );
        host.stop().await.unwrap();
    });
}

async fn publish(broker: &dyn Broker, tenants: usize) {
    let publication = |tenant| Publication::new(format!("@t{tenant}/in"), Attributes::new(), "{}");
    for batch in (0..tenants).collect::<Vec<_>>().chunks(1000) {
        broker.publish(batch.iter().map(publication).collect()).await.unwrap();
    }
}

/// The memory that this process holds, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / (1 << 20) as f64)
}
