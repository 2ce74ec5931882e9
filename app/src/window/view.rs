use adw::{prelude::*, subclass::prelude::*};
use gtk::gio;
use relm4::{ComponentController as _, adw, gtk};

use super::{Link, Root, Shown, Window};
use crate::text::{count, tr};

impl Window {
    /// Makes the window show what the model says.
    pub(super) fn render(&self, root: &Root) {
        let parts = root.imp();
        let online = self.link == Link::Ready;
        let absent = matches!(self.link, Link::Absent(_));
        let usable = [
            ("new", online),
            ("import", online),
            ("defaults", online),
            ("autostart", online),
            ("computer", self.loaded),
            ("networks", self.loaded),
            ("start", online),
            ("stop", online),
            ("cancel-job", online),
            ("retry", absent),
        ];
        for (name, usable) in usable {
            if let Some(action) = root.lookup_action(name).and_downcast::<gio::SimpleAction>() {
                action.set_enabled(usable);
            }
        }
        self.enable_group_actions(root, online);
        if let Link::Absent(absence) = &self.link {
            parts.absence.set_title(&absence.heading());
            parts.absence.set_description(Some(&absence.remedy()));
            parts.absence_details.set_label(absence.details());
            parts
                .absence_details
                .set_visible(!absence.details().is_empty());
        }
        // Terminals go on without the helper, so their page stays; so does the
        // page of absence until the helper has really answered.
        let keeps_terminal = self.pages.values().any(|page| page.model().has_terminals());
        match self.link {
            Link::Ready => parts.views.set_visible_child_name("main"),
            Link::Absent(_) if !keeps_terminal => parts.views.set_visible_child_name("absent"),
            Link::Absent(_) | Link::Connecting => (),
        }
        parts.lists.set_visible_child_name(if !self.loaded {
            "loading"
        } else if self.list.is_empty() {
            "empty"
        } else if self.list.shown() == 0 {
            "no-match"
        } else {
            "list"
        });
        parts.host_problems.set_visible(self.host_problems > 0);
        parts.host_problems_text.set_label(&count(
            self.host_problems,
            "{n} Thing on This Computer Needs Attention",
            "{n} Things on This Computer Need Attention",
        ));
        if self.shown == Shown::Nothing && !parts.split.is_collapsed() {
            parts.pages.set_visible_child_name("none");
            parts.content.set_title(&tr("Container"));
        }
    }
}

/// Shows who makes this program and what it may be used for.
pub(super) fn about(root: &Root) {
    adw::AboutDialog::builder()
        .application_icon(gantry_api::APP_ID)
        .application_name(tr("Gantry"))
        .version(env!("CARGO_PKG_VERSION"))
        .comments(tr("LXC system containers in a GNOME window"))
        .license_type(gtk::License::Gpl30)
        .build()
        .present(Some(root));
}
