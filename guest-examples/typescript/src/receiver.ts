// Sorts the webhooks of GitHub: each is published to the topic of its event, `github.<event>`.

import { get } from 'wasi:config/store@0.2.0-rc.1';
import { log } from 'wasi:logging/logging@0.1.0-draft';
import { publish } from 'wasmpost:messaging/topic@0.1.0';
import type { Attributes, Failure, Message } from 'wasmpost:messaging/types@0.1.0';

/** What the receiver looks at in a webhook. */
interface Webhook {
  action?: unknown;
  poison?: unknown;
  repository?: { full_name?: unknown };
}

/** Attributes that go on to the next topic. */
const FORWARDED = ['Content-Type', 'X-Github-Delivery', 'X-Github-Event', 'X-Github-Tag'];

const retry = (text: string): Failure => ({ tag: 'retry', val: text });
const retryAfter = (nanoseconds: bigint, text: string): Failure => ({ tag: 'retry-after', val: [nanoseconds, text] });
const reject = (text: string): Failure => ({ tag: 'reject', val: text });

export const receiver = {
  receive(message: Message): void {
    const event = eventOf(message);
    const body = message.body();
    const isBinary = message.attribute('Content-Type') === 'application/octet-stream';
    const webhook = isBinary ? {} : parse(body);
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
  },
};

function eventOf(message: Message): string {
  const event = message.attribute('X-Github-Event');
  if (event === undefined) {
    throw reject('attribute X-Github-Event is missing');
  }
  if (!/^[A-Za-z0-9_]+$/.test(event)) {
    throw reject(`attribute X-Github-Event is no event: ${JSON.stringify(event)}`);
  }
  return event.toLowerCase();
}

function parse(body: Uint8Array): Webhook {
  let webhook: unknown;
  try {
    webhook = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch (error) {
    throw reject(`body is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (webhook === null || typeof webhook !== 'object' || Array.isArray(webhook)) {
    throw reject('body is JSON, but no object');
  }
  return webhook;
}

/** What later receivers can tell webhooks apart by without parsing them again. */
function attributes(message: Message, webhook: Webhook): Attributes {
  const all = message.attributes().filter(([name]) => FORWARDED.includes(name));
  for (const [name, value] of [['Action', webhook.action], ['Repository', webhook.repository?.full_name]] as const) {
    if (typeof value === 'string') {
      all.push([name, [value]]);
    }
  }
  return all;
}

function retryAfterMs(): bigint {
  const given = get('retry_after_ms') ?? '2000';
  if (!/^[0-9]+$/.test(given)) {
    throw reject(`retry_after_ms is no number: ${JSON.stringify(given)}`);
  }
  return BigInt(given);
}

/** A refusal of publishing: a variant of the contract, as it is or within an error. */
function told(error: unknown): string {
  const refused = (error as { payload?: unknown } | undefined)?.payload ?? error;
  const { tag, val } = refused as { tag?: string; val?: unknown };
  return tag === undefined ? String(error) : [tag, val].filter((part) => part !== undefined).join(': ');
}
