//! Writes and ends as the message tells it to, as a command.

use exports::wasi::cli::run::Guest;
use foreign::Told;
use wasi::cli::{exit, stderr, stdin, stdout};

wit_bindgen::generate!({
    path: ["../../../wit", "wit"],
    world: "wasmpost:foreign/command",
    generate_all,
});

struct Command;

export!(Command);

impl Guest for Command {
    fn run() -> Result<(), ()> {
        let input = stdin::get_stdin();
        let mut body = Vec::new();
        while let Ok(chunk) = input.blocking_read(4096) {
            body.extend(chunk);
        }
        let mut told = Told::new(body);
        let output = stdout::get_stdout();
        let errors = stderr::get_stderr();
        for _ in 0..told.byte() % 6 {
            let stream = if told.byte() % 2 == 0 { &output } else { &errors };
            let _ = stream.blocking_write_and_flush(&told.bytes().repeat(100));
        }
        match told.byte() % 4 {
            0 => Ok(()),
            1 => Err(()),
            _ => {
                exit::exit_with_code(told.byte());
                Ok(())
            }
        }
    }
}
