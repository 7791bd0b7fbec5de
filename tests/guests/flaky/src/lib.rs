//! Fails until it was asked more often than `fail_attempts` of its configuration, then publishes the attempt.

use wasmpost_guest::{Failure, Message, OrFail, config, publish, receiver};

receiver!(receive);

fn receive(message: Message) -> Result<(), Failure> {
    let fails = config("fail_attempts")?.map_or(Ok(1), |text| text.parse()).or_reject()?;
    let attempt = message.attempt();
    if attempt <= fails {
        return Err(Failure::retry(format!("attempt {attempt} failed")));
    }
    Ok(publish("out", &message.attributes(), attempt.to_string())?)
}
