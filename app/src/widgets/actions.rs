use gtk::{gio, glib, prelude::*};
use relm4::gtk;

/// Gives a widget, and all in it, the group of actions of this name: each sends its
/// message.
pub fn install_actions<M: Clone + 'static>(
    widget: &impl IsA<gtk::Widget>,
    group: &str,
    to: &relm4::Sender<M>,
    actions: impl IntoIterator<Item = (&'static str, M)>,
) -> gio::SimpleActionGroup {
    let installed = gio::SimpleActionGroup::new();
    for (name, message) in actions {
        let action = gio::SimpleAction::new(name, None);
        let to = to.clone();
        action.connect_activate(move |_, _: Option<&glib::Variant>| to.emit(message.clone()));
        installed.add_action(&action);
    }
    widget.insert_action_group(group, Some(&installed));
    installed
}
