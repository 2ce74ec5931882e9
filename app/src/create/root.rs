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
        fault: adw::Banner,
        stack: gtk::Stack,
        name: adw::EntryRow,
        name_message: gtk::Label,
        template: adw::ComboRow,
        image_row: adw::ActionRow,
        image_button: gtk::Button,
        archive_row: adw::ActionRow,
        choose_button: gtk::Button,
        script: adw::EntryRow,
        distribution: adw::EntryRow,
        release: adw::EntryRow,
        mirror: adw::EntryRow,
        arguments: adw::EntryRow,
        start: adw::SwitchRow,
        ephemeral: adw::SwitchRow,
        privileged: adw::SwitchRow,
        backend: adw::ComboRow,
        folder: adw::EntryRow,
        group: adw::EntryRow,
        volume: adw::EntryRow,
        thin_pool: adw::EntryRow,
        pool: adw::EntryRow,
        file_system: adw::EntryRow,
        size: adw::EntryRow,
        config: gtk::TextView,
        progress_page: adw::StatusPage,
        progress: gtk::ProgressBar,
        stage: gtk::Label,
        cancel_button: gtk::Button,
    }
}
