use adw::{prelude::*, subclass::prelude::*};
use gtk::{gio, glib};
use relm4::{adw, gtk};

use super::Message;
use crate::{
    backend::Snapshot,
    text::{size, tr, tr_name},
    widgets::{install_actions, widget},
};

widget! {
    /// A snapshot, with the menu of what can be done with it.
    SnapshotRow("GantrySnapshotRow") in "../../../data/ui/snapshot_row.ui",
    extends adw::Bin [] by BinImpl [],
    implements [],
    {
        title: gtk::Label,
        facts: gtk::Label,
        current: gtk::Label,
        menu: gtk::MenuButton,
    }
}

impl SnapshotRow {
    fn show(&self, snapshot: &Snapshot, to: &relm4::Sender<Message>) {
        let parts = self.imp();
        parts.title.set_label(title(snapshot));
        parts.facts.set_label(&facts(snapshot));
        parts.current.set_visible(snapshot.current);
        let label = tr_name("Actions of “{name}”", &snapshot.name);
        parts.menu.set_tooltip_text(Some(&label));
        parts
            .menu
            .update_property(&[gtk::accessible::Property::Label(&label)]);
        let actions = [
            ("restore", Message::AskRestore(snapshot.clone())),
            ("compare", Message::Compare(snapshot.name.clone())),
            ("new", Message::AskNew(snapshot.name.clone())),
            ("comment", Message::AskComment(snapshot.clone())),
            ("delete", Message::AskDelete(snapshot.clone())),
        ];
        install_actions(self, "snapshot", to, actions);
    }
}

/// The user's own word for it, or its name.
fn title(snapshot: &Snapshot) -> &str {
    match snapshot.comment.as_str() {
        "" => &snapshot.name,
        comment => comment,
    }
}

fn facts(snapshot: &Snapshot) -> String {
    let date = glib::DateTime::from_unix_local(snapshot.created).and_then(|at| at.format("%c"));
    let copied = (snapshot.size != 0).then(|| size(snapshot.size));
    let parent = snapshot.parent.as_str();
    let after = (!parent.is_empty()).then(|| tr_name("after {name}", parent));
    let scheduled = snapshot.scheduled.then(|| tr("by schedule"));
    let name = (!snapshot.comment.is_empty()).then(|| snapshot.name.clone());
    let facts = [name, date.ok().map(Into::into), copied, after, scheduled];
    facts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// Makes `view` show snapshots as rows that send their messages to `to`; the list of
/// them is given back.
pub(super) fn show_in(view: &gtk::ListView, to: &relm4::Sender<Message>) -> gio::ListStore {
    let factory = gtk::SignalListItemFactory::new();
    factory.connect_setup(|_, item| {
        if let Some(item) = item.downcast_ref::<gtk::ListItem>() {
            item.set_child(Some(&SnapshotRow::default()));
        }
    });
    let to = to.clone();
    factory.connect_bind(move |_, item| {
        if let Some(item) = item.downcast_ref::<gtk::ListItem>()
            && let Some(row) = item.child().and_downcast::<SnapshotRow>()
            && let Some(object) = item.item().and_downcast::<glib::BoxedAnyObject>()
        {
            let snapshot = object.borrow::<Snapshot>();
            row.show(&snapshot, &to);
            let current = match snapshot.current {
                true => format!(", {}", tr("Current")),
                false => String::new(),
            };
            item.set_accessible_label(&format!("{}{current}", title(&snapshot)));
            item.set_accessible_description(&facts(&snapshot));
        }
    });
    let store = gio::ListStore::new::<glib::BoxedAnyObject>();
    view.set_factory(Some(&factory));
    view.set_model(Some(&gtk::NoSelection::new(Some(store.clone()))));
    store
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_comes_before_the_name() {
        let mut snapshot = Snapshot {
            name: "snap1".into(),
            parent: "snap0".into(),
            size: 2_000_000,
            ..Snapshot::default()
        };
        assert_eq!(title(&snapshot), "snap1");
        assert!(facts(&snapshot).ends_with("2.0\u{a0}MB · after snap0"));
        snapshot.comment = "before the upgrade".into();
        assert_eq!(title(&snapshot), "before the upgrade");
        assert!(facts(&snapshot).starts_with("snap1 · "));
    }
}
