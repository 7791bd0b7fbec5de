// Publishes each message to the topic `out`, as it is.

import { publish } from 'wasmpost:messaging/topic@0.1.0';
import type { Failure, Message } from 'wasmpost:messaging/types@0.1.0';

export const receiver = {
  receive(message: Message): void {
    const body = message.body();
    if (body.length === 0) {
      throw { tag: 'reject', val: 'the body is empty' } satisfies Failure;
    }
    publish('out', message.attributes(), body);
  },
};
