/// Declares a widget whose children stand in a file of data/ui: the type, its
/// registration and access to the named children through `imp()`.
macro_rules! widget {
    (
        $(#[$doc:meta])*
        $widget:ident($name:literal) in $file:literal,
        extends $parent:ty [$($ancestor:ty),*] by $parent_impl:ident [$($ancestor_impl:ident),*],
        implements [$($interface:ty),*],
        { $($child:ident: $type:ty),* $(,)? }
    ) => {
        mod imp {
            use adw::subclass::prelude::*;
            use gtk::glib;
            use relm4::{adw, gtk};

            #[derive(Debug, Default, gtk::CompositeTemplate)]
            #[template(file = $file)]
            pub struct $widget {
                $(
                    #[template_child]
                    pub $child: TemplateChild<$type>,
                )*
            }

            #[glib::object_subclass]
            impl ObjectSubclass for $widget {
                const NAME: &'static str = $name;
                type Type = super::$widget;
                type ParentType = $parent;

                fn class_init(class: &mut Self::Class) {
                    class.bind_template();
                }

                fn instance_init(object: &glib::subclass::InitializingObject<Self>) {
                    object.init_template();
                }
            }

            impl ObjectImpl for $widget {}
            impl WidgetImpl for $widget {}
            $(impl $ancestor_impl for $widget {})*
            impl $parent_impl for $widget {}
        }

        relm4::gtk::glib::wrapper! {
            $(#[$doc])*
            pub struct $widget(ObjectSubclass<imp::$widget>)
                @extends $parent, $($ancestor,)* relm4::gtk::Widget,
                @implements $($interface,)* relm4::gtk::Accessible, relm4::gtk::Buildable,
                    relm4::gtk::ConstraintTarget;
        }

        impl Default for $widget {
            fn default() -> Self {
                relm4::gtk::glib::Object::new()
            }
        }
    };
}

pub(crate) use widget;
