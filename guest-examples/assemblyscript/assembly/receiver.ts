// Sorts the webhooks of GitHub: each is published to the topic of its event, `github.<event>`.

import { Json } from './json';
import { Attribute, Failure, Message, config, info, publish } from './wasmpost';

// The host calls what is exported here.
export { cabi_realloc, receive } from './wasmpost';

/** Attributes that go on to the next topic. */
const FORWARDED = ['Content-Type', 'X-Github-Delivery', 'X-Github-Event', 'X-Github-Tag'];

/** Handles one message. Null says that it has been processed; an error that is thrown is a crash, which the log tells. */
export function handle(message: Message): Failure | null {
  const event = message.attribute('X-Github-Event');
  if (event === null) {
    return Failure.reject('attribute X-Github-Event is missing');
  }
  if (!isEvent(event)) {
    return Failure.reject(`attribute X-Github-Event is no event: "${event}"`);
  }

  const body = message.body();
  const webhook = new Json(body);
  if (message.attribute('Content-Type') != 'application/octet-stream') {
    const fault = webhook.parse();
    if (fault !== null) {
      return Failure.reject(`body is not JSON: ${fault}`);
    }
    if (!webhook.isObject) {
      return Failure.reject('body is JSON, but no object');
    }
  }
  if (webhook.isTrue('poison')) {
    throw new Error('poison message');
  }
  if (event.toLowerCase() == 'fork' && message.attempt() == 1) {
    return putOff();
  }

  const topic = `github.${event.toLowerCase()}`;
  const refused = publish(topic, attributes(message, webhook), body);
  if (refused !== null) {
    return Failure.retry(`not published: ${refused}`);
  }
  info('triage', `${message.id()} to ${topic}`);
  return null;
}

/** Whether the name of an event, such as `pull_request`, can be part of a topic's name. */
function isEvent(name: string): bool {
  for (let at = 0; at < name.length; at++) {
    const letter = name.charCodeAt(at);
    const isDigit = letter >= 0x30 && letter <= 0x39;
    const isLetter = (letter | 0x20) >= 0x61 && (letter | 0x20) <= 0x7a;
    if (!isDigit && !isLetter && letter != 0x5f) {
      return false;
    }
  }
  return name.length > 0;
}

/** Puts a webhook of a fork off once, as a receiver does that waits for another system. */
function putOff(): Failure {
  const given = config('retry_after_ms');
  const text = given === null ? '2000' : given;
  let millis: u64 = 0;
  for (let at = 0; at < text.length; at++) {
    const digit = <u64>text.charCodeAt(at) - 0x30;
    if (digit > 9 || millis > 1_000_000_000_000) {
      return Failure.reject(`retry_after_ms is no number: "${text}"`);
    }
    millis = millis * 10 + digit;
  }
  if (text.length == 0) {
    return Failure.reject('retry_after_ms is no number: ""');
  }
  return Failure.retryAfter(millis * 1_000_000, 'fork is not ready yet');
}

/** What later receivers can tell webhooks apart by without parsing them again. */
function attributes(message: Message, webhook: Json): Attribute[] {
  const told = message.attributes().filter((attribute) => FORWARDED.includes(attribute.name));
  const action = webhook.text('action');
  if (action !== null) {
    told.push(new Attribute('Action', [action]));
  }
  const repository = webhook.text('repository', 'full_name');
  if (repository !== null) {
    told.push(new Attribute('Repository', [repository]));
  }
  return told;
}
