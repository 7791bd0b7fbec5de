// Sorts the webhooks of GitHub: each is published to the topic of its event, `github.<event>`.

import { get } from 'wasi:config/store@0.2.0-rc.1';
import { log } from 'wasi:logging/logging@0.1.0-draft';
import { publish } from 'wasmpost:messaging/topic@0.1.0';

// Attributes that go on to the next topic.
const FORWARDED = ['Content-Type', 'X-Github-Delivery', 'X-Github-Event', 'X-Github-Tag'];

// Throwing a failure ends the delivery as it says; throwing anything else is a crash, which the log tells.
const retry = (text) => ({ tag: 'retry', val: text });
const retryAfter = (nanoseconds, text) => ({ tag: 'retry-after', val: [nanoseconds, text] });
const reject = (text) => ({ tag: 'reject', val: text });

export const receiver = {
  receive(message) {
    triage(message);
  },
};

function triage(message) {
  const event = eventOf(message);
  const body = message.body();
  const webhook = message.attribute('Content-Type') === 'application/octet-stream' ? {} : parse(body);
  if (webhook.poison === true) {
    throw new Error('poison message');
  }
  if (event === 'fork' && message.attempt() === 1) {
    throw retryAfter(retryAfterMs() * 1_000_000n, 'fork is not ready yet');
  }

  const topic = `github.${event}`;
  try {
    publish(topic, attributes(message, webhook), body);
  } catch (error) {
    throw retry(`not published: ${told(error)}`);
  }
  log('info', 'triage', `${message.id()} to ${topic}`);
}

function eventOf(message) {
  const event = message.attribute('X-Github-Event');
  if (event === undefined || event === null) {
    throw reject('attribute X-Github-Event is missing');
  }
  if (!/^[A-Za-z0-9_]+$/.test(event)) {
    throw reject(`attribute X-Github-Event is no event: ${JSON.stringify(event)}`);
  }
  return event.toLowerCase();
}

function parse(body) {
  let webhook;
  try {
    webhook = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch (error) {
    throw reject(`body is not JSON: ${error.message}`);
  }
  if (webhook === null || typeof webhook !== 'object' || Array.isArray(webhook)) {
    throw reject('body is JSON, but no object');
  }
  return webhook;
}

// What later receivers can tell webhooks apart by without parsing them again.
function attributes(message, webhook) {
  const forwarded = message.attributes().filter(([name]) => FORWARDED.includes(name));
  const found = [
    ['Action', webhook.action],
    ['Repository', webhook.repository?.full_name],
  ];
  const told = found.filter(([, value]) => typeof value === 'string').map(([name, value]) => [name, [value]]);
  return [...forwarded, ...told];
}

function retryAfterMs() {
  const given = get('retry_after_ms') ?? '2000';
  if (!/^[0-9]+$/.test(given)) {
    throw reject(`retry_after_ms is no number: ${JSON.stringify(given)}`);
  }
  return BigInt(given);
}

// A refusal of publishing, as a variant of the contract or as an error that carries one.
function told(error) {
  const refused = error?.payload ?? error;
  return refused?.tag === undefined ? String(error) : [refused.tag, refused.val].filter((part) => part !== undefined).join(': ');
}
