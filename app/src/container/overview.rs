use adw::{prelude::*, subclass::prelude::*};
use relm4::adw;

use crate::{
    backend::Container,
    text::{state_class, state_icon, state_word, tr},
    widgets::widget,
};

widget! {
    /// What there is to know of a container.
    Overview("GantryOverview") in "../../../data/ui/overview.ui",
    extends adw::Bin [] by BinImpl [],
    implements [],
    {
        name: gtk::Label,
        state_icon: gtk::Image,
        state: gtk::Label,
        description: gtk::Label,
        attention: adw::PreferencesGroup,
        config_error: adw::ActionRow,
        needs_restart: adw::ActionRow,
        now: adw::PreferencesGroup,
        addresses: adw::ActionRow,
        init_pid: adw::ActionRow,
        owner: adw::ActionRow,
        privileges: adw::ActionRow,
        storage: adw::ActionRow,
        architecture: adw::ActionRow,
        autostart: adw::ActionRow,
        groups: adw::ActionRow,
        dependents: adw::ActionRow,
    }
}

impl Overview {
    /// Shows what the container is now.
    pub fn show_container(&self, container: &Container) {
        let parts = self.imp();
        parts.name.set_label(&container.name);
        parts
            .state_icon
            .set_icon_name(Some(state_icon(container.state)));
        parts
            .state_icon
            .set_css_classes(&[state_class(container.state)]);
        parts.state.set_label(&state_word(container.state));
        parts.description.set_label(&container.description);
        parts
            .description
            .set_visible(!container.description.is_empty());

        fill(&parts.config_error, &container.config_error);
        fill(&parts.needs_restart, &container.needs_restart.join("\n"));
        parts
            .attention
            .set_visible(parts.config_error.is_visible() || parts.needs_restart.is_visible());

        let runs = container.init_pid != 0;
        parts.now.set_visible(runs);
        let addresses = container.addresses.join("\n");
        let none = tr("None yet");
        fill(
            &parts.addresses,
            if addresses.is_empty() {
                &none
            } else {
                &addresses
            },
        );
        fill(&parts.init_pid, &container.init_pid.to_string());

        fill(&parts.owner, &owner(&container.owner));
        fill(
            &parts.privileges,
            &if container.privileged {
                tr("Privileged: root inside is root on this computer")
            } else {
                tr("Own user ids: root inside is nobody on this computer")
            },
        );
        let storage = match (container.backend.as_str(), container.ephemeral) {
            (backend, false) => backend.to_owned(),
            (backend, true) => format!("{backend} · {}", tr("removed when it stops")),
        };
        fill(&parts.storage, &storage);
        fill(&parts.architecture, &container.architecture);
        fill(
            &parts.autostart,
            &if container.autostart {
                tr("Yes")
            } else {
                tr("No")
            },
        );
        fill(&parts.groups, &container.groups.join(", "));
        fill(&parts.dependents, &container.dependents.join(", "));
    }
}

/// Shows `value` in the row, or hides the row when there is none.
fn fill(row: &adw::ActionRow, value: &str) {
    row.set_subtitle(value);
    row.set_visible(!value.is_empty());
}

fn owner(owner: &str) -> String {
    match owner.strip_prefix('u') {
        Some(uid) => tr("User {uid}").replace("{uid}", uid),
        None => tr("The system"),
    }
}
