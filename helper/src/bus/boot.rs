//! What gantry-autostart.service does when the host starts, and gantry-snapshots.service
//! every hour: a call to the helper, which makes it a job like any other, to be seen,
//! followed and cancelled.

use std::collections::HashMap;

use gantry_api::{Error, JobProxy, ManagerProxy};
use zbus::{
    Connection,
    zvariant::{OwnedObjectPath, Value},
};

/// Has the helper start those of the groups that are marked to start with the host, and
/// returns when that is done.
///
/// # Errors
/// Those of the bus, and the job's own as a sentence.
pub(crate) async fn autostart(groups: Vec<String>) -> gantry_api::Result<()> {
    let connection = Connection::system().await?;
    let manager = ManagerProxy::new(&connection).await?;
    let options = HashMap::from([("groups", Value::from(groups))]);
    let path = manager.autostart(options).await?;
    finish(&connection, path).await
}

/// Has the helper take the snapshots that are due, and returns when that is done.
///
/// # Errors
/// As [`autostart`].
pub(crate) async fn run_schedules() -> gantry_api::Result<()> {
    let connection = Connection::system().await?;
    let manager = ManagerProxy::new(&connection).await?;
    let path = manager.run_schedules(HashMap::new()).await?;
    finish(&connection, path).await
}

async fn finish(connection: &Connection, job: OwnedObjectPath) -> gantry_api::Result<()> {
    let job = JobProxy::builder(connection).path(job)?.build().await?;
    match job.wait(-1).await?.as_str() {
        "done" => Ok(()),
        _ => Err(Error::Failed(job.error_message().await?)),
    }
}
