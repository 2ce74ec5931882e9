use adw::{prelude::*, subclass::prelude::*};
use relm4::adw;

use crate::widgets::widget;

widget! {
    /// Which saved keys take effect at the next start, with a button for that; hidden
    /// when all is in effect.
    RestartGroup("GantryRestartGroup") in "../../../data/ui/restart_group.ui",
    extends adw::PreferencesGroup [] by PreferencesGroupImpl [],
    implements [],
    {
        row: adw::ActionRow,
    }
}

impl RestartGroup {
    /// Shows these keys.
    pub fn show_keys(&self, keys: &[String]) {
        self.imp().row.set_subtitle(&keys.join("\n"));
        self.set_visible(!keys.is_empty());
    }
}
