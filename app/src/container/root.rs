use relm4::adw;

use super::{overview::Overview, terminals::Terminals};
use crate::{widgets::widget, window::JobList};

widget! {
    /// The widgets of a container's page.
    Root("GantryContainerPage") in "../../../data/ui/container_page.ui",
    extends adw::BreakpointBin [] by BreakpointBinImpl [],
    implements [],
    {
        header: adw::HeaderBar,
        main_button: gtk::Button,
        offline: adw::Banner,
        jobs: super::JobList,
        stack: adw::ViewStack,
        overview: super::Overview,
        terminals: super::Terminals,
    }
}
