//! gantry-helper: the root service that runs LXC containers.
//!
//! The bus starts it when somebody calls `io.gantry.Gantry1`; it leaves when nobody
//! has needed it for a minute. Containers, consoles and sessions do not depend on it.

mod bus;
mod cgroup;
mod engine;
mod error;
mod image;
mod linux;
mod network;
mod storage;
mod work;

use std::{io, panic, process::ExitCode};

use nix::sys::stat::{Mode, umask};
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
};
use tracing::{error, info};
use tracing_subscriber::EnvFilter;

use crate::{bus::Service, engine::Engine};

fn main() -> ExitCode {
    // Before there are threads: the worker is this program started anew.
    if let Some(status) = linux::worker::run_if_asked() {
        return status;
    }
    // What the helper makes is root's alone unless said otherwise.
    umask(Mode::from_bits_truncate(0o077));
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")),
        )
        .with_writer(io::stderr)
        .with_ansi(false)
        .init();
    panic::set_hook(Box::new(|panic| error!("panic: {panic}")));
    match runtime().map(|runtime| runtime.block_on(run())) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(reason)) => {
            error!("{reason}");
            ExitCode::FAILURE
        }
        Err(reason) => {
            error!("cannot start threads: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let engine = Engine::open().await?;
    let mut service = Service::start(engine).await?;
    info!(version = env!("CARGO_PKG_VERSION"), "on the bus");
    tokio::select! {
        () = service.serve() => {}
        _ = terminate.recv() => info!("asked to end"),
        _ = interrupt.recv() => info!("asked to end"),
    }
    service.stop().await;
    Ok(())
}
