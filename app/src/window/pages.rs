use adw::{prelude::*, subclass::prelude::*};
use relm4::{Component as _, ComponentController as _, ComponentSender, adw};

use super::{Link, Message, Root, Shown, Window};
use crate::{
    computer,
    container::{self, ContainerPage},
    networks,
    text::tr,
};

impl Window {
    /// Shows the page of the container at `path`, made when it is first wanted.
    pub(super) fn show(&mut self, path: String, sender: &ComponentSender<Self>, root: &Root) {
        let parts = root.imp();
        let Some(container) = self.list.get(&path) else {
            return;
        };
        parts.content.set_title(&container.name);
        let page = self.pages.entry(path.clone()).or_insert_with(|| {
            let owner = path.clone();
            let page = ContainerPage::builder()
                .launch((self.backend.clone(), container, self.link == Link::Ready))
                .forward(sender.input_sender(), move |wanted| {
                    Message::Wanted(owner.clone(), wanted)
                });
            let networks = self.wires.values().cloned().collect();
            page.emit(container::Message::Networks(networks));
            parts.pages.add_child(page.widget());
            page
        });
        parts.pages.set_visible_child(page.widget());
        parts.split.set_show_content(true);
        self.tell_jobs(&path);
        self.shown = Shown::Container(path);
    }

    /// Shows and selects the container of this name, now or when it is told of.
    pub(super) fn show_once_there(
        &mut self,
        name: String,
        sender: &ComponentSender<Self>,
        root: &Root,
    ) {
        match self.list.named(&name) {
            Some(path) => {
                self.show(path.clone(), sender, root);
                self.list.select(Some(&path));
            }
            None => self.awaited = Some(name),
        }
    }

    pub(super) fn show_computer(&mut self, root: &Root) {
        let parts = root.imp();
        self.shown = Shown::Computer;
        self.list.select(None);
        self.computer.emit(computer::Message::Shown);
        parts.pages.set_visible_child(self.computer.widget());
        parts.content.set_title(&tr("This Computer"));
        parts.split.set_show_content(true);
    }

    pub(super) fn show_networks(&mut self, root: &Root) {
        let parts = root.imp();
        self.shown = Shown::Networks;
        self.list.select(None);
        self.networks.emit(networks::Message::Shown);
        parts.pages.set_visible_child(self.networks.widget());
        parts.content.set_title(&tr("Networks"));
        parts.split.set_show_content(true);
    }

    pub(super) fn close_page(&mut self, path: &str, root: &Root) {
        if let Some(page) = self.pages.remove(path) {
            root.imp().pages.remove(page.widget());
        }
        if matches!(&self.shown, Shown::Container(shown) if shown == path) {
            self.shown = Shown::Nothing;
            root.imp().split.set_show_content(false);
        }
    }
}
