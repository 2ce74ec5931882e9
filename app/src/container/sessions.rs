use adw::subclass::prelude::*;
use gtk::glib::Propagation;
use relm4::{ComponentSender, adw, gtk};

use super::{Answer, ContainerPage, Kind, Message, Output, Root, tab::Tab};
use crate::{
    backend::{Backend, OpenSession, Problem, SessionEnd},
    text::{mark, tr, tr_name},
    widgets::Terminal,
};

impl ContainerPage {
    /// Opens a new tab with a session, or turns to the console that there is.
    pub(super) fn open(&mut self, kind: Kind, sender: &ComponentSender<Self>, root: &Root) {
        let parts = root.imp();
        parts.stack.set_visible_child_name("terminals");
        if kind == Kind::Console
            && let Some((number, tab)) = self.tabs.iter().find(|(_, tab)| tab.kind == kind)
        {
            let (number, ended) = (*number, tab.session.is_none() && !tab.page.is_loading());
            parts.terminals.turn_to(&tab.page);
            if ended {
                self.open_session(number, sender);
            }
            return;
        }
        let title = match &kind {
            Kind::Command(command) => command.line.clone(),
            Kind::Console => tr("Console"),
            Kind::Shell => {
                self.shells += 1;
                tr("Shell {n}").replace("{n}", &self.shells.to_string())
            }
        };
        self.last_tab += 1;
        let number = self.last_tab;
        let terminal = Terminal::new(&format!("{title}, {}", self.container.name));
        let input = sender.input_sender().clone();
        terminal.connect_resized({
            let input = input.clone();
            move |columns, rows| input.emit(Message::Resized(number, columns, rows))
        });
        terminal.connect_again({
            let input = input.clone();
            move || input.emit(Message::Again(number))
        });
        terminal.connect_hung_up({
            let input = input.clone();
            move || input.emit(Message::HungUp(number))
        });
        terminal.connect_left({
            let input = input.clone();
            move || input.emit(Message::Leave)
        });
        parts.terminals.imp().stack.set_visible_child_name("tabs");
        let page = parts.terminals.add(&title, &terminal);
        let closing = page.clone();
        parts
            .terminals
            .imp()
            .view
            .connect_close_page(move |_, page| {
                if *page == closing {
                    input.emit(Message::Closed(number));
                }
                Propagation::Proceed
            });
        self.tabs.insert(number, Tab::new(kind, terminal, page));
        self.open_session(number, sender);
    }

    pub(super) fn open_session(&mut self, number: u32, sender: &ComponentSender<Self>) {
        let Some(tab) = self.tabs.get_mut(&number) else {
            return;
        };
        // One whose PTY has hung up may still be open at the helper.
        close(&self.backend, tab.session.take());
        tab.page.set_loading(true);
        let (kind, backend) = (tab.kind.clone(), self.backend.clone());
        let path = self.container.path.clone();
        sender.oneshot_command(async move {
            let result = match kind {
                Kind::Console => backend.open_console(&path).await,
                Kind::Shell => backend.open_shell(&path).await,
                Kind::Command(command) => backend.run(&path, &command).await,
            };
            Answer::Opened(number, Box::new(result))
        });
    }

    pub(super) fn opened(
        &mut self,
        number: u32,
        result: gantry_api::Result<OpenSession>,
        sender: &ComponentSender<Self>,
        root: &Root,
    ) {
        let name = &self.container.name;
        let Some(tab) = self.tabs.get_mut(&number) else {
            // The tab was closed meanwhile.
            close(&self.backend, result.ok().map(|session| session.path));
            return;
        };
        tab.page.set_loading(false);
        let heading = tr_name(
            match &tab.kind {
                Kind::Console => mark("The Console of “{name}” Could Not Be Opened"),
                Kind::Shell => mark("A Shell in “{name}” Could Not Be Opened"),
                Kind::Command(_) => mark("The Command Could Not Be Run in “{name}”"),
            },
            name,
        );
        let problem = match result {
            Ok(session) => match tab.terminal.attach(session.master) {
                Ok(()) => {
                    tab.session = Some(session.path.clone());
                    sender.oneshot_command(async move {
                        let end = session.watch.ended().await;
                        Answer::Ended(number, session.path, end)
                    });
                    let size = tab.terminal.size();
                    self.resized(number, size, sender);
                    return;
                }
                Err(error) => {
                    close(&self.backend, Some(session.path));
                    Problem::from_parts(&heading, "", error.message())
                }
            },
            Err(error) => Problem::from_error(&heading, &error),
        };
        // A tab that never had anything in it goes; one that had keeps its text.
        if tab.terminal.text().trim().is_empty() {
            root.imp().terminals.imp().view.close_page(&tab.page);
        } else {
            tab.show_end(None);
        }
        if let Some(problem) = problem {
            // Fails only when the window is gone.
            sender.output(Output::Problem(problem)).unwrap_or_default();
        }
    }

    /// The session's own word on how it ended.
    pub(super) fn ended(&mut self, number: u32, session: &str, end: &SessionEnd) {
        if let Some(tab) = self.tabs.get_mut(&number)
            && tab.session.as_deref().is_none_or(|open| open == session)
        {
            tab.session = None;
            tab.show_end(Some(end));
        }
    }

    /// The end of the PTY, which comes before the session's word or without it.
    pub(super) fn hung_up(&mut self, number: u32) {
        if let Some(tab) = self.tabs.get_mut(&number)
            && tab.session.is_some()
        {
            tab.show_end(None);
        }
    }

    pub(super) fn closed(&mut self, number: u32) {
        if let Some(tab) = self.tabs.remove(&number) {
            close(&self.backend, tab.session);
        }
    }

    /// Tells a console's new size; while one is on its way only the newest waits.
    pub(super) fn resized(
        &mut self,
        number: u32,
        size: (u16, u16),
        sender: &ComponentSender<Self>,
    ) {
        let Some(tab) = self.tabs.get_mut(&number) else {
            return;
        };
        let (Kind::Console, Some(session)) = (&tab.kind, tab.session.clone()) else {
            return;
        };
        if std::mem::replace(&mut tab.telling_size, true) {
            tab.next_size = Some(size);
            return;
        }
        let backend = self.backend.clone();
        sender.oneshot_command(async move {
            if let Err(error) = backend.resize(&session, size.0, size.1).await {
                tracing::info!("{session} was not resized: {error}");
            }
            Answer::SizeTold(number)
        });
    }

    pub(super) fn size_told(&mut self, number: u32, sender: &ComponentSender<Self>) {
        if let Some(tab) = self.tabs.get_mut(&number) {
            tab.telling_size = false;
            if let Some(size) = tab.next_size.take() {
                self.resized(number, size, sender);
            }
        }
    }
}

/// Ends a session that nobody looks at any more.
pub(super) fn close(backend: &Backend, session: Option<String>) {
    let Some(session) = session else {
        return;
    };
    let backend = backend.clone();
    relm4::spawn(async move {
        if let Err(error) = backend.close(&session).await {
            tracing::info!("{session} was not closed: {error}");
        }
    });
}
