//! RabbitMQ keeps what every broker promises.
#![allow(clippy::unwrap_used, clippy::panic)] // A fault fails the test.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use wasmpost_broker_rabbitmq::{RabbitBroker, RabbitOptions};
use wasmpost_delivery::conformance::{Harness, Time, cases};
use wasmpost_delivery::{Broker, Capabilities, Clock};
use wasmpost_tests::servers::virtual_hosts::{self, VirtualHost};

struct Rabbit(VirtualHost);

#[async_trait]
impl Harness for Rabbit {
    fn capabilities(&self) -> Capabilities {
        RabbitBroker::capabilities_of_all()
    }

    fn time(&self) -> Time {
        Time::Real(Duration::from_millis(300))
    }

    async fn broker(&self, clock: Clock) -> Arc<dyn Broker> {
        let options = RabbitOptions { clock, ..RabbitOptions::default() };
        RabbitBroker::open(&self.0.url(), options).await.expect("the server is there")
    }

    async fn another(&self, clock: Clock) -> Arc<dyn Broker> {
        self.broker(clock).await
    }

    fn restarts(&self) -> bool {
        true
    }

    /// The handle stays: it has to find its way back by itself.
    async fn restart(&self, broker: Arc<dyn Broker>, _: Clock) -> Arc<dyn Broker> {
        self.0.restart_server().await;
        broker
    }
}

fn main() {
    let any = Rabbit(VirtualHost::none());
    virtual_hosts::run(|server| {
        let fitting = cases().into_iter().filter(|case| case.fits(&any)).enumerate();
        let trial = |(number, case): (usize, wasmpost_delivery::conformance::Case)| {
            let name = format!("rabbitmq::{}", case.name);
            virtual_hosts::trial(name, server.clone(), move |server| async move {
                case.run(Arc::new(Rabbit(server.virtual_host(number)))).await;
            })
        };
        fitting.map(trial).collect()
    });
}
