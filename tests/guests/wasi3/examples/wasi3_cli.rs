//! A command of WASI 0.3: writes what it read and found in its environment.

use exports::wasi::cli::run::Guest;
use wasi::cli::environment::{get_arguments, get_environment};
use wasi::cli::{stdin, stdout};

wit_bindgen::generate!({ path: ["../../../wit/async", "wit"], world: "wasmpost:wasi3/command", generate_all });

struct Command;

export!(Command);

impl Guest for Command {
    async fn run() -> Result<(), ()> {
        let (body, _) = stdin::read_via_stream();
        let body = body.collect().await;
        if body == b"fail" {
            return Err(());
        }
        let mut text = get_arguments().join(" ") + "\n";
        get_environment().iter().for_each(|(name, value)| text += &format!("{name}={value}\n"));
        let (mut writer, written) = wit_stream::new();
        let done = stdout::write_via_stream(written);
        writer.write_all([text.as_bytes(), &body].concat()).await;
        drop(writer);
        done.await.map_err(drop)
    }
}
