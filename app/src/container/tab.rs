use relm4::adw;

use crate::{
    backend::{Command, SessionEnd},
    text::tr,
    widgets::Terminal,
};

/// What a tab shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `/dev/console`: relayed, so its size has to be told.
    Console,
    /// A login shell on a PTY of its own.
    Shell,
    /// A command on a PTY of its own.
    Command(Command),
}

/// A tab of the terminals.
#[derive(Debug)]
pub(super) struct Tab {
    pub(super) kind: Kind,
    pub(super) terminal: Terminal,
    pub(super) page: adw::TabPage,
    /// The session's path while one is open.
    pub(super) session: Option<String>,
    /// A size is being told, and the one to tell after that.
    pub(super) telling_size: bool,
    pub(super) next_size: Option<(u16, u16)>,
}

impl Tab {
    pub(super) fn new(kind: Kind, terminal: Terminal, page: adw::TabPage) -> Self {
        Self {
            kind,
            terminal,
            page,
            session: None,
            telling_size: false,
            next_size: None,
        }
    }

    /// Says that the session has ended and how; `None` when that is not known.
    pub(super) fn show_end(&self, end: Option<&SessionEnd>) {
        let again = match self.kind {
            Kind::Console => tr("_Reconnect"),
            Kind::Shell => tr("_New Shell"),
            Kind::Command(_) => tr("_Run Again"),
        };
        self.terminal.end(&sentence(end), &again);
        self.page.set_loading(false);
    }
}

fn sentence(end: Option<&SessionEnd>) -> String {
    match end {
        Some(SessionEnd::Exited(0)) => tr("The session has ended."),
        Some(SessionEnd::Exited(status @ 129..)) => {
            tr("The session was ended by signal {n}.").replace("{n}", &(status - 128).to_string())
        }
        Some(SessionEnd::Exited(status)) => {
            tr("The session has ended with status {n}.").replace("{n}", &status.to_string())
        }
        Some(SessionEnd::Detached(reason)) if !reason.is_empty() => {
            tr("The session has ended: {reason}").replace("{reason}", reason)
        }
        Some(SessionEnd::Detached(_)) | None => tr("The connection has ended."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_names_status_or_signal() {
        assert!(sentence(Some(&SessionEnd::Exited(3))).contains("status 3"));
        assert!(sentence(Some(&SessionEnd::Exited(137))).contains("signal 9"));
        assert!(!sentence(Some(&SessionEnd::Exited(0))).contains('0'));
    }
}
