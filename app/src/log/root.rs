use crate::widgets::{States, widget};
use relm4::{adw, gtk};

widget! {
    /// The widgets of the viewer of logs.
    Root("GantryLogDialog") in "../../../data/ui/log_dialog.ui",
    extends adw::Dialog [] by AdwDialogImpl [],
    implements [gtk::ShortcutManager],
    {
        kinds: adw::ToggleGroup,
        states: super::States,
        text: gtk::TextView,
    }
}
