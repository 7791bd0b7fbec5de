//! Observes a host from outside.

use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use wasmpost::control::RemoteBroker;
use wasmpost_delivery::{Broker, DeadLetterFilter};
use wasmpost_tests::prove::account::Fault;
use wasmpost_tests::prove::steady::Sample;

use super::traffic::Traffic;

/// How long the host may take for what is left at the end.
const PATIENCE: Duration = Duration::from_secs(120);

/// Samples the resources that the host holds. Purges the dead letters, as an operator would.
pub(crate) async fn sample(
    child: &Child,
    database: &Path,
    broker: &RemoteBroker,
    traffic: &mut Traffic,
    elapsed: Duration,
) -> Sample {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let field = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_start_matches(':').trim().split(' ').next().unwrap().parse().unwrap()
    };
    traffic.purged += broker.dead_letters().unwrap().purge(&DeadLetterFilter::default()).await.unwrap();
    let stats = broker.stats().await.unwrap();
    let tenants = broker.tenants().await.unwrap();
    let acked: u64 = stats.iter().map(|stats| stats.acked).sum();
    Sample {
        at_ms: elapsed.as_millis() as u64,
        memory_kib: field("RssAnon"),
        files: std::fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap().count() as u64,
        threads: field("Threads"),
        in_flight: tenants.iter().map(|tenant| tenant.in_flight as u64).sum(),
        instances_kib: tenants.iter().map(|tenant| tenant.memory_bytes / 1024).sum(),
        database_kib: kibibytes(&database.display().to_string()),
        log_kib: kibibytes(&format!("{}-wal", database.display())),
        waiting: stats.iter().map(|stats| stats.ready + stats.delayed + stats.leased).sum(),
        ended: acked + traffic.purged,
    }
}

fn kibibytes(path: &str) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len()) / 1024
}

/// Waits until every message has ended, as long as that may take.
pub(crate) async fn settled(broker: &RemoteBroker, traffic: &mut Traffic) -> Option<Fault> {
    let began = Instant::now();
    let mut fault = None;
    while fault.is_none() {
        let stats = broker.stats().await.unwrap();
        let left: u64 = stats.iter().map(|stats| stats.ready + stats.delayed + stats.leased).sum();
        if left == 0 {
            break;
        }
        if began.elapsed() > PATIENCE {
            fault = Some(Fault::new("I16", format!("{left} messages do not end: {stats:?}")));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    traffic.purged += broker.dead_letters().unwrap().purge(&DeadLetterFilter::default()).await.unwrap();
    fault
}

/// The faults of an idle host: it must have no delivery in flight, no instance but those that wait to be used again,
/// and each message counted once.
pub(crate) async fn idle(broker: &RemoteBroker, traffic: &Traffic) -> Vec<Fault> {
    let mut faults = Vec::new();
    for tenant in broker.tenants().await.unwrap() {
        if tenant.in_flight > 0 || tenant.tenant.is_some() && tenant.memory_bytes > 0 {
            faults.push(Fault::new("I12", format!("live at the end: {tenant:?}")));
        }
    }
    let stats = broker.stats().await.unwrap();
    let ours = |name: &str| traffic.sent.contains_key(name);
    let acked: u64 = stats.iter().filter(|stats| ours(&stats.queue)).map(|stats| stats.acked).sum();
    if acked + traffic.purged != traffic.sent() {
        let text = format!("{} sent, {acked} acked, {} dead", traffic.sent(), traffic.purged);
        faults.push(Fault::new("I1", text));
    }
    faults
}
