use crate::widgets::widget;
use relm4::adw;

widget! {
    /// The widgets of a container's page of settings.
    Root("GantrySettings") in "../../../data/ui/settings.ui",
    extends adw::Bin [] by BinImpl [],
    implements [],
    {
        stack: gtk::Stack,
        problem: adw::StatusPage,
        autostart: adw::SwitchRow,
        order: adw::EntryRow,
        delay: adw::EntryRow,
        groups: adw::EntryRow,
        memory: adw::EntryRow,
        processors: adw::EntryRow,
        processes: adw::EntryRow,
    }
}
