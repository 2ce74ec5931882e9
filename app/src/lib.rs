//! Gantry's window: LXC system containers for a desktop user.
//!
//! The program holds no privilege and reads no container data itself: everything
//! comes from the helper over the system bus. [`backend`] is the only module that
//! knows D-Bus; [`window`], [`container`] and [`create`] are one folder a page;
//! [`widgets`] know nothing of containers.

pub mod backend;
pub mod container;
pub mod create;
pub mod text;
pub mod widgets;
pub mod window;

use adw::prelude::*;
use relm4::{RelmApp, adw, gtk};

use crate::backend::Backend;

/// Where the program's templates, icons and style stand in its resources. GTK
/// looks for `style.css`, `icons/` and `gtk/help-overlay.ui` below it by itself.
pub const RESOURCES: &str = "/io/gantry/Gantry";

/// Runs the program until its window is closed.
pub fn run() {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    if let Err(error) = register_resources() {
        tracing::error!("the program's own resources are damaged: {error}");
        return;
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
}

/// Makes the embedded templates, icons and style known to GTK.
///
/// # Errors
/// When the embedded bytes are not a resource file.
pub fn register_resources() -> Result<(), gtk::glib::Error> {
    gtk::gio::resources_register_include!("gantry.gresource")
}
