use crate::widgets::{States, widget};
use relm4::{adw, gtk};

widget! {
    /// The widgets of the dialog of images.
    Root("GantryImagesDialog") in "../../../data/ui/images_dialog.ui",
    extends adw::Dialog [] by AdwDialogImpl [],
    implements [gtk::ShortcutManager],
    {
        server: adw::EntryRow,
        proxy: adw::EntryRow,
        search: gtk::SearchEntry,
        states: super::States,
        list: gtk::ListView,
        nothing: adw::StatusPage,
    }
}
