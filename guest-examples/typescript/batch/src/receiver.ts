// Publishes each message of a batch to the topic `out`, as it is.

import type { Failure, Message } from 'wasmpost:messaging/types@0.1.0';

type Result = { tag: 'ok'; val: undefined } | { tag: 'err'; val: Failure };

export const receiverBatch = {
  receiveBatch(messages: Message[]): Result[] {
    // One result for each message, in their order.
    return messages.map(handle);
  },
};

function handle(message: Message): Result {
  try {
    const body = message.body();
    if (body.length === 0) {
      return { tag: 'err', val: { tag: 'reject', val: 'the body is empty' } };
    }
    message.publish('out', message.attributes(), body);
    return { tag: 'ok', val: undefined };
  } finally {
    // Those that are kept are of no use after the call.
    message[Symbol.dispose]();
  }
}
