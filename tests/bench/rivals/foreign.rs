//! Queues of others, each with a handler in Go (`tests/peers/durable`) and, where it has one, its server.

use std::fmt;
use std::process::Command;
use std::time::Duration;

use wasmpost_tests::servers::{NatsServer, PostgresServer, RedisServer};
use wasmpost_tests::target;

use super::Rival;
use crate::BODY_BYTES;
use crate::measure::Sample;
use crate::peers::{Piped, tree_cpu};

/// A queue of others.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Watermill,
    Redis,
    Nats,
}

pub(super) const KINDS: &[Kind] = &[Kind::Watermill, Kind::Redis, Kind::Nats];

pub(super) struct Foreign {
    kind: Kind,
    client: Piped,
    server: Server,
}

enum Server {
    Postgres(PostgresServer),
    Redis(RedisServer),
    Nats(NatsServer),
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.id())
    }
}

impl Kind {
    fn id(self) -> &'static str {
        match self {
            Self::Watermill => "watermill",
            Self::Redis => "redis",
            Self::Nats => "nats",
        }
    }
}

impl Foreign {
    /// Starts the server and the client; an error tells what is missing.
    pub(super) async fn start(kind: Kind) -> Result<Self, String> {
        let program = target().join("peers/durable");
        if !program.exists() {
            return Err("not built (tests/peers/setup.sh, which needs Go)".to_owned());
        }
        let (server, address) = match kind {
            Kind::Watermill => {
                let server = PostgresServer::start().await?;
                let address = server.url();
                (Server::Postgres(server), address)
            }
            Kind::Redis => {
                let server = RedisServer::start().await?;
                let address = server.address();
                (Server::Redis(server), address)
            }
            Kind::Nats => {
                let server = NatsServer::start().await?;
                let address = server.url();
                (Server::Nats(server), address)
            }
        };
        let mut client = Piped::start(Command::new(program).args([kind.id(), &address, &BODY_BYTES.to_string()]));
        match client.line().as_str() {
            "ready" => Ok(Self { kind, client, server }),
            other => Err(format!("client is not ready: {other}")),
        }
    }

    fn server_id(&self) -> u32 {
        match &self.server {
            Server::Postgres(server) => server.id(),
            Server::Redis(server) => server.id(),
            Server::Nats(server) => server.id(),
        }
    }

    fn cpu(&self) -> Duration {
        tree_cpu(self.client.id()) + tree_cpu(self.server_id())
    }

    fn ask(&mut self, command: &str) -> Vec<u64> {
        self.client.write(format!("{command}\n").as_bytes());
        let line = self.client.line();
        let numbers: Result<Vec<u64>, _> = line.split(' ').map(str::parse).collect();
        assert!(numbers.is_ok(), "{}: {command:?} was answered with {line:?}", self.kind);
        numbers.unwrap()
    }

    fn timed(&mut self, command: &str) -> Sample {
        let before = self.cpu();
        let nanos = self.ask(command);
        Sample { wall: Duration::from_nanos(nanos[0]), cpu: self.cpu() - before }
    }
}

impl Rival for Foreign {
    fn name(&self) -> (&'static str, String) {
        let name = match self.kind {
            Kind::Watermill => "Watermill with Postgres, handler in Go",
            Kind::Redis => "Redis Streams, appendfsync always, worker in Go",
            Kind::Nats => "NATS JetStream, sync_interval always, worker in Go",
        };
        (self.kind.id(), name.to_owned())
    }

    fn publish(&mut self, messages: usize) -> Sample {
        self.timed(&format!("publish {messages}"))
    }

    fn serve(&mut self, messages: usize) -> Sample {
        self.timed(&format!("serve {messages}"))
    }

    fn latency(&mut self, rate: usize, duration: Duration) -> Option<[f64; 3]> {
        let nanos = self.ask(&format!("latency {rate} {}", duration.as_secs()));
        Some([0, 1, 2].map(|at| nanos[at] as f64 / 1e3))
    }
}
