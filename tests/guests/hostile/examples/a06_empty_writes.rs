//! Writes nothing to standard output, as often as `writes` of its configuration says.

use hostile::wasi::cli::stdout::get_stdout;
use hostile::{Failure, Message};

hostile::guest!(receive);

fn receive(_: &Message) -> Result<(), Failure> {
    let stdout = get_stdout();
    for number in 0..hostile::configured_number("writes") {
        stdout.write(&[]).map_err(|error| Failure::Reject(format!("write {number}: {error:?}")))?;
    }
    Ok(())
}
