//! Which running containers have the host's own users.

use super::{Engine, Facts};
use std::fs;
use std::os::unix::fs::MetadataExt as _;

impl Engine {
    /// Whether root in the container is root on the host: by its saved config,
    /// or by the user namespace it runs in, for the config may have been
    /// changed since. When that cannot be found out, it is.
    pub(crate) fn shares_users(&self, facts: &Facts) -> bool {
        if facts.privileged {
            return true;
        }
        let namespace = |path: String| fs::metadata(path).map(|data| (data.dev(), data.ino()));
        let own = namespace("/proc/self/ns/user".to_owned());
        match (facts.init_pid, own) {
            (0, _) => false,
            (pid, Ok(own)) => {
                namespace(format!("/proc/{pid}/ns/user")).map_or(true, |its| its == own)
            }
            (_, Err(_)) => true,
        }
    }
}
