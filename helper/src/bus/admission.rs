//! From a call about a container to a request that was let through.

use std::sync::Arc;

use gantry_api::Error;
use gantry_core::name::ContainerName;
use zbus::message::Header;

use super::{
    Bus,
    authorization::Details,
    callers::Caller,
    error::{Result, from_engine},
};
use crate::engine::{self, ContainerId, Engine, Facts, Owner, WireAction};

/// A request that was let through.
pub(super) struct Admitted<T> {
    pub(super) caller: Caller,
    pub(super) id: ContainerId,
    pub(super) facts: Arc<Facts>,
    pub(super) request: T,
}

/// What in a request may equal root on the host.
pub(super) enum Risk {
    /// Nothing.
    None,
    /// Code of the caller's runs in the container; `elevated`: with more rights or
    /// fewer walls than the container's own.
    Enter { elevated: bool },
    /// A new config.
    Config(String),
    /// New values of a key.
    Item(String, Vec<String>),
    /// A change of an interface.
    Wire(Box<WireAction>),
    /// This, always.
    Certain(String),
    /// The hooks that run before the container's end.
    Destroy,
    /// A container like it, or like this snapshot of it, that the caller has, and the
    /// hooks that run for it.
    Clone(Option<ContainerName>),
    /// What the config of this snapshot has and the present one has not.
    Restore(ContainerName),
    /// The hooks that run when it gets another name.
    Rename,
}

impl Risk {
    /// The things that do equal root, in a word each.
    async fn flags(&self, engine: &Engine, facts: &Facts) -> engine::Result<Vec<String>> {
        match self {
            Self::None => Ok(Vec::new()),
            Self::Enter { elevated } => {
                let flags = [
                    ("privileged", engine.shares_users(facts)),
                    ("elevated", *elevated),
                ];
                Ok(flags
                    .into_iter()
                    .filter(|(_, set)| *set)
                    .map(|(word, _)| word.to_owned())
                    .collect())
            }
            Self::Config(text) => engine.unsafe_config(&facts.id, text).await,
            Self::Wire(action) => engine.unsafe_wire(&facts.id, action).await,
            Self::Certain(what) => Ok(vec![what.clone()]),
            Self::Destroy => {
                let has_hooks = engine.has_destroy_hooks(&facts.id);
                Ok(Vec::from_iter(
                    has_hooks.then(|| "lxc.hook.destroy".to_owned()),
                ))
            }
            Self::Clone(snapshot) => {
                let has_hooks = engine.has_clone_hooks(&facts.id, snapshot.as_ref());
                let flags = [
                    ("privileged", engine.shares_users(facts)),
                    ("lxc.hook.clone", has_hooks),
                ];
                let set = flags.into_iter().filter(|(_, set)| *set);
                let mut words: Vec<String> = set.map(|(word, _)| word.to_owned()).collect();
                if let Some(snapshot) = snapshot {
                    words.extend(engine.unsafe_snapshot(&facts.id, snapshot).await?);
                }
                Ok(words)
            }
            Self::Restore(snapshot) => engine.unsafe_snapshot(&facts.id, snapshot).await,
            Self::Rename => {
                let has_hooks = engine.has_clone_hooks(&facts.id, None);
                Ok(Vec::from_iter(
                    has_hooks.then(|| "lxc.hook.clone".to_owned()),
                ))
            }
            Self::Item(key, values) => engine.unsafe_config_item(&facts.id, key, values).await,
        }
    }
}

impl Details {
    /// What there is to say of a container by its name alone.
    pub(super) fn of(id: &ContainerId) -> Self {
        Self::default()
            .with("container", &id.name)
            .with("owner", id.owner)
    }
}

