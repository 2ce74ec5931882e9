//! Work on many containers at once, as jobs.

use std::sync::Arc;

use gantry_api::Error;
use zbus::{message::Header, zvariant::OwnedObjectPath};

use super::{
    Bus,
    admission::shortened,
    authorization::Details,
    callers::Caller,
    containers::path_of,
    error::Result,
    jobs::Outcome,
    options::{Dictionary, Options},
    requests::timeout,
};
use crate::engine::{GroupAction, Selection, StopOptions};

/// The options of Autostart.
fn autostart_request(options: Dictionary) -> gantry_api::Result<(Selection, GroupAction)> {
    Options::read(options, |options| {
        let groups = options.take::<Vec<String>>("groups")?;
        let groups = match (options.flag("all")?, groups) {
            (true, None) => None,
            (true, Some(_)) => {
                return Err(Error::InvalidArgument(
                    "\"all\" and \"groups\" exclude each other; leave one out".into(),
                ));
            }
            (false, groups) => Some(groups.unwrap_or_else(|| vec![String::new()])),
        };
        let selection = Selection {
            groups,
            marked: !options.flag("ignore_auto")?,
            own: options.flag("own")?,
        };
        let patience = StopOptions {
            timeout: timeout(options)?,
            force: true,
        };
        let action = match options.take::<String>("action")?.as_deref() {
            None | Some("start") => GroupAction::Start,
            Some("stop") => GroupAction::Stop(patience),
            Some("reboot") => GroupAction::Reboot(patience),
            Some("kill") => GroupAction::Kill,
            Some(other) => {
                return Err(Error::InvalidArgument(format!(
                    "there is no action {}; there are start, stop, reboot and kill",
                    shortened(other)
                )));
            }
        };
        Ok((selection, action))
    })
}

impl Bus {
    /// The job of one group, which must be known.
    pub(super) async fn act_on_group(
        self: &Arc<Self>,
        header: &Header<'_>,
        operation: &'static str,
        group: &str,
        action: gantry_api::Result<GroupAction>,
    ) -> Result<OwnedObjectPath> {
        let (caller, action) = self.admit_many(header, action).await?;
        self.engine.need_group(group).await?;
        self.act_on(&caller, operation, &Selection::group(group), action)
            .await
    }

    /// The job of what starts and stops with the host.
    pub(super) async fn autostart(
        self: &Arc<Self>,
        header: &Header<'_>,
        options: Dictionary,
    ) -> Result<OwnedObjectPath> {
        let request = autostart_request(options);
        let (caller, (selection, action)) = self.admit_many(header, request).await?;
        if action == GroupAction::Start {
            self.engine.networks_of_boot().await;
        }
        self.act_on(&caller, "Autostart", &selection, action).await
    }

    /// The job of the snapshots that are due.
    pub(super) async fn run_schedules(
        self: &Arc<Self>,
        header: &Header<'_>,
        options: Dictionary,
    ) -> Result<OwnedObjectPath> {
        let (caller, ()) = self.admit_many(header, Options::none(options)).await?;
        let engine = self.engine.clone();
        self.start_job(&caller, "RunSchedules", &[], |work| async move {
            let taken = engine.run_schedules(&work).await?;
            Ok(Outcome::from([("snapshots", taken.into())]))
        })
        .await
    }

    async fn admit_many<T>(
        &self,
        header: &Header<'_>,
        request: gantry_api::Result<T>,
    ) -> Result<(Caller, T)> {
        let caller = self.callers.identify(header).await?;
        let details = Details::default();
        let request = self
            .authority
            .permit(&caller, header, request, &details)
            .await?;
        Ok((caller, request))
    }

    async fn act_on(
        self: &Arc<Self>,
        caller: &Caller,
        operation: &'static str,
        selection: &Selection,
        action: GroupAction,
    ) -> Result<OwnedObjectPath> {
        let selected = self.engine.select(selection, action).await?;
        let objects: Vec<_> = selected.iter().map(|facts| path_of(&facts.id)).collect();
        let engine = self.engine.clone();
        self.start_job(caller, operation, &objects, |work| async move {
            let done = engine.act_on(&selected, action, &work).await?;
            Ok(Outcome::from([("containers", done.into())]))
        })
        .await
    }
}
