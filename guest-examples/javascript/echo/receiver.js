// Publishes each message to the topic `out`, as it is.

import { publish } from 'wasmpost:messaging/topic@0.1.0';

export const receiver = {
  receive(message) {
    const body = message.body();
    if (body.length === 0) {
      throw { tag: 'reject', val: 'the body is empty' };
    }
    publish('out', message.attributes(), body);
  },
};
