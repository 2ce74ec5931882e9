use relm4::{adw, gtk};

use crate::widgets::{FormFrame, widget};

widget! {
    /// The widgets of the dialog of what a network interface is to be.
    Root("GantryInterfaceDialog") in "../../../data/ui/interface_dialog.ui",
    extends adw::Dialog [] by AdwDialogImpl [],
    implements [gtk::ShortcutManager],
    {
        frame: super::FormFrame,
        place: adw::PreferencesGroup,
        kind: adw::ComboRow,
        link: adw::ComboRow,
        mode: adw::ComboRow,
        vlan: adw::EntryRow,
        inside: adw::PreferencesGroup,
        name: adw::EntryRow,
        hwaddr: adw::EntryRow,
        mtu: adw::EntryRow,
        up: adw::SwitchRow,
        addresses: adw::PreferencesGroup,
        ipv4: adw::EntryRow,
        ipv4_gateway: adw::EntryRow,
        ipv6: adw::EntryRow,
        ipv6_gateway: adw::EntryRow,
    }
}
