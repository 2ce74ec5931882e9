use std::{cell::RefCell, fmt, rc::Rc};

use adw::prelude::*;
use gtk::{gio, glib, pango};
use relm4::{adw, gtk};

/// A row of a [`SearchList`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchRow {
    /// Its place among all rows.
    pub place: usize,
    /// What it is.
    pub title: String,
    /// More about it.
    pub facts: String,
    /// What a button beside it does; empty: there is none.
    pub button: String,
}

/// Called with a row's place.
type Call = Rc<RefCell<Option<Box<dyn Fn(usize)>>>>;

/// A long list of which the search leaves those rows that have its words in them.
pub struct SearchList {
    store: gio::ListStore,
    call: Call,
}

impl fmt::Debug for SearchList {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(to)
    }
}

impl SearchList {
    /// An empty list, shown by `view` and searched by `entry`; `nothing` is seen while that
    /// finds none of its rows. Escape ends the search, and closes the dialog around it when
    /// there is none, for the entry takes that key from it.
    #[must_use]
    pub fn new(
        view: &gtk::ListView,
        entry: &gtk::SearchEntry,
        nothing: &impl IsA<gtk::Widget>,
    ) -> Self {
        let wanted = Rc::new(RefCell::new(String::new()));
        let filter = gtk::CustomFilter::new({
            let wanted = Rc::clone(&wanted);
            move |item| row_of(item).is_some_and(|row| has_words(&row, &wanted.borrow()))
        });
        let changed = filter.clone();
        entry.connect_search_changed(move |entry| {
            wanted.replace(entry.text().to_lowercase());
            changed.changed(gtk::FilterChange::Different);
        });
        entry.connect_stop_search(|entry| {
            if !entry.text().is_empty() {
                entry.set_text("");
            } else if let Some(dialog) = entry.ancestor(adw::Dialog::static_type()) {
                dialog.downcast_ref().map(adw::Dialog::close);
            }
        });
        let store = gio::ListStore::new::<glib::BoxedAnyObject>();
        let shown = gtk::FilterListModel::new(Some(store.clone()), Some(filter));
        view.set_model(Some(&gtk::NoSelection::new(Some(shown.clone()))));
        let (all, nothing) = (store.clone(), nothing.clone());
        shown.connect_items_changed(move |shown, _, _, _| {
            nothing.set_visible(all.n_items() > 0 && shown.n_items() == 0);
        });
        let call = Call::default();
        view.set_factory(Some(&factory(&call)));
        let to = Rc::clone(&call);
        view.connect_activate(move |_, position| {
            activate(shown.item(position).as_ref(), &to);
        });
        Self { store, call }
    }

    /// Makes the list have these rows.
    pub fn replace(&self, rows: Vec<SearchRow>) {
        let rows: Vec<_> = rows.into_iter().map(glib::BoxedAnyObject::new).collect();
        self.store.splice(0, self.store.n_items(), &rows);
    }

    /// Calls with the row's place among all when one, or its button, is activated.
    pub fn connect_activated(&self, call: impl Fn(usize) + 'static) {
        self.call.replace(Some(Box::new(call)));
    }
}

fn activate(item: Option<&glib::Object>, call: &Call) {
    if let Some(row) = item.and_then(row_of)
        && let Some(call) = &*call.borrow()
    {
        call(row.place);
    }
}

fn row_of(item: &glib::Object) -> Option<SearchRow> {
    let item = item.downcast_ref::<glib::BoxedAnyObject>()?;
    Some(item.borrow::<SearchRow>().clone())
}

/// Whether all words are in the row, in any order.
fn has_words(row: &SearchRow, words: &str) -> bool {
    let text = format!("{} {}", row.title, row.facts).to_lowercase();
    words.split_whitespace().all(|word| text.contains(word))
}

fn factory(call: &Call) -> gtk::SignalListItemFactory {
    let factory = gtk::SignalListItemFactory::new();
    let call = Rc::clone(call);
    factory.connect_setup(move |_, item| {
        if let Some(item) = item.downcast_ref::<gtk::ListItem>() {
            let row = Widgets::new();
            let (of, call) = (item.downgrade(), Rc::clone(&call));
            row.button.connect_clicked(move |_| {
                activate(of.upgrade().and_then(|of| of.item()).as_ref(), &call);
            });
            item.set_child(Some(&row.whole));
        }
    });
    factory.connect_bind(|_, item| {
        if let Some(item) = item.downcast_ref::<gtk::ListItem>()
            && let Some(row) = item.item().and_then(|item| row_of(&item))
            && let Some(widgets) = item.child().and_then(|whole| Widgets::of(&whole))
        {
            widgets.title.set_label(&row.title);
            widgets.facts.set_label(&row.facts);
            widgets.facts.set_visible(!row.facts.is_empty());
            widgets.button.set_visible(!row.button.is_empty());
            widgets.button.set_tooltip_text(Some(&row.button));
            widgets
                .button
                .update_property(&[gtk::accessible::Property::Label(&row.button)]);
            item.set_accessible_label(&row.title);
            item.set_accessible_description(&row.facts);
        }
    });
    factory
}

/// Two lines of text, and a button.
struct Widgets {
    whole: gtk::Widget,
    title: gtk::Label,
    facts: gtk::Label,
    button: gtk::Button,
}

impl Widgets {
    fn new() -> Self {
        let label = |classes: &[&str]| {
            gtk::Label::builder()
                .xalign(0.0)
                .wrap(true)
                .wrap_mode(pango::WrapMode::WordChar)
                .css_classes(classes.to_vec())
                .build()
        };
        let (title, facts) = (label(&[]), label(&["caption", "dim-label"]));
        let lines = gtk::Box::builder()
            .orientation(gtk::Orientation::Vertical)
            .spacing(3)
            .hexpand(true)
            .valign(gtk::Align::Center)
            .build();
        lines.append(&title);
        lines.append(&facts);
        let button = gtk::Button::builder()
            .icon_name("edit-undo-symbolic")
            .valign(gtk::Align::Center)
            .css_classes(["flat"])
            .build();
        let whole = gtk::Box::builder()
            .spacing(12)
            .margin_top(6)
            .margin_bottom(6)
            .margin_start(12)
            .margin_end(12)
            .build();
        whole.append(&lines);
        whole.append(&button);
        let whole = whole.upcast();
        Self {
            whole,
            title,
            facts,
            button,
        }
    }

    /// Those of a row that was made by [`Widgets::new`].
    fn of(whole: &gtk::Widget) -> Option<Self> {
        let lines = whole.first_child()?;
        let title = lines.first_child().and_downcast::<gtk::Label>()?;
        Some(Self {
            facts: title.next_sibling().and_downcast()?,
            button: lines.next_sibling().and_downcast()?,
            title,
            whole: whole.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_any_order() {
        let row = SearchRow {
            title: "Debian trixie".into(),
            facts: "amd64".into(),
            ..SearchRow::default()
        };
        assert!(has_words(&row, "amd64 debian") && has_words(&row, ""));
        assert!(!has_words(&row, "debian bookworm"));
    }
}
