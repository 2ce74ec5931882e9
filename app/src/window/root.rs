use relm4::{adw, gtk};

use super::jobs_button::JobsButton;
use crate::widgets::widget;

widget! {
    /// The window's widgets.
    Root("GantryWindow") in "../../../data/ui/window.ui",
    extends adw::ApplicationWindow [gtk::ApplicationWindow, gtk::Window]
        by AdwApplicationWindowImpl [WindowImpl, ApplicationWindowImpl],
    implements [
        gtk::gio::ActionGroup, gtk::gio::ActionMap, gtk::Native,
        gtk::Root, gtk::ShortcutManager
    ],
    {
        views: gtk::Stack,
        split: adw::NavigationSplitView,
        content: adw::NavigationPage,
        pages: gtk::Stack,
        lists: gtk::Stack,
        list: gtk::ListView,
        groups_bar: gtk::Box,
        groups: gtk::DropDown,
        search_bar: gtk::SearchBar,
        search: gtk::SearchEntry,
        jobs: super::JobsButton,
        host_problems: gtk::Button,
        host_problems_text: gtk::Label,
        absence: adw::StatusPage,
        absence_details: gtk::Label,
    }
}
