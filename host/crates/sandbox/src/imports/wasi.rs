//! WASI: clocks, randomness, and output that goes to the log. No files, sockets, environment or arguments.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::io::AsyncWrite;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, WasmList};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream, WasiCliView as _};
use wasmtime_wasi::p2::bindings::cli::environment::Host as _;
use wasmtime_wasi::p2::bindings::io::poll::Host as _;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::p2::{DynPollable, OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use crate::guest::{Calls, Command, GuestLog, Lines, LogSource, Outputs, Shared, StoreState, Surroundings};

const ENVIRONMENT: &str = "wasi:cli/environment@0.2.12";
const POLL: &str = "wasi:io/poll@0.2.12";
/// The most bytes that a guest may write at a time.
const WRITE_BYTES_MAX: usize = 64 << 10;
/// Random bytes that a guest may ask for at a time.
const RANDOM_BYTES_MAX: u64 = 64 << 10;
/// The grain of coarse clocks: with a finer one a guest could measure traces of others in the caches of the processor.
const COARSE: Duration = Duration::from_millis(1);

pub(super) fn add_to_linker(linker: &mut Linker<StoreState>, calls: Calls) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    if calls == Calls::Asynchronous {
        wasmtime_wasi::p3::add_to_linker(linker)?;
    }
    linker.allow_shadowing(true);
    // Generated bindings take a list of any length, and a guest need not have a handle for each of its elements.
    linker
        .instance(POLL)?
        .func_wrap_async("poll", |store, (list,): (WasmList<Resource<DynPollable>>,)| Box::new(poll(store, list)))?;
    let mut environment = linker.instance(ENVIRONMENT)?;
    environment.func_wrap("get-environment", |mut store: StoreContextMut<'_, StoreState>, ()| {
        let variables = store.data_mut().cli().get_environment()?;
        let amount = variables.iter().map(|(name, value)| 1 + name.len() + value.len()).sum();
        store.data().delivery.work.call(amount);
        Ok((variables,))
    })?;
    environment.func_wrap("get-arguments", |mut store: StoreContextMut<'_, StoreState>, ()| {
        let arguments = store.data_mut().cli().get_arguments()?;
        store.data().delivery.work.call(arguments.iter().map(|argument| 1 + argument.len()).sum());
        Ok((arguments,))
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

async fn poll(
    mut store: StoreContextMut<'_, StoreState>,
    list: WasmList<Resource<DynPollable>>,
) -> wasmtime::Result<(Vec<u32>,)> {
    let max = store.data().shared.limits.handles as usize;
    if list.len() > max {
        return Err(wasmtime::Error::msg(format!("list to poll is over the limit of {max} handles")));
    }
    store.data().delivery.work.call(list.len());
    let list = list.iter(&mut store)?.collect::<wasmtime::Result<Vec<_>>>()?;
    Ok((store.data_mut().table.poll(list).await?,))
}

impl WasiView for StoreState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let log = &self.delivery.log;
        let command = self.command.as_ref();
        let Shared { coarse_clocks, surroundings, .. } = &*self.shared;
        let (ctx, _) = self.wasi.get_or_insert_with(|| context(log, *coarse_clocks, *surroundings, command));
        WasiCtxView { ctx, table: &mut self.table }
    }
}

/// The world as a guest sees it, with clocks that show milliseconds alone if they are to be coarse, and with the
/// surroundings that it is to see instead of the real ones.
fn context(
    log: &Arc<GuestLog>,
    coarse_clocks: bool,
    surroundings: Option<Surroundings>,
    command: Option<&Command>,
) -> (WasiCtx, Outputs) {
    let mut builder = WasiCtxBuilder::new();
    let outputs = [LogSource::Stdout, LogSource::Stderr].map(|source| Arc::new(Lines::new(log, source)));
    let [stdout, stderr] = outputs.each_ref().map(|lines| GuestOutput(Arc::clone(lines)));
    builder.stdout(stdout).stderr(stderr);
    if let Some(command) = command {
        builder.args(&command.arguments).envs(&command.environment).stdin(MemoryInputPipe::new(command.stdin.clone()));
        if let Some(stdout) = &command.stdout {
            builder.stdout(stdout.clone());
        }
    }
    builder.max_random_size(RANDOM_BYTES_MAX);
    if coarse_clocks {
        builder.monotonic_clock(CoarseClock(Instant::now())).wall_clock(CoarseWallClock);
    }
    if let Some(Surroundings { now, seed }) = surroundings {
        builder.wall_clock(StoppedClock(now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()));
        builder.secure_random(StdRng::seed_from_u64(seed)).insecure_random(StdRng::seed_from_u64(!seed));
        builder.insecure_random_seed(u128::from(seed));
    }
    // Nothing is granted by default, but neither is anything left to what a later version takes for a default.
    builder.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false).allow_blocking_current_thread(false);
    (builder.build(), Outputs::new(outputs))
}

/// The time since the guest first asked for anything of WASI, in steps.
struct CoarseClock(Instant);

/// The time of day, in steps.
struct CoarseWallClock;

/// A time of day that stays as it is.
struct StoppedClock(Duration);

impl HostMonotonicClock for CoarseClock {
    fn resolution(&self) -> u64 {
        COARSE.as_nanos() as u64
    }

    fn now(&self) -> u64 {
        coarse(self.0.elapsed()).as_nanos() as u64
    }
}

impl HostWallClock for CoarseWallClock {
    fn resolution(&self) -> Duration {
        COARSE
    }

    fn now(&self) -> Duration {
        coarse(SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default())
    }
}

impl HostWallClock for StoppedClock {
    fn resolution(&self) -> Duration {
        COARSE
    }

    fn now(&self) -> Duration {
        self.0
    }
}

fn coarse(time: Duration) -> Duration {
    Duration::from_millis(time.as_millis() as u64)
}

/// Standard output or error of a guest.
struct GuestOutput(Arc<Lines>);

/// One handle to the output; a guest can make many.
struct LineStream(Arc<Lines>);

impl IsTerminal for GuestOutput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestOutput {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(LineStream(Arc::clone(&self.0)))
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(LineStream(Arc::clone(&self.0)))
    }
}

impl OutputStream for LineStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LineStream {
    async fn ready(&mut self) {}
}

impl AsyncWrite for LineStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
