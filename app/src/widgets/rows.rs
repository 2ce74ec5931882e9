use adw::prelude::*;
use relm4::{adw, gtk};

/// Rows of a group that come and go.
#[derive(Debug)]
pub struct Rows {
    group: adw::PreferencesGroup,
    rows: Vec<gtk::Widget>,
}

impl Rows {
    /// Those of this group, which has none yet.
    #[must_use]
    pub fn new(group: &adw::PreferencesGroup) -> Self {
        Self {
            group: group.clone(),
            rows: Vec::new(),
        }
    }

    /// Makes the group have these rows, and say this when it has none.
    pub fn replace(&mut self, rows: impl IntoIterator<Item = impl IsA<gtk::Widget>>, none: &str) {
        for row in self.rows.drain(..) {
            self.group.remove(&row);
        }
        for row in rows {
            self.group.add(&row);
            self.rows.push(row.upcast());
        }
        let none = self.rows.is_empty().then_some(none);
        self.group.set_description(none);
    }
}

/// Puts a button with this icon, which says what it does, at the end of a row.
pub fn with_button(row: &adw::ActionRow, (icon, label): (&str, &str), call: impl Fn() + 'static) {
    let button = gtk::Button::builder()
        .icon_name(icon)
        .tooltip_text(label)
        .valign(gtk::Align::Center)
        .css_classes(["flat"])
        .build();
    button.update_property(&[gtk::accessible::Property::Label(label)]);
    button.connect_clicked(move |_| call());
    row.add_suffix(&button);
}
