use gantry_api::{HostFinding, ManagerProxy, Result};

use super::Backend;

/// One thing that the helper looked at on this computer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The group it is in, in the helper's word: `kernel`, `tools`…
    pub topic: String,
    /// What was looked at.
    pub item: String,
    /// What was found; when it is not well, with the remedy.
    pub text: String,
    /// Whether all is well.
    pub ok: bool,
}

impl Finding {
    /// Whether somebody should do something about it: what only some containers
    /// need may be missing.
    #[must_use]
    pub fn is_problem(&self) -> bool {
        !self.ok && self.topic != EXTRAS
    }

    /// What to copy: the command of the remedy where there is one, else all of it.
    #[must_use]
    pub fn remedy(&self) -> &str {
        let command = self.text.split_once("Run “");
        let command = command.and_then(|(_, rest)| rest.split_once('”'));
        command.map_or(self.text.as_str(), |(command, _)| command)
    }
}

/// The topic of what only some containers need.
pub const EXTRAS: &str = "extras";

impl Backend {
    /// What this computer can and cannot do. Only with `ask` may it bring up a
    /// password dialog.
    ///
    /// # Errors
    /// Those of `Manager.CheckHost` in the contract.
    pub async fn check_host(&self, ask: bool) -> Result<Vec<Finding>> {
        let findings: Vec<HostFinding> = if ask {
            ManagerProxy::new(&self.bus()?).await?.check_host().await?
        } else {
            self.quiet_manager().await?.call("CheckHost", &()).await?
        };
        Ok(findings
            .into_iter()
            .map(|(topic, item, text, ok)| Finding {
                topic,
                item,
                text,
                ok,
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(topic: &str, text: &str) -> Finding {
        Finding {
            topic: topic.to_owned(),
            item: "x".to_owned(),
            text: text.to_owned(),
            ok: false,
        }
    }

    #[test]
    fn a_command_is_copied_without_the_words_around_it() {
        let found = finding("tools", "Missing: x. Run “apt install xz-utils”, and more.");
        assert_eq!(found.remedy(), "apt install xz-utils");
        let found = finding("kernel", "Missing. Boot with “apparmor=1”.");
        assert_eq!(found.remedy(), "Missing. Boot with “apparmor=1”.");
    }

    #[test]
    fn what_only_some_containers_need_is_no_problem() {
        assert!(finding("tools", "x").is_problem());
        assert!(!finding(EXTRAS, "x").is_problem());
    }
}
