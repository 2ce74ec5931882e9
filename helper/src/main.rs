//! gantry-helper: the root service that runs LXC containers.
//!
//! The bus starts it when somebody calls `io.gantry.Gantry1`; it leaves when nobody
//! has needed it for a minute. Containers, consoles and sessions do not depend on it.
//!
//! Three words make it something else. For gantry-autostart.service: `autostart` has
//! the helper on the bus start what starts with the host; `shutdown` shuts down what
//! Gantry's monitors hold, by itself: while the host goes down the bus starts nobody.
//! For gantry-snapshots.service: `snapshots` has the helper take those that are due.

mod boot;
mod bus;
mod cgroup;
mod confine;
mod engine;
mod error;
mod image;
mod linux;
mod logging;
mod network;
mod storage;
mod work;

use std::{error::Error, io, panic, process::ExitCode, sync::Arc, time::Duration};

use nix::sys::stat::{Mode, umask};
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
};
use tracing::{error, info};

use crate::{
    boot::Boot,
    bus::{Service, Services, Units},
    engine::{Engine, GroupAction, Selection, StopOptions, Work},
};

fn main() -> ExitCode {
    // Before there are threads: workers are this program started anew.
    let worker = linux::worker::run_if_asked()
        .or_else(linux::copier::run_if_asked)
        .or_else(linux::script::run_if_asked)
        .or_else(image::worker::run_if_asked);
    if let Some(status) = worker {
        return status;
    }
    // What the helper makes is root's alone unless said otherwise.
    umask(Mode::from_bits_truncate(0o077));
    logging::begin();
    panic::set_hook(Box::new(|panic| error!("panic: {panic}")));
    let word = std::env::args().nth(1);
    match runtime().map(|runtime| runtime.block_on(run(word.as_deref()))) {
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

async fn run(word: Option<&str>) -> Result<(), Box<dyn Error>> {
    match word {
        None => serve().await,
        Some("autostart") => match boot().groups {
            Some(groups) => Ok(bus::autostart(groups).await?),
            None => {
                info!("/etc/default/lxc says LXC_AUTO=false: no container starts with the host");
                Ok(())
            }
        },
        Some("shutdown") => shut_down(boot().shutdown).await,
        Some("snapshots") => Ok(bus::run_schedules().await?),
        Some(word) => Err(format!(
            "there is no verb '{word}'; there are autostart, shutdown and snapshots"
        )
        .into()),
    }
}

fn boot() -> Boot {
    Boot::read(|name| std::env::var(name).ok())
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let services = Arc::new(Services::open().await?);
    let engine = Engine::open(Units::where_booted().await?, Some(services)).await?;
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

/// What stock LXC holds is left to lxc.service.
async fn shut_down(timeout: Duration) -> Result<(), Box<dyn Error>> {
    let engine = Engine::open(None, None).await?;
    let action = GroupAction::Stop(StopOptions {
        timeout,
        force: true,
    });
    let own = Selection {
        groups: None,
        marked: false,
        own: true,
    };
    let selected = engine.select(&own, action).await?;
    let (work, _observer) = Work::new();
    let done = engine.act_on(&selected, action, &work).await?;
    info!("shut down: {}", done.join(", "));
    Ok(())
}
