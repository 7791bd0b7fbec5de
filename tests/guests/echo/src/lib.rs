//! Publishes the message that it got to the topic `to` of its configuration, after counting to `spins`.

use wasmpost_guest::{Failure, Message, OrFail, config, publish, receiver};

receiver!(receive);

fn receive(mut message: Message) -> Result<(), Failure> {
    let spins = config("spins")?.map_or(Ok(0), |text| text.parse()).or_reject()?;
    for spin in 0..spins {
        std::hint::black_box::<u64>(spin);
    }
    let to = config("to")?.unwrap_or_else(|| "out".into());
    Ok(publish(&to, &message.attributes(), message.body())?)
}
