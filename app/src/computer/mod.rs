//! The page of this computer: what it can and cannot do for containers, and what
//! to do about what it cannot.

mod finding_row;
mod root;

use adw::{prelude::*, subclass::prelude::*};
use relm4::{Component, ComponentParts, ComponentSender, adw, gtk};

pub use finding_row::FindingRow;
pub use root::Root;

use crate::{
    backend::{Backend, Finding},
    known::Known,
    text::{count, mark, tr},
    widgets::{States, install_actions},
};

/// The topics in the order of the page, and their headings.
const TOPICS: [(&str, &str); 9] = [
    ("security", mark("Security")),
    ("services", mark("Services")),
    ("network", mark("Network")),
    ("storage", mark("Storage")),
    ("ids", mark("User and Group IDs")),
    ("tools", mark("Programs")),
    ("cgroups", mark("Control Groups")),
    ("kernel", mark("Kernel")),
    ("extras", mark("Only for Some Containers")),
];

/// The page's state.
#[derive(Debug)]
pub struct ComputerPage {
    backend: Backend,
    online: bool,
    asking: bool,
    known: Known<Vec<Finding>>,
}

/// What happened, or what the user wants.
#[derive(Clone, Debug)]
pub enum Message {
    /// Whether there is a helper. When it comes this computer is looked at, as far
    /// as that needs no password.
    Online(bool),
    /// Look again.
    Refresh,
    /// The page comes into sight.
    Shown,
}

/// What the rest of the window wants to know.
#[derive(Debug)]
pub enum Output {
    /// So many things are not well.
    Problems(usize),
}

/// What the helper found, and whether the user had asked.
#[derive(Debug)]
pub struct Checked(bool, gantry_api::Result<Vec<Finding>>);

impl Component for ComputerPage {
    type Init = Backend;
    type Input = Message;
    type Output = Output;
    type CommandOutput = Checked;
    type Root = Root;
    type Widgets = ();

    fn init_root() -> Root {
        States::ensure_type();
        Root::default()
    }

    fn init(backend: Backend, root: Root, sender: ComponentSender<Self>) -> ComponentParts<Self> {
        let model = Self {
            backend,
            online: false,
            asking: false,
            known: Known::Nothing,
        };
        let refresh = [("refresh", Message::Refresh)];
        install_actions(&root, "computer", sender.input_sender(), refresh);
        model.render(&root);
        ComponentParts { model, widgets: () }
    }

    fn update(&mut self, message: Message, sender: ComponentSender<Self>, root: &Root) {
        match message {
            Message::Online(online) => {
                if online && !self.online {
                    self.ask(false, &sender);
                }
                self.online = online;
            }
            Message::Refresh => self.ask(true, &sender),
            Message::Shown => {
                if self.known.there().is_none() {
                    self.ask(true, &sender);
                }
            }
        }
        self.render(root);
    }

    fn update_cmd(
        &mut self,
        Checked(asked, result): Checked,
        sender: ComponentSender<Self>,
        root: &Root,
    ) {
        self.asking = false;
        match result {
            // Nobody has asked, so nobody is told; a visit to the page asks.
            Err(error) if !asked => tracing::info!("this computer was not checked: {error}"),
            result => {
                if let Ok(findings) = &result {
                    let problems = findings.iter().filter(|found| found.is_problem()).count();
                    // Fails only when the window is gone.
                    sender
                        .output(Output::Problems(problems))
                        .unwrap_or_default();
                    show(root, findings);
                }
                let heading = tr("This Computer Could Not Be Checked");
                self.known.take_in(&heading, result);
            }
        }
        self.render(root);
    }
}

impl ComputerPage {
    fn ask(&mut self, may_prompt: bool, sender: &ComponentSender<Self>) {
        if self.asking {
            return;
        }
        self.asking = true;
        if may_prompt && matches!(self.known, Known::Problem(_)) {
            self.known = Known::Nothing;
        }
        let backend = self.backend.clone();
        sender.oneshot_command(
            async move { Checked(may_prompt, backend.check_host(may_prompt).await) },
        );
    }

    /// Makes the page show what the model says; the findings stand there already.
    fn render(&self, root: &Root) {
        let parts = root.imp();
        parts
            .refresh_button
            .set_sensitive(!self.asking && self.online);
        parts
            .refresh_button
            .set_tooltip_text(Some(&tr("Check Again")));
        self.known.show_in(&parts.states, Vec::is_empty);
    }
}

/// Fills the page with groups, problems first in each.
fn show(root: &Root, findings: &[Finding]) {
    let parts = root.imp();
    while let Some(group) = parts.groups.first_child() {
        parts.groups.remove(&group);
    }
    let problems = findings.iter().filter(|found| found.is_problem()).count();
    let (icon, class, title) = if problems == 0 {
        ("object-select-symbolic", "success", tr("All Is Well"))
    } else {
        let title = count(
            problems,
            "{n} Thing Needs Attention",
            "{n} Things Need Attention",
        );
        ("dialog-warning-symbolic", "warning", title)
    };
    parts.sign.set_icon_name(Some(icon));
    parts.sign.set_css_classes(&[class]);
    parts.summary.set_label(&title);
    for (topic, heading) in TOPICS {
        let of_topic: Vec<&Finding> = findings.iter().filter(|one| one.topic == topic).collect();
        if !of_topic.is_empty() {
            parts.groups.append(&group(&tr(heading), &of_topic));
        }
    }
}

/// What is not well stands in sight, what is well behind one row.
fn group(heading: &str, findings: &[&Finding]) -> adw::PreferencesGroup {
    let group = adw::PreferencesGroup::builder().title(heading).build();
    let (well, not): (Vec<&Finding>, Vec<&Finding>) = findings.iter().partition(|one| one.ok);
    for finding in not {
        group.add(&FindingRow::new(finding));
    }
    if well.is_empty() {
        return group;
    }
    let title = count(well.len(), "{n} Is Well", "{n} Are Well");
    let expander = adw::ExpanderRow::builder().title(title).build();
    let icon = gtk::Image::from_icon_name("object-select-symbolic");
    icon.add_css_class("success");
    icon.set_accessible_role(gtk::AccessibleRole::Presentation);
    expander.add_prefix(&icon);
    for finding in well {
        expander.add_row(&FindingRow::new(finding));
    }
    group.add(&expander);
    group
}
