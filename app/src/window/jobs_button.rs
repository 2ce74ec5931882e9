use adw::subclass::prelude::*;
use gtk::prelude::*;
use relm4::{adw, gtk};

use super::JobList;
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
        list: super::JobList,
    }
}

impl JobsButton {
    /// Makes the list show exactly `jobs`; what stays keeps its place.
    pub fn replace(&self, jobs: &[Job]) {
        self.imp().list.replace(jobs);
        self.render();
    }

    /// Adds the job, newest first, or updates it where it is.
    pub fn put(&self, job: &Job) {
        self.imp().list.put(job);
        self.render();
    }

    /// Takes the job out.
    pub fn remove(&self, path: &str) {
        self.imp().list.remove(path);
        self.render();
    }

    fn render(&self) {
        let parts = self.imp();
        let sign = if parts.list.is_busy() { "busy" } else { "idle" };
        parts.signs.set_visible_child_name(sign);
        self.set_visible(!parts.list.is_empty());
    }
}
