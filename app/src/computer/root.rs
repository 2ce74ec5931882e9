use crate::widgets::{States, widget};
use relm4::adw;

widget! {
    /// The widgets of the page of this computer.
    Root("GantryComputerPage") in "../../../data/ui/computer_page.ui",
    extends adw::Bin [] by BinImpl [],
    implements [],
    {
        refresh_button: gtk::Button,
        states: super::States,
        sign: gtk::Image,
        summary: gtk::Label,
        groups: gtk::Box,
    }
}
