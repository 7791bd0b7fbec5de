//! Publishes and answers as the message tells it to, in the world of wasmpost.

use exports::wasmpost::messaging::receiver::{Failure, Guest, Message};
use foreign::Told;
use wasmpost::messaging::topic::{new_writer, publish};

wit_bindgen::generate!({ path: "../../../wit", world: "wasmpost:messaging/plugin", generate_all });

struct Teller;

export!(Teller);

impl Guest for Teller {
    fn receive(message: &Message) -> Result<(), Failure> {
        let mut told = Told::new(message.body());
        for _ in 0..told.byte() % 4 {
            if told.byte() % 2 == 0 {
                let pairs: Vec<_> =
                    told.pairs().into_iter().map(|(name, value)| (name, vec![value.clone(), value])).collect();
                let _ = publish(&told.topic(), &pairs, &told.bytes());
                continue;
            }
            let Ok(writer) = new_writer(&told.topic()) else { continue };
            for (name, value) in told.pairs() {
                let _ = writer.set_attribute(&name, &value);
                let _ = writer.append_attribute(&value, &name);
            }
            writer.set_delay(told.number());
            let _ = writer.write(&told.bytes());
            for _ in 0..told.byte() % 3 {
                let _ = writer.close();
            }
        }
        match told.byte() % 4 {
            0 => Ok(()),
            1 => Err(Failure::Retry(told.text())),
            2 => Err(Failure::RetryAfter((told.number(), told.text()))),
            _ => Err(Failure::Reject(told.text())),
        }
    }
}
