//! Checks that tenants cannot harm each other: topics are theirs, and their brokers enforce quotas.

use std::collections::BTreeMap;

use toml::Spanned;
use wasmpost_msg::tenant_of;

use super::raw::Source;
use super::{ConfigError, IngressConfig, ReceiverConfig};
use crate::registry::Address;
use crate::tenant::Tenant;

/// Checks that brokers keep the quotas that are asked for, and that a host whose tenants may attack asks for them.
/// `tables` tells where each tenant is described.
pub(super) fn check_quotas(
    source: &Source<'_>,
    brokers: &BTreeMap<String, Address>,
    (receivers, ingress): (&[ReceiverConfig], &[IngressConfig]),
    tenants: &BTreeMap<String, Tenant>,
    tables: &BTreeMap<String, Spanned<()>>,
    is_hostile: bool,
) -> Result<(), ConfigError> {
    for (name, tenant) in tenants {
        let Some(table) = tables.get(name) else { continue };
        let keeps = |address: &Address| address.scheme().is_ok_and(|scheme| scheme.keeps_quotas);
        let is_sent = |one: &IngressConfig, broker: &str| {
            one.broker == broker && tenant_of(&one.endpoint.topic) == Some(name.as_str())
        };
        let is_used = |broker: &String| {
            receivers.iter().any(|one| brings(one, broker, name)) || ingress.iter().any(|one| is_sent(one, broker))
        };
        let used = brokers.iter().filter(|(broker, _)| is_used(broker));
        let (keeping, others): (Vec<_>, Vec<_>) = used.partition(|(_, address)| keeps(address));
        let asks = |key: &str, is_set: bool| is_set.then(|| key.to_owned());
        let asked = asks("messages", tenant.messages.is_some()).or(asks("topics_max", tenant.topics_max.is_some()));
        if let (Some(asked), Some((broker, _))) = (asked, others.first()) {
            let fault = format!(
                "broker {broker:?} keeps no quotas of tenants; leave {asked} out of [tenants.{name}], or use a broker that \
                 keeps them for the queues of {name:?}"
            );
            return Err(source.fault(table, fault));
        }
        // Other brokers bound the messages that they hold.
        let is_bounded_elsewhere = keeping.is_empty() && !others.is_empty();
        if is_hostile && tenant.messages.is_none() && !is_bounded_elsewhere {
            let fault = format!(
                "tenant {name:?} has no quota of messages, which hostile = true asks for; write messages = 100000, or what \
                 fits, under [tenants.{name}]"
            );
            return Err(source.fault(table, fault));
        }
    }
    Ok(())
}

/// Whether a receiver brings messages of a tenant to a broker.
fn brings(receiver: &ReceiverConfig, broker: &str, tenant: &str) -> bool {
    let published_to = receiver.publish_broker.as_ref().unwrap_or(&receiver.broker);
    let is_its = |topic: &String| tenant_of(topic) == Some(tenant);
    let is_owner = receiver.tenant.as_deref() == Some(tenant);
    let takes = is_owner || receiver.queue.topics.iter().any(is_its);
    let grants = receiver.grants.publish.iter().any(|pattern| pattern.tenant() == Some(tenant));
    let publishes = is_owner || grants || receiver.output.as_ref().is_some_and(is_its);
    receiver.broker == broker && takes || published_to == broker && publishes
}
