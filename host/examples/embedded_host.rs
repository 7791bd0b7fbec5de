//! A whole host inside of another program: a configuration, a component, and what the component answers.
#![allow(clippy::print_stdout)] // An example shows its steps.

use std::path::Path;

use wasmpost::config::Config;
use wasmpost::delivery::QueueSpec;
use wasmpost::host::Host;
use wasmpost::msg::{Attributes, Publication};
use wasmpost::sandbox::Compiler;

/// A command of WASI in WebAssembly text. It writes a line to its standard output, which is published to `greetings`.
const COMMAND: &str = r#"
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\08\00\00\00\18\00\00\00hello from the component")
  (func (export "_start")
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 100)))))
"#;

const CONFIGURATION: &str = r#"
[brokers]
default = "memory:"

[[receivers]]
queue = "names"
component = "greeter.wasm"
output = "greetings"
publish = ["greetings"]
limits = { cpu = "100ms", memory = "8MiB" }
"#;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let directory = std::env::temp_dir().join(format!("wasmpost-embedded-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    std::fs::write(directory.join("greeter.wasm"), wat::parse_str(COMMAND)?)?;
    let served = serve(&directory).await;
    std::fs::remove_dir_all(&directory)?;
    served
}

async fn serve(directory: &Path) -> anyhow::Result<()> {
    // Paths in the text are relative to the file that it is said to be from.
    let mut config = Config::parse(CONFIGURATION, &directory.join("wasmpost.toml"))?;
    // The command line compiles in a process of its own, which is this program there. A component that is trusted can be
    // compiled here.
    config.engine.compiler = Compiler::InProcess;
    config.engine.cache_dir = None;
    config.engine.pool_instances = 4;

    let host = Host::start(config).await?;
    let broker = host.broker("default").ok_or_else(|| anyhow::anyhow!("no receiver uses the default broker"))?;
    let greetings = broker.queue(QueueSpec::new("greetings")).await?;
    broker.publish(vec![Publication::new("names", Attributes::new(), "Ada")]).await?;

    for delivery in greetings.pull(1).await? {
        println!("{}: {}", delivery.topic, String::from_utf8_lossy(&delivery.body).trim_end());
        delivery.lease.ack(Vec::new()).await?;
    }
    host.drained().await?;
    host.stop().await?;
    println!("the host has stopped");
    Ok(())
}