impl Bus {
    /// Finds out who calls, finds the container, and asks whether this may be. What
    /// was asked for is what is done: should the container have changed while a
    /// person was asked for a password, the call is refused.
    ///
    /// # Errors
    /// Those of [`super::authorization::Authority::permit`], the request's own,
    /// `NotFound`, and `Conflict`.
    pub(super) async fn admit<T>(
        &self,
        header: &Header<'_>,
        id: gantry_api::Result<ContainerId>,
        request: gantry_api::Result<T>,
        risk: impl FnOnce(&T) -> Risk,
    ) -> Result<Admitted<T>> {
        let caller = self.callers.identify(header).await?;
        let mut details = id.as_ref().map(Details::of).unwrap_or_default();
        let read = match id.and_then(|id| Ok((id, request?))) {
            Ok((id, request)) => {
                let risk = risk(&request);
                match self.look(&id, &risk).await {
                    Ok((facts, seen)) => {
                        details = seen;
                        Ok((id, request, risk, facts))
                    }
                    Err(error) => Err(from_engine(error)),
                }
            }
            Err(error) => Err(error),
        };
        let (id, request, risk, mut facts) = self
            .authority
            .permit(&caller, header, read, &details)
            .await?;
        if caller.uid != 0 {
            let (now, seen) = self.look(&id, &risk).await?;
            if seen != details {
                return Err(Error::Conflict(format!(
                    "the container '{}' was changed while you were being asked; look at it and try again",
                    id.name
                ))
                .into());
            }
            facts = now;
        }
        Ok(Admitted {
            caller,
            id,
            facts,
            request,
        })
    }

    /// The container as it is now, and what polkit's rules may know of the request.
    async fn look(&self, id: &ContainerId, risk: &Risk) -> engine::Result<(Arc<Facts>, Details)> {
        let facts = self.engine.get(id).await?;
        let flags = risk.flags(&self.engine, &facts).await?;
        let mut details = Details::of(id)
            .with("privileged", facts.privileged)
            .with("backend", &facts.backend)
            .flagged(flags);
        if let Risk::Wire(action) = risk
            && let Some(link) = action.link()
        {
            details = details.with("network", link);
        }
        Ok((facts, details))
    }
}

/// The container that `NAME`, `system/NAME` or `u1000/NAME` means.
///
/// # Errors
/// `InvalidName`.
pub(super) fn container_id(text: &str) -> gantry_api::Result<ContainerId> {
    let (owner, name) = match text.split_once('/') {
        Some((owner, name)) => (owner.parse().ok(), name),
        None => (Some(gantry_api::Owner::System), text),
    };
    let owner = owner.ok_or_else(|| {
        Error::InvalidName(format!(
            "{} is no container's name; write NAME, system/NAME or u1000/NAME",
            shortened(text)
        ))
    })?;
    let name = ContainerName::new(name)
        .map_err(|error| Error::InvalidName(format!("{}: {error}", shortened(text))))?;
    let owner = match owner {
        gantry_api::Owner::System => Owner::System,
        gantry_api::Owner::User(uid) => Owner::User(uid),
    };
    Ok(ContainerId { owner, name })
}

/// Somebody's text, fit for a sentence.
pub(super) fn shortened(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_with_and_without_their_owner() {
        let id = |owner, name: &str| ContainerId {
            owner,
            name: ContainerName::new(name).unwrap(),
        };
        assert_eq!(container_id("web").unwrap(), id(Owner::System, "web"));
        assert_eq!(
            container_id("system/web").unwrap(),
            id(Owner::System, "web")
        );
        assert_eq!(
            container_id("u1000/web").unwrap(),
            id(Owner::User(1000), "web")
        );
    }

    #[test]
    fn other_names_are_refused() {
        let long = "a".repeat(300);
        for name in [
            "",
            "/",
            "../x",
            "a/b",
            "system/",
            "system/../x",
            "u/x",
            "u-1/x",
            "a\nb",
            "a\0",
            ".",
            "x/",
            &long,
        ] {
            let error = container_id(name).unwrap_err();
            assert!(matches!(&error, Error::InvalidName(_)), "{name:?}: {error}");
            assert!(!error.message().contains('\n') && error.message().len() < 300);
        }
    }
}
