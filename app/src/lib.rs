//! Gantry's window: LXC system containers for a desktop user.
//!
//! The program holds no privilege and reads no container data itself: everything
//! comes from the helper over the system bus. [`backend`] is the only module that
//! knows D-Bus; [`window`], [`container`], [`computer`], [`config`], [`devices`],
//! [`log`], [`settings`], [`snapshots`], [`changes`], [`create`], [`images`], [`networks`],
//! [`network`], [`network_dialog`], [`interfaces`] and [`interface_dialog`] are one folder a page or dialog;
//! [`widgets`] know nothing of containers.

pub mod backend;
pub mod changes;
pub mod computer;
pub mod config;
pub mod container;
pub mod create;
pub mod devices;
pub mod form_dialog;
pub mod images;
pub mod interface_dialog;
pub mod interfaces;
pub mod known;
pub mod log;
pub mod network;
pub mod network_dialog;
pub mod networks;
pub mod settings;
pub mod snapshots;
pub mod text;
pub mod trial;
pub mod widgets;
pub mod window;

use std::{
    cell::Cell,
    io::{self, Write as _},
    ops::ControlFlow,
    process::ExitCode,
    rc::Rc,
};

use adw::prelude::*;
use relm4::{
    RelmApp, adw,
    gtk::{gio, glib},
};

use crate::backend::Backend;

/// Where the program's templates, icons and style stand in its resources. GTK
/// looks for `style.css`, `icons/` and `gtk/help-overlay.ui` below it by itself.
pub const RESOURCES: &str = "/io/gantry/Gantry";

/// Runs the program until its window is closed; fails when the command line, or the
/// program itself, is not in order.
#[must_use]
pub fn run() -> ExitCode {
    if let Some(status) = command_line() {
        return status;
    }
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(io::stderr)
        .init();
    if let Err(error) = register_resources() {
        tracing::error!("the program's own resources are damaged: {error}");
        return ExitCode::FAILURE;
    }
    let application = adw::Application::builder()
        .application_id(gantry_api::APP_ID)
        .resource_base_path(RESOURCES)
        .build();
    // The one window comes to the front when the program is started again.
    application.connect_activate(|application| {
        if let Some(window) = application.active_window() {
            window.present();
        }
    });
    RelmApp::from_app(application).run::<window::Window>(Backend::new());
    ExitCode::SUCCESS
}

/// Reads the command line; gives the exit status when that was all. An application of
/// its own does it: RelmApp keeps the exit status to itself, and waits for events after
/// --version.
fn command_line() -> Option<ExitCode> {
    let options = gio::Application::new(None, gio::ApplicationFlags::NON_UNIQUE);
    options.set_option_context_summary(Some("Runs LXC system containers in a window."));
    options.add_main_option(
        "version",
        glib::Char::from(0),
        glib::OptionFlags::NONE,
        glib::OptionArg::None,
        "Show the version",
        None,
    );
    let window = Rc::new(Cell::new(false));
    let wanted = window.clone();
    options.connect_handle_local_options(move |_, options| {
        let said = if options.contains("version") {
            writeln!(io::stdout(), "gantry {}", env!("CARGO_PKG_VERSION"))
        } else {
            wanted.set(true);
            Ok(())
        };
        ControlFlow::Break(said.map_or(glib::ExitCode::FAILURE, |()| glib::ExitCode::SUCCESS))
    });
    let status = options.run();
    (!window.get()).then(|| ExitCode::from(status.get()))
}

/// Makes the embedded templates, icons and style known to GTK.
///
/// # Errors
/// When the embedded bytes are not a resource file.
pub fn register_resources() -> Result<(), glib::Error> {
    gio::resources_register_include!("gantry.gresource")
}
