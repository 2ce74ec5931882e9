use adw::{prelude::*, subclass::prelude::*};
use relm4::{adw, gtk};

use crate::{
    backend::{EXTRAS, Finding},
    text::{tr, tr_name},
    widgets::widget,
};

widget! {
    /// One thing that was looked at: icon and word say whether it is well, the
    /// text can be selected, and the remedy copied.
    FindingRow("GantryFindingRow") in "../../../data/ui/finding_row.ui",
    extends adw::ActionRow [adw::PreferencesRow, gtk::ListBoxRow]
        by ActionRowImpl [ListBoxRowImpl, PreferencesRowImpl],
    implements [gtk::Actionable],
    {
        sign: gtk::Image,
        word: gtk::Label,
        copy: gtk::Button,
    }
}

impl FindingRow {
    /// A row that shows `finding`.
    #[must_use]
    pub fn new(finding: &Finding) -> Self {
        let this = Self::default();
        this.set_title(&finding.item);
        this.set_subtitle(&finding.text);
        let (icon, class, word) = match (finding.ok, finding.topic.as_str()) {
            (true, _) => ("object-select-symbolic", "success", tr("Well")),
            (false, EXTRAS) => ("dialog-information-symbolic", "dim-label", tr("Missing")),
            (false, _) => ("dialog-warning-symbolic", "warning", tr("Not Well")),
        };
        let parts = this.imp();
        parts.sign.set_icon_name(Some(icon));
        parts.sign.set_css_classes(&[class]);
        parts.word.set_label(&word);
        parts.word.set_css_classes(&["caption", class]);
        parts.copy.set_visible(!finding.ok);
        let label = tr_name("Copy the Remedy for {name}", &finding.item);
        parts.copy.set_tooltip_text(Some(&label));
        let remedy = finding.remedy().to_owned();
        parts.copy.connect_clicked(move |button| {
            button.clipboard().set_text(&remedy);
            button.set_icon_name("object-select-symbolic");
            let copied = tr("Copied");
            button.set_tooltip_text(Some(&copied));
            button.announce(&copied, gtk::AccessibleAnnouncementPriority::Medium);
        });
        this
    }
}
