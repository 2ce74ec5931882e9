use relm4::adw;

use crate::widgets::{PropertyRow, widget};

widget! {
    /// The widgets of a network's page.
    Root("GantryNetwork") in "../../../data/ui/network.ui",
    extends adw::NavigationPage [] by NavigationPageImpl [],
    implements [],
    {
        main_button: gtk::Button,
        offline: adw::Banner,
        sign: gtk::Image,
        state: gtk::Label,
        attention: adw::PreferencesGroup,
        fault: adw::ActionRow,
        found: adw::ActionRow,
        addresses: super::PropertyRow,
        range: super::PropertyRow,
        nat: super::PropertyRow,
        domain: super::PropertyRow,
        autostart: super::PropertyRow,
        driver: super::PropertyRow,
        ports: adw::PreferencesGroup,
        given: adw::PreferencesGroup,
        given_loading: adw::ActionRow,
        given_problem: adw::ActionRow,
        leases: adw::PreferencesGroup,
        reservations: adw::PreferencesGroup,
        forwards: adw::PreferencesGroup,
    }
}
