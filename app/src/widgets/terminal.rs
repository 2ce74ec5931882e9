use std::os::fd::OwnedFd;

use adw::{prelude::*, subclass::prelude::*};
use gtk::{gio, glib};
use relm4::{adw, gtk};
use vte4::TerminalExt as _;

use super::palette;

mod imp {
    use std::{cell::Cell, sync::OnceLock};

    use glib::subclass::Signal;

    use super::*;

    /// The named children, and the size last told.
    #[derive(Debug, Default, gtk::CompositeTemplate)]
    #[template(file = "../../../data/ui/terminal.ui")]
    pub struct Terminal {
        #[template_child]
        pub(super) screen: TemplateChild<vte4::Terminal>,
        #[template_child]
        pub(super) end: TemplateChild<adw::Banner>,
        size: Cell<(u16, u16)>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Terminal {
        const NAME: &'static str = "GantryTerminal";
        type Type = super::Terminal;
        type ParentType = adw::Bin;

        fn class_init(class: &mut Self::Class) {
            vte4::Terminal::ensure_type();
            class.bind_template();
            class.install_action("terminal.copy", None, |this, _, _| {
                this.imp().screen.copy_clipboard_format(vte4::Format::Text);
            });
            class.install_action("terminal.paste", None, |this, _, _| {
                this.imp().screen.paste_clipboard();
            });
            class.install_action("terminal.select-all", None, |this, _, _| {
                this.imp().screen.select_all();
            });
            class.install_action("terminal.leave", None, |this, _, _| {
                this.emit_by_name::<()>("left", &[]);
            });
        }

        fn instance_init(object: &glib::subclass::InitializingObject<Self>) {
            object.init_template();
        }
    }

    impl ObjectImpl for Terminal {
        fn signals() -> &'static [Signal] {
            static SIGNALS: OnceLock<Vec<Signal>> = OnceLock::new();
            SIGNALS.get_or_init(|| {
                let resized = Signal::builder("resized").param_types([u32::static_type(); 2]);
                vec![
                    resized.build(),
                    Signal::builder("again").build(),
                    Signal::builder("left").build(),
                    Signal::builder("hung-up").build(),
                ]
            })
        }

        fn constructed(&self) {
            self.parent_constructed();
            // A layout manager would allocate without us, and we have to see the size.
            self.obj().set_layout_manager(None::<gtk::LayoutManager>);
            let style = adw::StyleManager::default();
            palette::apply(&self.screen, &style);
            let screen = self.screen.downgrade();
            let watch = style.connect_dark_notify(move |style| {
                if let Some(screen) = screen.upgrade() {
                    palette::apply(&screen, style);
                }
            });
            // The style manager outlives every terminal.
            self.obj().connect_destroy({
                let watch = Cell::new(Some(watch));
                move |_| {
                    if let Some(watch) = watch.take() {
                        adw::StyleManager::default().disconnect(watch);
                    }
                }
            });
            let this = self.obj().downgrade();
            self.end.connect_button_clicked(move |_| {
                if let Some(this) = this.upgrade() {
                    this.emit_by_name::<()>("again", &[]);
                }
            });
            let this = self.obj().downgrade();
            self.screen.connect_eof(move |_| {
                if let Some(this) = this.upgrade() {
                    this.emit_by_name::<()>("hung-up", &[]);
                }
            });
            let this = self.obj().downgrade();
            self.screen.connect_selection_changed(move |screen| {
                if let Some(this) = this.upgrade() {
                    this.action_set_enabled("terminal.copy", screen.has_selection());
                }
            });
            self.obj().action_set_enabled("terminal.copy", false);
        }
    }

    impl WidgetImpl for Terminal {
        fn measure(&self, orientation: gtk::Orientation, for_size: i32) -> (i32, i32, i32, i32) {
            let child = self.obj().child();
            child.map_or((0, 0, -1, -1), |child| child.measure(orientation, for_size))
        }

        fn request_mode(&self) -> gtk::SizeRequestMode {
            gtk::SizeRequestMode::ConstantSize
        }

