use relm4::{adw, gtk};

use crate::widgets::widget;

widget! {
    /// The widgets of the dialog of what a network is to be.
    Root("GantryNetworkDialog") in "../../../data/ui/network_dialog.ui",
    extends adw::Dialog [] by AdwDialogImpl [],
    implements [gtk::ShortcutManager],
    {
        close_button: gtk::Button,
        apply_button: gtk::Button,
        spinner: adw::Spinner,
        fault: adw::Banner,
        form: adw::PreferencesPage,
        identity: adw::PreferencesGroup,
        name: adw::EntryRow,
        driver: adw::ComboRow,
        ipv4: adw::EntryRow,
        dhcp: adw::SwitchRow,
        range: adw::EntryRow,
        ipv6: adw::EntryRow,
        reach: adw::ComboRow,
        domain: adw::EntryRow,
        autostart: adw::SwitchRow,
    }
}
