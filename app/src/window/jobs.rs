use gantry_api::JobState;
use relm4::{ComponentController as _, ComponentSender};

use super::{Answer, Message, Root, Window};
use crate::{
    backend::{Job, Problem},
    container, create,
    known::report,
    text::{tr, tr_name},
    widgets::ask,
};

/// A job that this window began.
#[derive(Debug)]
pub(super) struct OwnJob {
    /// What did not happen if it fails.
    pub(super) failure: String,
    /// The way to try again if it fails; none where a form is still open for that.
    pub(super) again: Option<Message>,
    /// What is to be done next.
    pub(super) then: Option<Message>,
    /// The container to show once it is done.
    pub(super) show: Option<String>,
}

impl OwnJob {
    /// Tells why it failed.
    fn tell(self, problem: &Problem, sender: &ComponentSender<Window>, root: &Root) {
        let input = sender.input_sender().clone();
        let retry = self
            .again
            .map(|again| Box::new(move || input.emit(again)) as Box<dyn FnOnce()>);
        report(root, problem, retry);
    }
}

/// Tells what somebody has to know of a container that was made.
pub(super) fn tell_outcome(
    name: &str,
    (first_login, warnings): &(String, Vec<String>),
    root: &Root,
) {
    if !warnings.is_empty() {
        let heading = tr_name("This Computer Lacks Something for “{name}”", name);
        let body = tr("It was imported, and this does not work as where it came from:");
        ask::tell(root, &heading, &body, &warnings.join("\n"));
    }
    if !first_login.is_empty() {
        let heading = tr_name("How to Log In to “{name}”", name);
        ask::tell(root, &heading, "", first_login);
    }
}

impl Window {
    pub(super) fn job_begun(
        &mut self,
        path: String,
        own: OwnJob,
        sender: &ComponentSender<Self>,
        root: &Root,
    ) {
        let known = self.jobs.get(&path).cloned();
        self.own_jobs.insert(path, own);
        // It may have ended before the answer that named it was read.
        if let Some(job) = known {
            self.job_changed(job, sender, root);
        }
    }

    pub(super) fn job_changed(&mut self, job: Job, sender: &ComponentSender<Self>, root: &Root) {
        if let Some(dialog) = &self.dialog {
            dialog.emit(create::Message::Job(job.clone()));
        }
        if job.state != JobState::Running
            && let Some(own) = self.own_jobs.remove(&job.path)
        {
            if job.state == JobState::Failed {
                let problem =
                    Problem::from_parts(&own.failure, &job.error_name, &job.error_message);
                if let Some(problem) = problem {
                    own.tell(&problem, sender, root);
                }
            } else if job.state == JobState::Done {
                if let Some(next) = own.then {
                    sender.input(next);
                }
                if let Some(name) = own.show {
                    let (backend, of, path) =
                        (self.backend.clone(), name.clone(), job.path.clone());
                    sender.oneshot_command(
                        async move { Answer::Told(of, backend.told(&path).await) },
                    );
                    self.show_once_there(name, sender, root);
                }
            }
        }
        let paths = job.paths.clone();
        self.jobs.insert(job.path.clone(), job);
        for path in paths {
            self.tell_jobs(&path);
        }
    }

    /// Tells the page of the container at `path` which jobs work on it.
    pub(super) fn tell_jobs(&self, path: &str) {
        if let Some(page) = self.pages.get(path) {
            let on_it = |job: &&Job| {
                job.state == JobState::Running && job.paths.iter().any(|one| one == path)
            };
            let jobs = self.jobs.values().filter(on_it).cloned().collect();
            page.emit(container::Message::Jobs(jobs));
        }
    }

    pub(super) fn job_lost(&mut self, path: &str, sender: &ComponentSender<Self>, root: &Root) {
        if let Some(own) = self.own_jobs.remove(path)
            && let Some(problem) = Problem::from_parts(&own.failure, "NoReply", "")
        {
            own.tell(&problem, sender, root);
        }
        if let Some(dialog) = &self.dialog {
            dialog.emit(create::Message::JobLost(path.to_owned()));
        }
    }
}
