// The contract of wasmpost by hand, for AssemblyScript has no generator of bindings.
//
// The canonical ABI in short: a text or list is a pair of its address and its length; what does not fit into one number
// is written by the host to an area whose address is the last argument; memory that the host needs for it is asked of
// `cabi_realloc`. A variant begins with the number of its case, behind which its value is aligned. Areas below are
// static, since neither the host nor this module calls into the other while an area is in use.

import { handle } from './receiver';

// @ts-ignore: decorators of imports
@external('wasmpost:messaging/types@0.1.0', '[method]message.id')
declare function message_id(message: i32, area: usize): void;
// @ts-ignore
@external('wasmpost:messaging/types@0.1.0', '[method]message.attempt')
declare function message_attempt(message: i32): u32;
// @ts-ignore
@external('wasmpost:messaging/types@0.1.0', '[method]message.attributes')
declare function message_attributes(message: i32, area: usize): void;
// @ts-ignore
@external('wasmpost:messaging/types@0.1.0', '[method]message.attribute')
declare function message_attribute(message: i32, name: usize, nameBytes: i32, area: usize): void;
// @ts-ignore
@external('wasmpost:messaging/types@0.1.0', '[method]message.body')
declare function message_body(message: i32, area: usize): void;
// @ts-ignore
@external('wasmpost:messaging/types@0.1.0', '[resource-drop]message')
declare function message_drop(message: i32): void;
// @ts-ignore
@external('wasmpost:messaging/types@0.1.0', '[method]message.publish')
declare function message_publish(
  message: i32, topic: usize, topicBytes: i32, attributes: usize, attributesCount: i32, body: usize, bodyBytes: i32, area: usize,
): void;
// @ts-ignore
@external('wasi:logging/logging@0.1.0-draft', 'log')
declare function logging_log(level: i32, context: usize, contextBytes: i32, text: usize, textBytes: i32): void;
// @ts-ignore
@external('wasi:config/store@0.2.0-rc.1', 'get')
declare function store_get(key: usize, keyBytes: i32, area: usize): void;

/** What the host answers, and what it is answered; both at most 32 bytes and aligned to 8. */
const answered = memory.data(32, 8);
const returned = memory.data(32, 8);

/** What must not be collected before the next message: memory that the host has written to or is still going to read. */
const kept: ArrayBuffer[] = [];

/** Memory for the host to write to. It is a buffer like others, so that what lies there needs not be copied or freed. */
export function cabi_realloc(old: usize, oldBytes: usize, alignment: usize, bytes: usize): usize {
  const buffer = new ArrayBuffer(<i32>bytes);
  memory.copy(changetype<usize>(buffer), old, min(oldBytes, bytes));
  kept.push(buffer);
  return changetype<usize>(buffer);
}

/** The export `receive-batch`: one result<_, failure> of 32 bytes for each message, in their order. */
export function receiveBatch(messages: usize, count: i32): usize {
  const handles = new StaticArray<i32>(count);
  memory.copy(changetype<usize>(handles), messages, <usize>count * 4);
  kept.length = 0;
  // With room to be aligned to 8.
  const results = new ArrayBuffer(count * 32 + 8);
  const first = (changetype<usize>(results) + 7) & ~7;
  kept.push(results);
  for (let at = 0; at < count; at++) {
    storeResult(first + <usize>at * 32, handle(new Message(handles[at])));
    // Those that are kept are of no use after the call.
    message_drop(handles[at]);
  }
  store<usize>(returned, first);
  store<i32>(returned, count, 4);
  return returned;
}

function storeResult(at: usize, failure: Failure | null): void {
  store<u8>(at, failure === null ? 0 : 1);
  if (failure === null) {
    return;
  }
  store<u8>(at, <u8>failure.kind, 8);
  if (failure.kind == Kind.RetryAfter) {
    store<u64>(at, failure.nanoseconds, 16);
    storeText(at + 24, failure.text);
  } else {
    storeText(at + 16, failure.text);
  }
}

/** Instead of the function `abort`: what is thrown ends the instance, and the log then tells why. */
export function crash(text: string | null, file: string | null, line: u32, column: u32): void {
  const what = text === null ? 'error' : text;
  log(4, 'abort', file === null ? what : `${what} at ${file}:${line}:${column}`);
  unreachable();
}

const enum Kind {
  Retry,
  RetryAfter,
  Reject,
}

/** Why a message was not processed, and what to do with it. */
export class Failure {
  private constructor(readonly kind: i32, readonly text: string, readonly nanoseconds: u64) {}

  /** Hand it over again, when the retry policy says. */
  static retry(text: string): Failure {
    return new Failure(Kind.Retry, text, 0);
  }

  /** Hand it over again, not before this time has passed. */
  static retryAfter(nanoseconds: u64, text: string): Failure {
    return new Failure(Kind.RetryAfter, text, nanoseconds);
  }

