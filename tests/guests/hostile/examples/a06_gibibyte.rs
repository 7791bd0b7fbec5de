//! Prints one GiB, in 16384 lines.

use hostile::wasi::cli::stdout::get_stdout;
use hostile::{Failure, Message};

hostile::guest!(receive);

fn receive(_: &Message) -> Result<(), Failure> {
    let stdout = get_stdout();
    let mut line = vec![b'x'; 64 << 10];
    line[(64 << 10) - 1] = b'\n';
    for number in 0..16384 {
        let written = stdout.check_write().and_then(|_| stdout.write(&line));
        written.map_err(|error| Failure::Reject(format!("line {number}: {error:?}")))?;
    }
    Ok(())
}
