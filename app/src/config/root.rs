use crate::widgets::{States, widget};
use relm4::{adw, gtk};

widget! {
    /// The widgets of the editor of a configuration.
    Root("GantryConfigDialog") in "../../../data/ui/config_dialog.ui",
    extends adw::Dialog [] by AdwDialogImpl [],
    implements [gtk::ShortcutManager],
    {
        close_button: gtk::Button,
        save_button: gtk::Button,
        fault: adw::Banner,
        legacy: adw::Banner,
        states: super::States,
        text: gtk::TextView,
    }
}
