use gtk::{glib, prelude::*, subclass::prelude::*};
use relm4::gtk;

use crate::{
    backend::{Action, Container},
    text::{mark, state_class, state_icon, state_word, tr, tr_name},
};

mod imp {
    use std::cell::{Cell, RefCell};

    use super::*;

    /// What a row shows; the template binds to it.
    #[derive(Debug, Default, glib::Properties)]
    #[properties(wrapper_type = super::ContainerItem)]
    pub struct ContainerItem {
        /// The object's path on the bus.
        #[property(get, set)]
        path: RefCell<String>,
        /// The container's name.
        #[property(get, set)]
        name: RefCell<String>,
        /// What assistive technologies call the row.
        #[property(get, set)]
        label: RefCell<String>,
        /// The line below the name.
        #[property(get, set)]
        summary: RefCell<String>,
        /// The state's icon.
        #[property(get, set)]
        icon: RefCell<String>,
        /// The icon's style classes.
        #[property(get, set)]
        icon_classes: RefCell<Vec<String>>,
        /// Whether it can be started or stopped now.
        #[property(get, set)]
        can_switch: Cell<bool>,
        /// The action that does it.
        #[property(get, set)]
        switch_action: RefCell<String>,
        /// The button's icon.
        #[property(get, set)]
        switch_icon: RefCell<String>,
        /// What the button does, in words.
        #[property(get, set)]
        switch_label: RefCell<String>,
        /// The path, as actions take it.
        #[property(get, set, nullable, builder(glib::VariantTy::STRING))]
        target: RefCell<Option<glib::Variant>>,
        pub(super) container: RefCell<Option<Container>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for ContainerItem {
        const NAME: &'static str = "GantryContainerItem";
        type Type = super::ContainerItem;
    }

    #[glib::derived_properties]
    impl ObjectImpl for ContainerItem {}
}

glib::wrapper! {
    /// A container in the list. It stays the same object while the container
    /// changes, so that selection and scroll position do.
    pub struct ContainerItem(ObjectSubclass<imp::ContainerItem>);
}

impl ContainerItem {
    /// An item for `container`.
    #[must_use]
    pub fn new(container: Container) -> Self {
        let this: Self = glib::Object::new();
        this.set_path(container.path.clone());
        this.set_target(Some(container.path.to_variant()));
        this.update(container);
        this
    }

    /// The container as it was last described.
    #[must_use]
    pub fn container(&self) -> Option<Container> {
        self.imp().container.borrow().clone()
    }

    /// Shows what the container is now.
    pub fn update(&self, container: Container) {
        let word = state_word(container.state);
        let broken = !container.config_error.is_empty();
        let summary = if broken {
            tr("Configuration error")
        } else {
            // The short one, where there is one: the row has little room.
            let mut addresses = container.addresses.iter();
            let short = addresses.clone().find(|address| !address.contains(':'));
            let first = short.or_else(|| addresses.next());
            first.map_or_else(|| word.clone(), |address| format!("{word} · {address}"))
        };
        let (icon, class) = if broken {
            ("dialog-warning-symbolic", "warning")
        } else {
            (state_icon(container.state), state_class(container.state))
        };
        let owner = match container.owner.as_str() {
            "system" => String::new(),
            _ => format!(" · {}", tr("yours")),
        };
        self.set_label(format!("{}, {word}", container.name));
        self.set_summary(format!("{summary}{owner}"));
        self.set_icon(icon);
        self.set_icon_classes(vec![class.to_owned()]);

        let start = Action::Start.is_for(container.state);
        self.set_can_switch(start || Action::Stop.is_for(container.state));
        let (action, icon, label) = if start {
            (
                "win.start",
                "media-playback-start-symbolic",
                mark("Start “{name}”"),
            )
        } else {
            (
                "win.stop",
                "media-playback-stop-symbolic",
                mark("Stop “{name}”"),
            )
        };
        self.set_switch_action(action);
        self.set_switch_icon(icon);
        self.set_switch_label(tr_name(label, &container.name));
        self.set_name(container.name.clone());
        self.imp().container.replace(Some(container));
    }
}
