use relm4::adw;

use super::wiring::Wiring;
use crate::widgets::{States, widget};

widget! {
    /// The widgets of a container's page of network interfaces.
    Root("GantryInterfaces") in "../../../data/ui/interfaces.ui",
    extends adw::Bin [] by BinImpl [],
    implements [],
    {
        states: super::States,
        wiring: super::Wiring,
        interfaces: adw::PreferencesGroup,
    }
}