  /** Handing it over again is useless: dead-letter it now. */
  static reject(text: string): Failure {
    return new Failure(Kind.Reject, text, 0);
  }
}

export class Attribute {
  constructor(readonly name: string, readonly values: string[]) {}
}

/** A message being received. */
export class Message {
  constructor(private readonly handle: i32) {}

  /** The same on every delivery of this message: the key for idempotent effects. */
  id(): string {
    message_id(this.handle, answered);
    return loadText(answered);
  }

  /** 1 on the first delivery. */
  attempt(): u32 {
    return message_attempt(this.handle);
  }

  attributes(): Attribute[] {
    message_attributes(this.handle, answered);
    const first = load<usize>(answered);
    const count = load<i32>(answered, 4);
    const attributes = new Array<Attribute>(count);
    for (let at = 0; at < count; at++) {
      // A name of 8 bytes, and a list of 8.
      const attribute = first + <usize>at * 16;
      const values = new Array<string>(load<i32>(attribute, 12));
      for (let value = 0; value < values.length; value++) {
        values[value] = loadText(load<usize>(attribute, 8) + <usize>value * 8);
      }
      attributes[at] = new Attribute(loadText(attribute), values);
    }
    return attributes;
  }

  /** The first value of an attribute, or null. */
  attribute(name: string): string | null {
    const bytes = utf8(name);
    message_attribute(this.handle, changetype<usize>(bytes), bytes.byteLength, answered);
    return load<u8>(answered) == 0 ? null : loadText(answered + 4);
  }

  /** Publishes a message in answer to this one, once this one has been processed. Says why that is refused, or null. */
  publish(topic: string, attributes: Attribute[], body: Uint8Array): string | null {
    return publish(this.handle, topic, attributes, body);
  }

  /** All that is left of the body. */
  body(): Uint8Array {
    message_body(this.handle, answered);
    // Of an empty list, the host asks for no memory.
    const bytes = load<i32>(answered, 4);
    return bytes == 0 ? new Uint8Array(0) : Uint8Array.wrap(changetype<ArrayBuffer>(load<usize>(answered)));
  }
}

/** Publishes a message in answer to another one. Says why that is refused, or null. */
function publish(handle: i32, topic: string, attributes: Attribute[], body: Uint8Array): string | null {
  const name = utf8(topic);
  const list = new ArrayBuffer(attributes.length * 16);
  kept.push(list);
  for (let at = 0; at < attributes.length; at++) {
    const attribute = changetype<usize>(list) + <usize>at * 16;
    const texts = attributes[at].values;
    const values = new ArrayBuffer(texts.length * 8);
    kept.push(values);
    for (let value = 0; value < texts.length; value++) {
      storeText(changetype<usize>(values) + <usize>value * 8, texts[value]);
    }
    storeText(attribute, attributes[at].name);
    store<usize>(attribute, changetype<usize>(values), 8);
    store<i32>(attribute, texts.length, 12);
  }
  message_publish(
    handle, changetype<usize>(name), name.byteLength, changetype<usize>(list), attributes.length,
    body.dataStart, body.byteLength, answered,
  );
  return load<u8>(answered) == 0 ? null : refusal(load<u8>(answered, 8));
}

function refusal(error: u8): string {
  switch (error) {
    case 0: return 'closed';
    case 1: return `denied: ${loadText(answered + 16)}`;
    case 2: return `too-large: at most ${load<u64>(answered, 16)} bytes`;
    case 3: return `limit-exceeded: ${loadText(answered + 16)}`;
    default: return `invalid-attribute: ${loadText(answered + 16)}`;
  }
}

/** A value of the receiver's configuration, or null. */
export function config(key: string): string | null {
  const bytes = utf8(key);
  store_get(changetype<usize>(bytes), bytes.byteLength, answered);
  if (load<u8>(answered) != 0) {
    throw new Error(`configuration: ${loadText(answered + 8)}`);
  }
  return load<u8>(answered, 4) == 0 ? null : loadText(answered + 8);
}

export function info(context: string, text: string): void {
  log(2, context, text);
}

function log(level: i32, context: string, text: string): void {
  const where = utf8(context);
  const what = utf8(text);
  logging_log(level, changetype<usize>(where), where.byteLength, changetype<usize>(what), what.byteLength);
}

/** Texts are UTF-16 here and UTF-8 there, where halves of surrogate pairs are not allowed. */
function utf8(text: string): ArrayBuffer {
  return String.UTF8.encode(text, false, String.UTF8.ErrorMode.REPLACE);
}

function loadText(at: usize): string {
  return String.UTF8.decodeUnsafe(load<usize>(at), load<usize>(at, 4));
}

function storeText(at: usize, text: string): void {
  const bytes = utf8(text);
  kept.push(bytes);
  store<usize>(at, changetype<usize>(bytes));
  store<i32>(at, bytes.byteLength, 4);
}
