use gantry_api::JobState;
use gtk::{glib, prelude::*, subclass::prelude::*};
use relm4::gtk;

use crate::{
    backend::Job,
    text::{count, mark, size, tr, tr_name},
};

mod imp {
    use std::cell::{Cell, RefCell};

    use super::*;

    /// What a row shows; the template binds to it.
    #[derive(Debug, Default, glib::Properties)]
    #[properties(wrapper_type = super::JobItem)]
    pub struct JobItem {
        /// The object's path on the bus.
        #[property(get, set)]
        path: RefCell<String>,
        /// What the job does, and to what.
        #[property(get, set)]
        title: RefCell<String>,
        /// What it is at.
        #[property(get, set)]
        stage: RefCell<String>,
        /// Whether it has not ended.
        #[property(get, set)]
        running: Cell<bool>,
        /// From 0 to 1.
        #[property(get, set)]
        fraction: Cell<f64>,
        /// Whether it can be cancelled now.
        #[property(get, set)]
        can_cancel: Cell<bool>,
        /// The path, as actions take it.
        #[property(get, set, nullable, builder(glib::VariantTy::STRING))]
        target: RefCell<Option<glib::Variant>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for JobItem {
        const NAME: &'static str = "GantryJobItem";
        type Type = super::JobItem;
    }

    #[glib::derived_properties]
    impl ObjectImpl for JobItem {}
}

glib::wrapper! {
    /// A job in the list of jobs.
    pub struct JobItem(ObjectSubclass<imp::JobItem>);
}

impl JobItem {
    /// An item for `job`.
    #[must_use]
    pub fn new(job: &Job) -> Self {
        let this: Self = glib::Object::new();
        this.set_path(job.path.as_str());
        this.set_target(Some(job.path.to_variant()));
        this.update(job);
        this
    }

    /// Shows how far the job is now.
    pub fn update(&self, job: &Job) {
        self.set_title(title(job));
        self.set_stage(match job.state {
            JobState::Running => stage(job),
            JobState::Done => tr("Done"),
            JobState::Cancelled => tr("Cancelled"),
            JobState::Failed => tr_name(
                "Failed: {name}",
                job.error_message.lines().next().unwrap_or_default(),
            ),
        });
        let running = job.state == JobState::Running;
        self.set_running(running);
        self.set_fraction(job.progress.clamp(0.0, 1.0));
        self.set_can_cancel(running && job.can_cancel);
    }
}

/// What the job does and to what.
fn title(job: &Job) -> String {
    let names = job.objects.join(", ");
    let n = job.objects.len();
    let sentence = match job.operation.as_str() {
        "CreateContainer" => mark("Creating “{name}”"),
        "ImportContainer" => mark("Importing “{name}”"),
        "Stop" => mark("Stopping “{name}”"),
        "Reboot" => mark("Restarting “{name}”"),
        "Destroy" => mark("Deleting “{name}”"),
        "Export" => mark("Exporting “{name}”"),
        "Estimate" => mark("Measuring “{name}”"),
        "RestorePaths" => mark("Restoring Files of “{name}”"),
        "RunSchedules" => return tr("Taking Scheduled Snapshots"),
        "Diff" => mark("Comparing Snapshots of “{name}”"),
        "ListRemoteImages" => return tr("Listing Images"),
        "Grow" => mark("Giving “{name}” More Room"),
        "Clone" => mark("Cloning “{name}”"),
        "Take" => mark("Taking a Snapshot of “{name}”"),
        "Restore" => mark("Restoring a Snapshot of “{name}”"),
        "Delete" => mark("Deleting a Snapshot of “{name}”"),
        "StartGroup" => return count(n, "Starting {n} Container", "Starting {n} Containers"),
        "StopGroup" => return count(n, "Stopping {n} Container", "Stopping {n} Containers"),
        "RebootGroup" => return count(n, "Restarting {n} Container", "Restarting {n} Containers"),
        "KillGroup" => return count(n, "Killing {n} Container", "Killing {n} Containers"),
        "Autostart" => {
            return count(
                n,
                "Starting {n} Marked Container",
                "Starting {n} Marked Containers",
            );
        }
        other => return format!("{other} {names}"),
    };
    tr_name(sentence, &names)
}

/// What a running job is at: the helper's words and the bytes.
#[must_use]
pub fn stage(job: &Job) -> String {
    // The jobs of many containers count these.
    let measure = match job.operation.as_str() {
        "Autostart" | "StartGroup" | "StopGroup" | "RebootGroup" | "KillGroup" => {
            |number: u64| number.to_string()
        }
        _ => size,
    };
    let bytes = match (job.bytes, job.total) {
        (0, 0) => String::new(),
        (bytes, 0) => measure(bytes),
        (bytes, total) => tr("{done} of {total}")
            .replace("{done}", &measure(bytes))
            .replace("{total}", &measure(total)),
    };
    match (job.stage.is_empty(), bytes.is_empty()) {
        (true, true) => tr("Working…"),
        (true, false) => bytes,
        (false, true) => job.stage.clone(),
        (false, false) => format!("{} · {bytes}", job.stage),
    }
}
