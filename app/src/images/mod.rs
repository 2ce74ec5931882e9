//! The dialog of what image servers have.

mod root;

use adw::{prelude::*, subclass::prelude::*};
use relm4::{Component, ComponentParts, ComponentSender, adw};
use tokio::sync::oneshot;

pub use root::Root;

use crate::{
    backend::{Backend, Image},
    known::Known,
    text::{tr, tr_name},
    widgets::{SearchList, SearchRow, States, install_actions},
};

/// The dialog's state.
#[derive(Debug)]
pub struct ImagesDialog {
    backend: Backend,
    /// Its answer is wanted until this is dropped.
    wanted: Option<oneshot::Sender<()>>,
    known: Known<Vec<Image>>,
    rows: SearchList,
}

/// What the user wants.
#[derive(Clone, Debug)]
pub enum Message {
    /// Ask the servers.
    Load,
    /// The image at this place is wanted.
    Choose(usize),
    /// The dialog is closed.
    Closed,
}

/// What was found, or what went wrong.
#[derive(Debug)]
pub struct Found(gantry_api::Result<Vec<Image>>);

impl Component for ImagesDialog {
    type Init = Backend;
    type Input = Message;
    /// The image that was chosen.
    type Output = Image;
    type CommandOutput = Found;
    type Root = Root;
    type Widgets = ();

    fn init_root() -> Root {
        States::ensure_type();
        Root::default()
    }

    fn init(backend: Backend, root: Root, sender: ComponentSender<Self>) -> ComponentParts<Self> {
        let parts = root.imp();
        let model = Self {
            backend,
            wanted: None,
            known: Known::Nothing,
            rows: SearchList::new(&parts.list, &parts.search, &parts.nothing.get()),
        };
        let input = sender.input_sender();
        install_actions(&root, "images", input, [("load", Message::Load)]);
        let to = input.clone();
        model
            .rows
            .connect_activated(move |place| to.emit(Message::Choose(place)));
        let to = input.clone();
        parts.server.connect_apply(move |_| to.emit(Message::Load));
        let to = input.clone();
        parts.proxy.connect_apply(move |_| to.emit(Message::Load));
        let to = input.clone();
        root.connect_closed(move |_| to.emit(Message::Closed));
        sender.input(Message::Load);
        model.render(&root);
        ComponentParts { model, widgets: () }
    }

    fn update(&mut self, message: Message, sender: ComponentSender<Self>, root: &Root) {
        match message {
            Message::Load => self.load(&sender, root),
            Message::Choose(place) => {
                let images = self.known.there();
                if let Some(image) = images.and_then(|images| images.get(place)) {
                    // Fails only when the window is gone.
                    sender.output(image.clone()).unwrap_or_default();
                    root.close();
                }
            }
            Message::Closed => self.wanted = None,
        }
        self.render(root);
    }

    fn update_cmd(&mut self, Found(result): Found, _: ComponentSender<Self>, root: &Root) {
        if let Ok(images) = &result {
            self.rows.replace(rows(images));
        }
        let heading = tr("The Images Could Not Be Listed");
        self.known.take_in(&heading, result);
        self.render(root);
    }
}

impl ImagesDialog {
    fn load(&mut self, sender: &ComponentSender<Self>, root: &Root) {
        self.known = Known::Nothing;
        let (wanted, unwanted) = oneshot::channel();
        self.wanted = Some(wanted);
        let backend = self.backend.clone();
        let parts = root.imp();
        let [server, proxy] = [&parts.server, &parts.proxy].map(|row| row.text().trim().to_owned());
        // Not ended with the dialog: the helper would go on to ask.
        sender.command(move |out, _| async move {
            let found = backend
                .images((&server, &proxy), unwanted)
                .await
                .transpose();
            if let Some(found) = found {
                // Fails only when the dialog is gone.
                out.send(Found(found)).ok();
            }
        });
    }

    /// Makes the dialog show what the model says; the rows stand there already.
    fn render(&self, root: &Root) {
        self.known.show_in(&root.imp().states, Vec::is_empty);
    }
}

fn rows(images: &[Image]) -> Vec<SearchRow> {
    let row = |(place, image): (usize, &Image)| {
        let cached = image.cached.then(|| tr("on this computer"));
        let built = (!image.serial.is_empty()).then(|| tr_name("built {name}", &image.serial));
        let facts = [Some(image.architecture.clone()), built, cached];
        let server = Some(image.server.clone()).filter(|server| !server.is_empty());
        let facts = facts.into_iter().chain([server]).flatten();
        SearchRow {
            place,
            title: image.words(),
            facts: facts.collect::<Vec<_>>().join(" · "),
            ..SearchRow::default()
        }
    };
    images.iter().enumerate().map(row).collect()
}
