use adw::{prelude::*, subclass::prelude::*};
use gtk::{gio, glib::VariantTy};
use relm4::{ComponentSender, adw, gtk};

use super::{Message, Root, Window};
use crate::backend::{Action, GroupAction};

impl Window {
    /// Ties the window's actions, list and search to messages.
    pub(super) fn connect(&self, root: &Root, sender: &ComponentSender<Self>) {
        let input = sender.input_sender();
        let send = |message: fn() -> Message| {
            let input = input.clone();
            move |_: &Root, _: &gio::SimpleAction, _: Option<&gtk::glib::Variant>| {
                input.emit(message())
            }
        };
        let send_path = |message: fn(String) -> Message| {
            let input = input.clone();
            move |_: &Root, _: &gio::SimpleAction, path: Option<&gtk::glib::Variant>| {
                if let Some(path) = path.and_then(|path| path.get()) {
                    input.emit(message(path));
                }
            }
        };
        let plain = |name, message| {
            gio::ActionEntry::builder(name)
                .activate(send(message))
                .build()
        };
        let on_path = |name, message| {
            gio::ActionEntry::builder(name)
                .parameter_type(Some(VariantTy::STRING))
                .activate(send_path(message))
                .build()
        };
        root.add_action_entries([
            plain("new", || Message::New),
            plain("retry", || Message::Retry),
            plain("about", || Message::About),
            plain("import", || Message::ChooseImport),
            plain("defaults", || Message::Defaults),
            plain("autostart", || Message::Autostart),
            plain("computer", || Message::Computer),
            plain("networks", || Message::Networks),
            on_path("start", |path| Message::Ask(path, Action::Start)),
            on_path("stop", |path| Message::Ask(path, Action::Stop)),
            on_path("cancel-job", Message::CancelJob),
            on_path("shown", Message::OnShown),
            gio::ActionEntry::builder("search")
                .activate(|root: &Root, _, _| {
                    root.imp().search_bar.set_search_mode(true);
                    root.imp().search.grab_focus();
                })
                .build(),
        ]);
        for action in GroupAction::ALL {
            let to = input.clone();
            let entry = gio::ActionEntry::builder(action.name())
                .activate(move |_: &Root, _, _| to.emit(Message::AskGroup(action)))
                .build();
            root.add_action_entries([entry]);
        }
        let parts = root.imp();
        let to = input.clone();
        parts
            .groups
            .connect_selected_notify(move |groups| to.emit(Message::Group(groups.selected())));
        let to = input.clone();
        self.list
            .connect_selected(&parts.list, move |path| to.emit(Message::Selected(path)));
        let to = input.clone();
        parts
            .search
            .connect_search_changed(move |entry| to.emit(Message::Search(entry.text().into())));
        let to = input.clone();
        parts.split.connect_show_content_notify(move |split| {
            if !split.shows_content() && split.is_collapsed() {
                to.emit(Message::Back);
            }
        });
    }
}
