use std::collections::HashSet;

use gtk::{gio, prelude::*, subclass::prelude::*};
use relm4::{adw, gtk};

use super::JobItem;
use crate::{backend::Job, widgets::widget};

widget! {
    /// The one place where every job is: a button that opens their list, and is
    /// there while there are any.
    JobsButton("GantryJobsButton") in "../../../data/ui/jobs_button.ui",
    extends adw::Bin [] by BinImpl [],
    implements [],
    {
        button: gtk::MenuButton,
        signs: gtk::Stack,
        model: gtk::NoSelection,
    }
}

impl JobsButton {
    /// Makes the list show exactly `jobs`; what stays keeps its place.
    pub fn replace(&self, jobs: &[Job]) {
        let now: HashSet<&str> = jobs.iter().map(|job| job.path.as_str()).collect();
        let store = self.store();
        store.retain(|item| {
            item.downcast_ref::<JobItem>()
                .is_some_and(|item| now.contains(item.path().as_str()))
        });
        for job in jobs {
            self.put(job);
        }
        self.render();
    }

    /// Adds the job, newest first, or updates it where it is.
    pub fn put(&self, job: &Job) {
        match self.find(&job.path) {
            Some((_, item)) => item.update(job),
            None => self.store().insert(0, &JobItem::new(job)),
        }
        self.render();
    }

    /// Takes the job out.
    pub fn remove(&self, path: &str) {
        if let Some((position, _)) = self.find(path) {
            self.store().remove(position);
        }
        self.render();
    }

    fn store(&self) -> gio::ListStore {
        let model = &self.imp().model;
        if let Some(store) = model.model().and_downcast() {
            return store;
        }
        let store = gio::ListStore::new::<JobItem>();
        model.set_model(Some(&store));
        store
    }

    fn find(&self, path: &str) -> Option<(u32, JobItem)> {
        let items = self.store().iter::<JobItem>().flatten().collect::<Vec<_>>();
        (0..).zip(items).find(|(_, item)| item.path() == path)
    }

    fn render(&self) {
        let store = self.store();
        let busy = store.iter::<JobItem>().flatten().any(|item| item.running());
        self.imp()
            .signs
            .set_visible_child_name(if busy { "busy" } else { "idle" });
        self.set_visible(store.n_items() > 0);
    }
}
