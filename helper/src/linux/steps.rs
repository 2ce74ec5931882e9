//! Paths in trees that may be very deep, step by step: all of them together take no more
//! memory than the tree has directories.

use std::ffi::{OsStr, OsString};
use std::sync::Arc;

/// A path from the top, which has no step.
pub(super) type Steps = Option<Arc<Step>>;

/// The last step of a path, with those before it.
pub(super) struct Step {
    above: Steps,
    name: OsString,
}

impl Drop for Step {
    /// Not one within the other: the stack does not hold so many.
    fn drop(&mut self) {
        let mut next = self.above.take();
        while let Some(mut step) = next.and_then(Arc::into_inner) {
            next = step.above.take();
        }
    }
}

/// The path of what has this name in a directory.
pub(super) fn below(above: &Steps, name: &OsStr) -> Steps {
    Some(Arc::new(Step {
        above: above.clone(),
        name: name.to_owned(),
    }))
}

/// The names on a path, from the top.
pub(super) fn names(mut path: &Steps) -> Vec<&OsStr> {
    let mut names = Vec::new();
    while let Some(step) = path {
        names.push(step.name.as_os_str());
        path = &step.above;
    }
    names.reverse();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_paths_are_named_and_dropped() {
        let mut path = None;
        for number in 0..200_000 {
            path = below(&path, OsStr::new(&number.to_string()));
        }
        let names = names(&path);
        assert_eq!(
            (names.len(), names[0], names[7]),
            (200_000, OsStr::new("0"), OsStr::new("7"))
        );
        drop(path);
    }
}
