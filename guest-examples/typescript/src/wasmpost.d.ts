// The contract with the host, as componentize-js hands it to TypeScript; wit/ says what each item means.

declare module 'wasmpost:messaging/types@0.1.0' {
  export type Attributes = Array<[string, string[]]>;

  export interface Message {
    id(): string;
    attempt(): number;
    attributes(): Attributes;
    attribute(name: string): string | undefined;
    read(max: number): Uint8Array;
    body(): Uint8Array;
    newWriter(topic: string): MessageWriter;
    publish(topic: string, attributes: Attributes, body: Uint8Array): void;
    /** Gives the message back; those of a batch are, when it is done. */
    [Symbol.dispose](): void;
  }

  export type PublishError =
    | { tag: 'closed' }
    | { tag: 'denied'; val: string }
    | { tag: 'too-large'; val: bigint }
    | { tag: 'limit-exceeded'; val: string }
    | { tag: 'invalid-attribute'; val: string };

  export class MessageWriter {
    setAttribute(name: string, value: string): void;
    appendAttribute(name: string, value: string): void;
    setDelay(nanoseconds: bigint): void;
    write(chunk: Uint8Array): void;
    close(): void;
  }

  /** Thrown by `receive`; anything else that is thrown is a crash. */
  export type Failure =
    | { tag: 'retry'; val: string }
    | { tag: 'retry-after'; val: [nanoseconds: bigint, text: string] }
    | { tag: 'reject'; val: string };
}

declare module 'wasmpost:messaging/topic@0.1.0' {
  import type { Attributes, MessageWriter } from 'wasmpost:messaging/types@0.1.0';

  export function newWriter(topic: string): MessageWriter;
  export function publish(topic: string, attributes: Attributes, body: Uint8Array): void;
}

declare module 'wasi:config/store@0.2.0-rc.1' {
  export function get(key: string): string | undefined;
  export function getAll(): Array<[string, string]>;
}

declare module 'wasi:logging/logging@0.1.0-draft' {
  export type Level = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'critical';
  export function log(level: Level, context: string, message: string): void;
}
