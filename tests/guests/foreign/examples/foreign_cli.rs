//! A command: copies its input to its output behind what its environment says, and ends with the code that the input
//! asks for.

use exports::wasi::cli::run::Guest;
use foreign::{Wish, wish};
use wasi::cli::{environment, exit, stderr, stdin, stdout};

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
        match wish(&body) {
            Wish::Echo => {}
            Wish::Retry => {
                stderr::get_stderr().blocking_write_and_flush(b"not now\n").map_err(drop)?;
                exit::exit_with_code(75);
            }
            Wish::Reject => exit::exit_with_code(65),
        }
        if body == b"fail" {
            return Err(());
        }
        let output = stdout::get_stdout();
        for (name, value) in environment::get_environment() {
            output.blocking_write_and_flush(format!("{name}={value}\n").as_bytes()).map_err(drop)?;
        }
        body.chunks(4096).try_for_each(|chunk| output.blocking_write_and_flush(chunk).map_err(drop))
    }
}
