use std::collections::HashSet;

use adw::subclass::prelude::*;
use gtk::{gio, prelude::*};
use relm4::{adw, gtk};

use super::JobItem;
use crate::{backend::Job, widgets::widget};

widget! {
    /// Jobs, newest first, with how far each is and a button that cancels it.
    JobList("GantryJobList") in "../../../data/ui/job_list.ui",
    extends adw::Bin [] by BinImpl [],
    implements [],
    {
        model: gtk::NoSelection,
    }
}

impl JobList {
    /// Makes the list show exactly `jobs`; what stays keeps its place.
    pub fn replace(&self, jobs: &[Job]) {
        let now: HashSet<&str> = jobs.iter().map(|job| job.path.as_str()).collect();
        self.store().retain(|item| {
            item.downcast_ref::<JobItem>()
                .is_some_and(|item| now.contains(item.path().as_str()))
        });
        for job in jobs {
            self.put(job);
        }
    }

    /// Adds the job, newest first, or updates it where it is.
    pub fn put(&self, job: &Job) {
        match self.find(&job.path) {
            Some((_, item)) => item.update(job),
            None => self.store().insert(0, &JobItem::new(job)),
        }
    }

    /// Takes the job out.
    pub fn remove(&self, path: &str) {
        if let Some((position, _)) = self.find(path) {
            self.store().remove(position);
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.store().n_items() == 0
    }

    /// Whether any has not ended.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let store = self.store();
        store.iter::<JobItem>().flatten().any(|item| item.running())
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
}
