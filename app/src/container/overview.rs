use adw::{prelude::*, subclass::prelude::*};
use gtk::glib;
use relm4::{adw, gtk};

use crate::{
    backend::{Container, Usage},
    known::Known,
    settings::RestartGroup,
    text::{duration, mark, rate, size, state_class, state_icon, state_word, tr, tr_name},
    widgets::{PropertyRow, widget},
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
        legacy: adw::ActionRow,
        restart: super::RestartGroup,
        now: adw::PreferencesGroup,
        uptime: super::PropertyRow,
        addresses: super::PropertyRow,
        init_pid: super::PropertyRow,
        usage: adw::PreferencesGroup,
        usage_loading: adw::ActionRow,
        usage_problem: adw::ActionRow,
        processors: super::PropertyRow,
        memory: super::PropertyRow,
        memory_bar: gtk::LevelBar,
        processes: super::PropertyRow,
        disks: super::PropertyRow,
        network: super::PropertyRow,
        owner: super::PropertyRow,
        privileges: super::PropertyRow,
        storage: super::PropertyRow,
        architecture: super::PropertyRow,
        autostart: super::PropertyRow,
        groups: super::PropertyRow,
        dependents: super::PropertyRow,
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

        let broken = !container.config_error.is_empty();
        parts.config_error.set_subtitle(&container.config_error);
        parts.config_error.set_visible(broken);
        parts.legacy.set_visible(container.legacy_config);
        parts
            .attention
            .set_visible(broken || container.legacy_config);
        parts.restart.show_keys(&container.needs_restart);

        let runs = container.init_pid != 0;
        parts.now.set_visible(runs);
        parts.usage.set_visible(runs);
        parts.uptime.set_value(&uptime(container.started_at));
        parts.addresses.set_value(&match &container.addresses[..] {
            [] => tr("None yet"),
            addresses => addresses.join("\n"),
        });
        parts.init_pid.set_value(&container.init_pid.to_string());

        parts.owner.set_value(&owner(&container.owner));
        parts.privileges.set_value(&if container.privileged {
            tr("Privileged: root inside is root on this computer")
        } else {
            tr("Own user ids: root inside is nobody on this computer")
        });
        let storage = match (container.backend.as_str(), container.ephemeral) {
            (backend, false) => backend.to_owned(),
            (backend, true) => format!("{backend} · {}", tr("removed when it stops")),
        };
        parts.storage.set_value(&storage);
        parts.architecture.set_value(&container.architecture);
        parts.autostart.set_value(&if container.autostart {
            tr("Yes")
        } else {
            tr("No")
        });
        parts.groups.set_value(&container.groups.join(", "));
        parts.dependents.set_value(&container.dependents.join(", "));
    }

    /// Shows what the container uses, or why that is not known.
    pub fn show_usage(&self, known: &Known<Usage>) {
        let parts = self.imp();
        parts
            .usage_loading
            .set_visible(matches!(known, Known::Nothing));
        if let Known::Problem(problem) = known {
            parts.usage_problem.set_title(&problem.heading);
            parts.usage_problem.set_subtitle(&problem.cause);
        }
        parts
            .usage_problem
            .set_visible(matches!(known, Known::Problem(_)));
        let nothing = Usage::default();
        let usage = known.there().unwrap_or(&nothing);
        let value = |row: &PropertyRow, value: Option<String>| {
            row.set_value(&value.unwrap_or_default());
        };
        value(
            &parts.processors,
            usage
                .processors
                .map(|percent| tr_name("{name} % of one", &format!("{percent:.1}"))),
        );
        value(&parts.memory, usage.memory.map(|used| memory(used, usage)));
        #[allow(clippy::cast_precision_loss)] // of a bar
        let part = usage
            .memory
            .zip(usage.memory_limit)
            .map(|(used, limit)| used as f64 / limit.max(1) as f64);
        parts.memory_bar.set_value(part.unwrap_or_default());
        parts.memory_bar.set_visible(part.is_some());
        value(
            &parts.processes,
            usage.processes.map(|number| number.to_string()),
        );
        let two = |pair: Option<(f64, f64)>, message: &str| {
            pair.map(|(one, other)| {
                tr(message)
                    .replace("{in}", &rate(one))
                    .replace("{out}", &rate(other))
            })
        };
        value(
            &parts.disks,
            two(
                usage.read.zip(usage.written),
                mark("{in} read, {out} written"),
            ),
        );
        value(
            &parts.network,
            two(
                usage.received.zip(usage.sent),
                mark("{in} received, {out} sent"),
            ),
        );
    }
}

fn memory(used: u64, usage: &Usage) -> String {
    match usage.memory_limit {
        Some(limit) => tr("{done} of {total}")
            .replace("{done}", &size(used))
            .replace("{total}", &size(limit)),
        None => size(used),
    }
}

/// How long it has run, and since when; nothing when that is not known.
fn uptime(started_at: i64) -> String {
    let now = glib::real_time();
    let seconds = u64::try_from((now - started_at) / 1_000_000).unwrap_or_default();
    let date = glib::DateTime::from_unix_local(started_at / 1_000_000)
        .and_then(|started| started.format("%c"));
    match date {
        Ok(date) if started_at != 0 => tr("{length}, since {date}")
            .replace("{length}", &duration(seconds))
            .replace("{date}", &date),
        _ => String::new(),
    }
}

fn owner(owner: &str) -> String {
    match owner.strip_prefix('u') {
        Some(uid) => tr("User {uid}").replace("{uid}", uid),
        None => tr("The system"),
    }
}
