//! Reads the whole body in pieces.

use exports::wasmpost::messaging::receiver::{Failure, Guest, Message};

wit_bindgen::generate!({ path: "../../../wit", world: "wasmpost:messaging/plugin", generate_all });

struct Reader;

export!(Reader);

impl Guest for Reader {
    fn receive(message: &Message) -> Result<(), Failure> {
        let mut sum = 0_usize;
        loop {
            let piece = message.read(4096);
            if piece.is_empty() {
                break;
            }
            sum += piece.len();
        }
        std::hint::black_box(sum);
        Ok(())
    }
}
