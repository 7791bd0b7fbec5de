//! Messages by HTTP: addresses that are bound before a host gives up the right to, and served once its brokers are open.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use wasmpost_delivery::Broker;
use wasmpost_ingress::{Bound, Endpoint, Ingress, ListenerOptions, allow_files};

use super::HostError;
use crate::config::{Config, IngressConfig};

/// The addresses of a configuration, bound and not served yet.
pub struct Sockets {
    bound: Mutex<Vec<(Bound, Vec<IngressConfig>)>>,
    /// The most connections, where the system lets there be fewer than are configured.
    allowed: Option<usize>,
}

impl std::fmt::Debug for Sockets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let addresses: Vec<_> = self.bound.lock().iter().map(|(bound, _)| bound.address()).collect();
        formatter.debug_tuple("Sockets").field(&addresses).finish()
    }
}

impl Sockets {
    /// Binds the addresses at which a configuration takes messages by HTTP.
    pub fn bind(config: &Config) -> Result<Self, HostError> {
        let mut listeners: Vec<(ListenerOptions, Vec<IngressConfig>)> = Vec::new();
        for one in &config.ingress {
            // A port that the system chooses is another one each time.
            let is_shared =
                |(other, _): &&mut (ListenerOptions, _)| *other == one.listener && other.address.port() != 0;
            match listeners.iter_mut().find(is_shared) {
                Some((_, ingress)) => ingress.push(one.clone()),
                None => listeners.push((one.listener.clone(), vec![one.clone()])),
            }
        }
        let connections = listeners.iter().map(|(listener, _)| listener.connections_max).sum();
        let allowed = if listeners.is_empty() { None } else { allow_files(connections) };
        let bind = |(mut listener, ingress): (ListenerOptions, Vec<IngressConfig>)| {
            listener.connections_max = listener.connections_max.min(allowed.unwrap_or(usize::MAX));
            let address = listener.address;
            let bound = Bound::bind(&listener).map_err(|source| HostError::Ingress { address, source })?;
            Ok((bound, ingress))
        };
        let bound = listeners.into_iter().map(bind).collect::<Result<_, HostError>>()?;
        Ok(Self { bound: Mutex::new(bound), allowed })
    }

    /// Serves them, each with the brokers that its paths name.
    pub(super) fn serve(&self, brokers: &BTreeMap<String, Arc<dyn Broker>>) -> Result<Vec<Ingress>, HostError> {
        if let Some(connections) = self.allowed {
            tracing::warn!(
                connections,
                "the system allows fewer open files than configured connections need; raise ulimit -n"
            );
        }
        let serve = |(bound, ingress): (Bound, Vec<IngressConfig>)| {
            let endpoint = |one: IngressConfig| {
                brokers.get(&one.broker).map(|broker| Endpoint::new(one.endpoint, Arc::clone(broker)))
            };
            let address = bound.address();
            let endpoints = ingress.into_iter().filter_map(endpoint).collect();
            Ingress::serve(bound, endpoints).map_err(|source| HostError::Ingress { address, source })
        };
        std::mem::take(&mut *self.bound.lock()).into_iter().map(serve).collect()
    }
}
