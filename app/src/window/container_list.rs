use std::collections::{HashMap, HashSet};

use gtk::{gio, prelude::*};
use relm4::gtk;

use super::ContainerItem;
use crate::backend::Container;

/// The list's model: containers by path, sorted by name, filtered by the search.
#[derive(Debug)]
pub struct ContainerList {
    items: HashMap<String, ContainerItem>,
    store: gio::ListStore,
    filter: gtk::StringFilter,
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
        let shown = gtk::FilterListModel::new(Some(sorted), Some(filter.clone()));
        let selection = gtk::SingleSelection::builder()
            .autoselect(false)
            .model(&shown)
            .build();
        view.set_model(Some(&selection));
        Self {
            items: HashMap::new(),
            store,
            filter,
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
            item.update(container);
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

    /// How many the search leaves.
    #[must_use]
    pub fn shown(&self) -> u32 {
        self.selection.n_items()
    }

    /// Shows only names that contain `text`.
    pub fn search(&self, text: &str) {
        self.filter.set_search(Some(text));
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
        self.selection
            .set_selected(position.unwrap_or(gtk::INVALID_LIST_POSITION));
    }

    /// Calls with the path when a container is selected.
    pub fn connect_selected(&self, call: impl Fn(String) + 'static) {
        self.selection
            .connect_selected_item_notify(move |selection| {
                if let Some(item) = selection.selected_item().and_downcast::<ContainerItem>() {
                    call(item.path());
                }
            });
    }
}
