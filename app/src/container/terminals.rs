use adw::{prelude::*, subclass::prelude::*};
use gantry_api::ContainerState;
use relm4::{adw, gtk};

use crate::{
    text::tr,
    widgets::{Terminal, widget},
};

widget! {
    /// A container's terminals, one a tab.
    Terminals("GantryTerminals") in "../../../data/ui/terminals.ui",
    extends adw::Bin [] by BinImpl [],
    implements [],
    {
        stack: gtk::Stack,
        none: adw::StatusPage,
        start: gtk::Button,
        console: gtk::Button,
        shell: gtk::Button,
        bar: adw::TabBar,
        view: adw::TabView,
    }
}

impl Terminals {
    /// Adds a tab and turns to it.
    #[must_use]
    pub fn add(&self, title: &str, terminal: &Terminal) -> adw::TabPage {
        let page = self.imp().view.append(terminal);
        page.set_title(title);
        page.set_loading(true);
        self.turn_to(&page);
        page
    }

    /// Turns to a tab and puts the keyboard into its terminal.
    pub fn turn_to(&self, page: &adw::TabPage) {
        self.imp().view.set_selected_page(page);
        page.child().grab_focus();
    }

    /// Puts the keyboard out of the terminal, onto its tab.
    pub fn leave(&self) {
        self.imp().bar.child_focus(gtk::DirectionType::TabForward);
    }

    /// Shows the tabs, or what to do when there are none.
    pub fn show_state(&self, state: ContainerState) {
        let parts = self.imp();
        let none = parts.view.n_pages() == 0;
        parts
            .stack
            .set_visible_child_name(if none { "none" } else { "tabs" });
        let runs = state == ContainerState::Running;
        let description = match state {
            ContainerState::Running => tr(
                "The console shows what the container says while it boots, and its login. A shell is root without a login.",
            ),
            ContainerState::Frozen => {
                tr("The container is frozen. Unfreeze it to open a terminal.")
            }
            _ => tr("The container is not running. Start it to open a terminal."),
        };
        parts.none.set_description(Some(&description));
        parts.start.set_visible(state == ContainerState::Stopped);
        parts.console.set_visible(runs);
        parts.shell.set_visible(runs);
    }
}
