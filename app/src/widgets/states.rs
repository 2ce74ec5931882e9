use adw::{prelude::*, subclass::prelude::*};
use gtk::glib;
use relm4::{adw, gtk};

mod imp {
    use std::{cell::RefCell, marker::PhantomData};

    use super::*;

    /// The named children, and what a template sets.
    #[derive(Debug, Default, glib::Properties, gtk::CompositeTemplate)]
    #[properties(wrapper_type = super::States)]
    #[template(file = "../../../data/ui/states.ui")]
    pub struct States {
        #[template_child]
        pub(super) stack: TemplateChild<gtk::Stack>,
        #[template_child]
        spinner: TemplateChild<adw::Spinner>,
        #[template_child]
        pub(super) problem: TemplateChild<adw::StatusPage>,
        /// What is done while it loads, for who does not see the spinner.
        #[property(set = Self::set_loading)]
        loading: PhantomData<String>,
        /// The action that tries again.
        #[property(get, set)]
        retry: RefCell<String>,
        /// What stands there when there is nothing to show.
        #[property(get, set, nullable)]
        empty: RefCell<Option<gtk::Widget>>,
        /// The view itself.
        #[property(get, set, nullable)]
        content: RefCell<Option<gtk::Widget>>,
    }

    impl States {
        fn set_loading(&self, text: &str) {
            self.spinner
                .upcast_ref::<gtk::Widget>()
                .update_property(&[gtk::accessible::Property::Label(text)]);
        }
    }

    #[glib::object_subclass]
    impl ObjectSubclass for States {
        const NAME: &'static str = "GantryStates";
        type Type = super::States;
        type ParentType = adw::Bin;

        fn class_init(class: &mut Self::Class) {
            class.bind_template();
        }

        fn instance_init(object: &glib::subclass::InitializingObject<Self>) {
            object.init_template();
        }
    }

    #[glib::derived_properties]
    impl ObjectImpl for States {}
    impl WidgetImpl for States {}
    impl BinImpl for States {}
}

glib::wrapper! {
    /// The four states that a view has: it loads, it failed and can be tried again,
    /// it is empty, or it has something to show.
    pub struct States(ObjectSubclass<imp::States>)
        @extends adw::Bin, gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget;
}

impl Default for States {
    fn default() -> Self {
        glib::Object::new()
    }
}

impl States {
    /// Says that it is on its way.
    pub fn show_loading(&self) {
        self.turn_to("loading");
    }

    /// Says what went wrong, and offers to try again.
    pub fn show_problem(&self, heading: &str, cause: &str) {
        let problem = &self.imp().problem;
        problem.set_title(heading);
        problem.set_description(Some(&glib::markup_escape_text(cause)));
        self.turn_to("problem");
    }

    /// Says that there is nothing, and what fills it.
    pub fn show_empty(&self) {
        self.turn_to("empty");
    }

    /// Shows the view itself.
    pub fn show_content(&self) {
        self.turn_to("content");
    }

    fn turn_to(&self, name: &str) {
        self.imp().stack.set_visible_child_name(name);
    }
}
