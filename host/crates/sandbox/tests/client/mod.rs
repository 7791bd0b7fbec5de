//! A guest that sends requests, and what it is granted.

use std::sync::Arc;

use wasmpost_msg::{Publication, ReceiveError, Receiver};
use wasmpost_sandbox::{EngineOptions, Limits, Network, Sandbox, WasmReceiver};

use crate::guest::{built, message, options};
use crate::web::{Names, Server};

/// A place to send requests from.
#[derive(Default)]
pub(crate) struct Client {
    pub(crate) grants: Vec<String>,
    pub(crate) names: Arc<Names>,
    pub(crate) authorities: Vec<Vec<u8>>,
    pub(crate) limits: Limits,
}

type Result<T = Publication> = std::result::Result<T, ReceiveError>;

impl Client {
    pub(crate) fn granted(grants: &[&str]) -> Self {
        Self { grants: grants.iter().map(|grant| (*grant).to_owned()).collect(), ..Self::default() }
    }

    /// Granted the address of a server itself.
    pub(crate) fn of(server: &Server) -> Self {
        Self::granted(&[&server.url("")])
    }

    pub(crate) fn naming(mut self, names: Names) -> Self {
        self.names = Arc::new(names);
        self
    }

    pub(crate) fn limited(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    /// The messages that the guest publishes for a message with these attributes.
    pub(crate) async fn run(&self, attributes: &[(&str, &str)]) -> Result<Vec<Publication>> {
        let resolver = Arc::clone(&self.names) as _;
        let network = Network { resolver, authorities: self.authorities.clone() };
        let sandbox = Sandbox::new(EngineOptions { pool_instances: 4, network, ..EngineOptions::default() }).unwrap();
        let mut options = options();
        options.limits = self.limits.clone();
        options.grants.publish = vec!["out".parse().unwrap()];
        options.grants.http = self.grants.iter().map(|grant| grant.parse().unwrap()).collect();
        let loaded = sandbox.load(&built("a09-fetching")).unwrap();
        let mut message = message("m1", 1, "");
        for (name, value) in attributes {
            message.attributes.set(name, *value);
        }
        let context = message.context.clone();
        WasmReceiver::new(sandbox, loaded, options).unwrap().receive(message).await?;
        Ok(context.outbox().take())
    }

    /// The response that the guest got.
    pub(crate) async fn fetch(&self, url: &str, more: &[(&str, &str)]) -> Result {
        let published = self.run(&[&[("Url", url)], more].concat()).await?;
        Ok(published.into_iter().next().unwrap())
    }

    /// The error that the guest got instead of a response.
    pub(crate) async fn refused(&self, url: &str, more: &[(&str, &str)]) -> String {
        match self.fetch(url, more).await {
            Ok(response) => panic!("{url} answered {response:?}"),
            Err(error) => error.text().to_owned(),
        }
    }
}
