use super::{RestartGroup, SettingRow};
use crate::widgets::{States, widget};
use relm4::adw;

widget! {
    /// The widgets of a container's page of settings.
    Root("GantrySettings") in "../../../data/ui/settings.ui",
    extends adw::Bin [] by BinImpl [],
    implements [],
    {
        states: super::States,
        autostart: adw::SwitchRow,
        restart: super::RestartGroup,
        order: super::SettingRow,
        delay: super::SettingRow,
        groups: super::SettingRow,
        memory: super::SettingRow,
        processors: super::SettingRow,
        quota: super::SettingRow,
        which: super::SettingRow,
        processes: super::SettingRow,
        room: adw::ActionRow,
        room_loading: adw::Spinner,
        room_retry: gtk::Button,
        grow: gtk::Button,
    }
}
