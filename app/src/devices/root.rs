use crate::widgets::{States, widget};
use relm4::adw;

widget! {
    /// The widgets of a container's page of devices.
    Root("GantryDevices") in "../../../data/ui/devices.ui",
    extends adw::Bin [] by BinImpl [],
    implements [],
    {
        states: super::States,
        empty: adw::StatusPage,
        start: gtk::Button,
        add_node: gtk::Button,
        add_interface: gtk::Button,
        nodes: adw::PreferencesGroup,
        interfaces: adw::PreferencesGroup,
    }
}
