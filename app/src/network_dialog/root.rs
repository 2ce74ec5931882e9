use relm4::{adw, gtk};

use crate::widgets::{FormFrame, widget};

widget! {
    /// The widgets of the dialog of what a network is to be.
    Root("GantryNetworkDialog") in "../../../data/ui/network_dialog.ui",
    extends adw::Dialog [] by AdwDialogImpl [],
    implements [gtk::ShortcutManager],
    {
        frame: super::FormFrame,
        identity: adw::PreferencesGroup,
        of_ipv4: adw::PreferencesGroup,
        of_ipv6: adw::PreferencesGroup,
        way_out: adw::PreferencesGroup,
        name: adw::EntryRow,
        driver: adw::ComboRow,
        ipv4: adw::EntryRow,
        dhcp: adw::SwitchRow,
        range: adw::EntryRow,
        ipv6: adw::EntryRow,
        reach: adw::ComboRow,
        uplink: adw::ComboRow,
        domain: adw::EntryRow,
        autostart: adw::SwitchRow,
    }
}
