use relm4::adw;

use crate::widgets::{States, widget};

widget! {
    /// The widgets of the page of networks.
    Root("GantryNetworks") in "../../../data/ui/networks.ui",
    extends adw::Bin [] by BinImpl [],
    implements [],
    {
        navigation: adw::NavigationView,
        states: super::States,
        list: gtk::ListBox,
        host: adw::PreferencesGroup,
    }
}
