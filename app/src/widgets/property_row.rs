use adw::prelude::*;
use relm4::{adw, gtk};

use super::widget;

widget! {
    /// A row that says what something is: the value can be selected.
    PropertyRow("GantryPropertyRow") in "../../../data/ui/property_row.ui",
    extends adw::ActionRow [adw::PreferencesRow, gtk::ListBoxRow]
        by ActionRowImpl [ListBoxRowImpl, PreferencesRowImpl],
    implements [gtk::Actionable],
    {}
}

impl PropertyRow {
    /// Shows `value`, or hides the row when there is none.
    pub fn set_value(&self, value: &str) {
        self.set_subtitle(value);
        self.set_visible(!value.is_empty());
    }
}