        fn size_allocate(&self, width: i32, height: i32, baseline: i32) {
            if let Some(child) = self.obj().child() {
                child.allocate(width, height, baseline, None);
            }
            let size = self.obj().size();
            if self.size.replace(size) != size {
                let (columns, rows) = (u32::from(size.0), u32::from(size.1));
                self.obj().emit_by_name::<()>("resized", &[&columns, &rows]);
            }
        }

        fn grab_focus(&self) -> bool {
            self.screen.grab_focus()
        }
    }

    impl BinImpl for Terminal {}
}

glib::wrapper! {
    /// A terminal on a PTY that somebody else opened, with a bar that says how
    /// its session ended and offers to open it again.
    pub struct Terminal(ObjectSubclass<imp::Terminal>)
        @extends adw::Bin, gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget;
}

impl Default for Terminal {
    fn default() -> Self {
        glib::Object::new()
    }
}

impl Terminal {
    /// An empty terminal that assistive technologies call `label`.
    #[must_use]
    pub fn new(label: &str) -> Self {
        let this = Self::default();
        let screen = this.imp().screen.get();
        screen.update_property(&[gtk::accessible::Property::Label(label)]);
        this
    }

    /// Shows what comes from the PTY whose master this is, and types into it.
    ///
    /// # Errors
    /// When the descriptor is not a PTY's master.
    pub fn attach(&self, master: OwnedFd) -> Result<(), glib::Error> {
        let pty = vte4::Pty::foreign_sync(master, gio::Cancellable::NONE)?;
        let (columns, rows) = self.size();
        pty.set_size(rows.into(), columns.into())?;
        let imp = self.imp();
        imp.end.set_revealed(false);
        imp.screen.set_input_enabled(true);
        imp.screen.set_pty(Some(&pty));
        Ok(())
    }

    /// Says that the session has ended; what is on the screen stays.
    pub fn end(&self, message: &str, again: &str) {
        let imp = self.imp();
        imp.screen.set_input_enabled(false);
        imp.end.set_title(message);
        imp.end.set_button_label(Some(again));
        imp.end.set_revealed(true);
    }

    /// Whether the way to open the session again can be taken now.
    pub fn set_can_reopen(&self, can: bool) {
        self.imp().end.set_sensitive(can);
    }

    /// Columns and rows.
    #[must_use]
    pub fn size(&self) -> (u16, u16) {
        let screen = &self.imp().screen;
        let narrow = |count: std::ffi::c_long| u16::try_from(count).unwrap_or(u16::MAX);
        (narrow(screen.column_count()), narrow(screen.row_count()))
    }

    /// All the text there is, scrolled away or not.
    #[must_use]
    pub fn text(&self) -> String {
        let screen = &self.imp().screen;
        let (last, columns) = (screen.cursor_position().1, screen.column_count());
        let (text, _) = screen.text_range_format(vte4::Format::Text, 0, 0, last, columns);
        text.map(String::from).unwrap_or_default()
    }

    /// Called with columns and rows when the size has changed.
    pub fn connect_resized(&self, call: impl Fn(u16, u16) + 'static) {
        let closure = glib::closure_local!(move |_: &Self, columns: u32, rows: u32| {
            call(
                u16::try_from(columns).unwrap_or(u16::MAX),
                u16::try_from(rows).unwrap_or(u16::MAX),
            );
        });
        self.connect_closure("resized", false, closure);
    }

    /// Called when the user wants the session again.
    pub fn connect_again(&self, call: impl Fn() + 'static) {
        self.connect_closure("again", false, glib::closure_local!(move |_: &Self| call()));
    }

    /// Called when the keys for leaving the terminal are pressed.
    pub fn connect_left(&self, call: impl Fn() + 'static) {
        self.connect_closure("left", false, glib::closure_local!(move |_: &Self| call()));
    }

    /// Called when nobody is at the PTY's other end any more.
    pub fn connect_hung_up(&self, call: impl Fn() + 'static) {
        self.connect_closure(
            "hung-up",
            false,
            glib::closure_local!(move |_: &Self| call()),
        );
    }
}
