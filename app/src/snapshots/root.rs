use crate::widgets::{States, widget};
use relm4::adw;

widget! {
    /// The widgets of a container's page of snapshots.
    Root("GantrySnapshots") in "../../../data/ui/snapshots.ui",
    extends adw::Bin [] by BinImpl [],
    implements [],
    {
        states: super::States,
        list: gtk::ListView,
    }
}
