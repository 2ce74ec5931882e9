use gantry_api::Error;
use relm4::ComponentSender;
use tokio::{select, sync::oneshot};

use super::{Answer, ContainerPage};
use crate::{known::Known, text::tr};

impl ContainerPage {
    /// Watches what the container uses as long as somebody can see it. Nobody is asked
    /// for a password by just looking.
    pub(super) fn watch_while_seen(&mut self, sender: &ComponentSender<Self>) {
        let wanted = self.in_sight && self.online && self.container.init_pid != 0;
        match (wanted, &self.watch) {
            (true, None) => self.watch(false, sender),
            (false, Some(_)) => {
                self.watch = None;
                self.usage = Known::Nothing;
            }
            _ => (),
        }
    }

    pub(super) fn watch(&mut self, ask: bool, sender: &ComponentSender<Self>) {
        let (watch, mut unwanted) = oneshot::channel();
        self.watch = Some(watch);
        self.usage = Known::Nothing;
        let (backend, container) = (self.backend.clone(), self.container.clone());
        // Not ended with the page: the helper would go on to measure.
        sender.command(move |out, _| async move {
            let tell = |result| out.send(Answer::Usage(result)).is_ok();
            let mut watch = match backend.watch_usage(&container, ask).await {
                Ok(watch) => watch,
                Err(error) => {
                    tell(Err(error));
                    return;
                }
            };
            loop {
                select! {
                    biased;
                    _ = &mut unwanted => break,
                    usage = watch.next() => {
                        let ended = || Error::Failed(tr("The helper measures it no more."));
                        let goes_on = usage.is_some();
                        if !tell(usage.ok_or_else(ended)) || !goes_on {
                            break;
                        }
                    }
                }
            }
            watch.close(&backend).await;
        });
    }
}
