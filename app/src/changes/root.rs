use crate::widgets::{States, widget};
use relm4::{adw, gtk};

widget! {
    /// The widgets of the dialog of changes.
    Root("GantryChangesDialog") in "../../../data/ui/changes_dialog.ui",
    extends adw::Dialog [] by AdwDialogImpl [],
    implements [gtk::ShortcutManager],
    {
        from: adw::ComboRow,
        to: adw::ComboRow,
        content: adw::SwitchRow,
        search: gtk::SearchEntry,
        more: adw::Banner,
        states: super::States,
        list: gtk::ListView,
        nothing: adw::StatusPage,
    }
}
