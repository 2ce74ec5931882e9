use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap, HashSet},
    rc::Rc,
};

use gtk::{gio, glib, prelude::*};
use relm4::gtk;

use super::ContainerItem;
use crate::backend::Container;

/// The list's model: containers by path, sorted by name, filtered by the search and
/// by group.
#[derive(Debug)]
pub struct ContainerList {
    items: HashMap<String, ContainerItem>,
    store: gio::ListStore,
    filter: gtk::StringFilter,
    group: Rc<RefCell<Option<String>>>,
    by_group: gtk::CustomFilter,
    selection: gtk::SingleSelection,
}

impl ContainerList {
    /// An empty list, shown by `view`.
    #[must_use]
    pub fn new(view: &gtk::ListView) -> Self {
        let name = gtk::PropertyExpression::new(
            ContainerItem::static_type(),
            gtk::Expression::NONE,
            "name",
        );
        let store = gio::ListStore::new::<ContainerItem>();
        let sorter = gtk::StringSorter::new(Some(&name));
        let sorted = gtk::SortListModel::new(Some(store.clone()), Some(sorter));
        let filter = gtk::StringFilter::new(Some(&name));
        let group = Rc::new(RefCell::new(None::<String>));
        let by_group = gtk::CustomFilter::new({
            let group = Rc::clone(&group);
            move |item| match &*group.borrow() {
                None => true,
                Some(group) => item
                    .downcast_ref::<ContainerItem>()
                    .and_then(ContainerItem::container)
                    .is_some_and(|container| container.is_in(group)),
            }
        });
        let both = gtk::EveryFilter::new();
        both.append(filter.clone());
        both.append(by_group.clone());
        let shown = gtk::FilterListModel::new(Some(sorted), Some(both));
        let selection = gtk::SingleSelection::builder()
            .autoselect(false)
            .model(&shown)
            .build();
        view.set_model(Some(&selection));
        Self {
            items: HashMap::new(),
            store,
            filter,
            group,
            by_group,
            selection,
        }
    }

    /// Makes the list show exactly `containers`; what stays keeps its place.
    /// Returns the paths that are gone.
    pub fn replace(&mut self, containers: Vec<Container>) -> Vec<String> {
        let now: HashSet<&str> = containers.iter().map(|one| one.path.as_str()).collect();
        let gone: Vec<String> = self
            .items
            .keys()
            .filter(|path| !now.contains(path.as_str()))
            .cloned()
            .collect();
        for path in &gone {
            self.remove(path);
        }
        let (known, new): (Vec<_>, Vec<_>) = containers
            .into_iter()
            .partition(|one| self.items.contains_key(&one.path));
        for container in known {
            self.put(container);
        }
        // All in one change: a thousand insertions would be sorted a thousand times.
        let new: Vec<ContainerItem> = new.into_iter().map(ContainerItem::new).collect();
        self.store.extend_from_slice(&new);
        self.items
            .extend(new.into_iter().map(|item| (item.path(), item)));
        gone
    }

    /// Adds the container or updates it where it is.
    pub fn put(&mut self, container: Container) {
        if let Some(item) = self.items.get(&container.path) {
            let old = item.container();
            let moved = old.is_none_or(|old| old.groups != container.groups);
            item.update(container);
            if moved {
                self.by_group.changed(gtk::FilterChange::Different);
            }
        } else {
            let item = ContainerItem::new(container);
            self.store.append(&item);
            self.items.insert(item.path(), item);
        }
    }

    /// Takes the container out.
    pub fn remove(&mut self, path: &str) {
        if let Some(position) = self
            .items
            .remove(path)
            .and_then(|item| self.store.find(&item))
        {
            self.store.remove(position);
        }
    }

    /// The container at `path`.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<Container> {
        self.items.get(path)?.container()
    }

    /// The path of a container with that name; the newest one counts.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<String> {
        let mut items = self.items.values();
        items
            .find(|item| item.name() == name)
            .map(ContainerItem::path)
    }

    /// Every name that is taken.
    #[must_use]
    pub fn names(&self) -> HashSet<String> {
        self.items.values().map(ContainerItem::name).collect()
    }

    /// Whether there is no container at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many search and group leave.
    #[must_use]
    pub fn shown(&self) -> u32 {
        self.selection.n_items()
    }

    /// Shows only names that contain `text`.
    pub fn search(&self, text: &str) {
        self.filter.set_search(Some(text));
    }

    /// Shows only the containers of a group, where the empty name stands for none; all
    /// for `None`.
    pub fn show_group(&self, group: Option<String>) {
        self.group.replace(group);
        self.by_group.changed(gtk::FilterChange::Different);
    }

    /// The groups there are, with the empty name where there are containers without.
    #[must_use]
    pub fn groups(&self) -> BTreeSet<String> {
        let containers = self.items.values().filter_map(ContainerItem::container);
        containers
            .flat_map(|container| match container.groups.is_empty() {
                true => vec![String::new()],
                false => container.groups,
            })
            .collect()
    }

    /// Selects the container at `path`, where the search shows it; nothing for `None`.
    pub fn select(&self, path: Option<&str>) {
        let position = (0..self.selection.n_items()).find(|&position| {
            let item = self
                .selection
                .item(position)
                .and_downcast::<ContainerItem>();
            item.is_some_and(|item| Some(item.path().as_str()) == path)
        });
        // GTK leaves nothing selected only where the user may do so, too.
        self.selection.set_can_unselect(position.is_none());
        self.selection
            .set_selected(position.unwrap_or(gtk::INVALID_LIST_POSITION));
        self.selection.set_can_unselect(false);
    }

    /// Calls with the path when a container is selected in `view`, or activated there: its
    /// page may be out of sight while it is selected.
    pub fn connect_selected(&self, view: &gtk::ListView, call: impl Fn(String) + 'static) {
        let call = Rc::new(move |item: Option<glib::Object>| {
            if let Some(item) = item.and_downcast::<ContainerItem>() {
                call(item.path());
            }
        });
        let (selection, activated) = (self.selection.clone(), Rc::clone(&call));
        view.connect_activate(move |_, position| activated(selection.item(position)));
        self.selection
            .connect_selected_item_notify(move |selection| call(selection.selected_item()));
    }
}
