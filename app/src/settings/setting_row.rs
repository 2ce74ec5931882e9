use adw::{prelude::*, subclass::prelude::*};
use relm4::{adw, gtk};

use crate::widgets::widget;

widget! {
    /// A setting that is typed and applied.
    SettingRow("GantrySettingRow") in "../../../data/ui/setting_row.ui",
    extends adw::EntryRow [adw::PreferencesRow, gtk::ListBoxRow]
        by EntryRowImpl [ListBoxRowImpl, PreferencesRowImpl],
    implements [gtk::Actionable, gtk::Editable],
    {
        restart: gtk::Label,
    }
}

impl SettingRow {
    /// Marks, or not, that what is saved takes effect at the next start.
    pub fn set_needs_restart(&self, needs: bool) {
        self.imp().restart.set_visible(needs);
    }
}
