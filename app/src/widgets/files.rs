//! Choosing files.

use std::path::PathBuf;

use gtk::{gio, glib, prelude::*};
use relm4::gtk;

use crate::text::tr;

/// Asks for an archive to read; calls `then` with its path when one is chosen.
pub fn open_archive(parent: &impl IsA<gtk::Widget>, then: impl FnOnce(PathBuf) + 'static) {
    let archives = gtk::FileFilter::new();
    archives.set_name(Some(&tr("Archives")));
    for pattern in ["*.tar", "*.tar.*", "*.tgz", "*.txz", "*.tzst"] {
        archives.add_pattern(pattern);
    }
    let everything = gtk::FileFilter::new();
    everything.set_name(Some(&tr("All Files")));
    everything.add_pattern("*");
    let dialog = gtk::FileDialog::builder()
        .title(tr("Choose an Archive"))
        .filters(&gio::ListStore::from_iter([archives, everything]))
        .build();
    let window = parent.root().and_downcast::<gtk::Window>();
    dialog.open(window.as_ref(), gio::Cancellable::NONE, chosen(then));
}

/// Asks for a file to write; calls `then` with its path when one is chosen.
pub fn save(parent: &impl IsA<gtk::Widget>, name: &str, then: impl FnOnce(PathBuf) + 'static) {
    let dialog = gtk::FileDialog::builder().initial_name(name).build();
    let window = parent.root().and_downcast::<gtk::Window>();
    dialog.save(window.as_ref(), gio::Cancellable::NONE, chosen(then));
}

fn chosen(
    then: impl FnOnce(PathBuf) + 'static,
) -> impl FnOnce(Result<gio::File, glib::Error>) + 'static {
    |file| {
        // An error here means that nothing was chosen.
        if let Some(path) = file.ok().and_then(|file| file.path()) {
            then(path);
        }
    }
}
