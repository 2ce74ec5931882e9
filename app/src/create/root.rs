use crate::widgets::widget;
use relm4::{adw, gtk};

widget! {
    /// The widgets of the dialog for a new container.
    Root("GantryCreateDialog") in "../../../data/ui/create_dialog.ui",
    extends adw::Dialog [] by AdwDialogImpl [],
    implements [gtk::ShortcutManager],
    {
        close_button: gtk::Button,
        create_button: gtk::Button,
        stack: gtk::Stack,
        name: adw::EntryRow,
        name_message: gtk::Label,
        archive_row: adw::ActionRow,
        archive: gtk::CheckButton,
        choose_button: gtk::Button,
        start: adw::SwitchRow,
        privileged: adw::SwitchRow,
        progress_page: adw::StatusPage,
        progress: gtk::ProgressBar,
        stage: gtk::Label,
        cancel_button: gtk::Button,
    }
}
