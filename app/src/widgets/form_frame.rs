use adw::{prelude::*, subclass::prelude::*};
use gtk::glib;
use relm4::{adw, gtk};

use super::show_fault;

mod imp {
    use std::cell::RefCell;

    use super::*;

    /// The named children, and what a template sets.
    #[derive(Debug, Default, glib::Properties, gtk::CompositeTemplate)]
    #[properties(wrapper_type = super::FormFrame)]
    #[template(file = "../../../data/ui/form_frame.ui")]
    pub struct FormFrame {
        #[template_child]
        pub(super) close_button: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) apply_button: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) spinner: TemplateChild<adw::Spinner>,
        #[template_child]
        pub(super) fault: TemplateChild<adw::Banner>,
        /// The form itself.
        #[property(get, set, nullable)]
        content: RefCell<Option<gtk::Widget>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for FormFrame {
        const NAME: &'static str = "GantryFormFrame";
        type Type = super::FormFrame;
        type ParentType = adw::Bin;

        fn class_init(class: &mut Self::Class) {
            class.bind_template();
        }

        fn instance_init(object: &glib::subclass::InitializingObject<Self>) {
            object.init_template();
        }
    }

    #[glib::derived_properties]
    impl ObjectImpl for FormFrame {}
    impl WidgetImpl for FormFrame {}
    impl BinImpl for FormFrame {}
}

glib::wrapper! {
    /// What is around a form in a dialog: the buttons that leave and that go on, and what is
    /// wrong in it.
    pub struct FormFrame(ObjectSubclass<imp::FormFrame>)
        @extends adw::Bin, gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget;
}

impl Default for FormFrame {
    fn default() -> Self {
        glib::Object::new()
    }
}

impl FormFrame {
    /// Gives a dialog that has this in it its title and the word of the button that goes on,
    /// which `apply` hears of.
    pub fn begin(
        &self,
        dialog: &impl IsA<adw::Dialog>,
        (title, verb): (&str, &str),
        apply: impl Fn() + 'static,
    ) {
        let parts = self.imp();
        dialog.set_title(title);
        dialog.set_default_widget(Some(&*parts.apply_button));
        parts.apply_button.set_label(verb);
        parts.apply_button.connect_clicked(move |_| apply());
        let dialog = dialog.downgrade();
        parts.close_button.connect_clicked(move |_| {
            if let Some(dialog) = dialog.upgrade() {
                dialog.close();
            }
        });
    }

    /// Shows what is wrong in the form, if anything, whether it may go on, and whether that
    /// is waited for.
    pub fn show(&self, fault: Option<&str>, ready: bool, waiting: bool) {
        let parts = self.imp();
        show_fault(&parts.fault, fault);
        parts.apply_button.set_sensitive(ready && !waiting);
        parts.spinner.set_visible(waiting);
        if let Some(content) = self.content() {
            content.set_sensitive(!waiting);
        }
    }
}
