//! What changed between datasets, as zfs-diff(8) tells it: the objects that differ between
//! a snapshot and what came of it, by their paths.

use super::{Below, Places, zfs};
use crate::error::{Error, Result};
use crate::linux::{mounts, tool};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// What stands for the path of what was removed and is still open.
const REMOVED: &[u8] = b"(on_delete_queue)";
/// What stands in a path for the directory of a file's attributes, where a dataset has such.
const ATTRIBUTES: &str = "<xattrdir>";

/// The places at which two datasets may differ. `at` is an empty directory.
pub(super) fn between(from: &str, to: &str, at: &Path) -> Result<Places> {
    let Some(steps) = steps(from, to)? else {
        return Ok(Places::Everywhere);
    };
    let at = std::fs::canonicalize(at).map_err(|error| Error::path("finding", at, &error))?;
    let mut paths = BTreeMap::new();
    for (snapshot, later) in steps {
        let told = changes(&snapshot, &later, &at)?;
        let read = told.and_then(|told| read(&told, &at, &mut paths));
        if read.is_none() || paths.len() > Places::MOST {
            return Ok(Places::Everywhere);
        }
    }
    Ok(Places::Paths(paths))
}

/// The ways, each from a snapshot to what came of it, that lead from one dataset to another;
/// none if these are not as near as a container and its snapshots.
fn steps(from: &str, to: &str) -> Result<Option<Vec<(String, String)>>> {
    let origins = [
        zfs::get("origin", from, false)?,
        zfs::get("origin", to, false)?,
    ];
    let [first, second] = origins.each_ref().map(|origin| origin.split_once('@'));
    let [first_origin, second_origin] = &origins;
    let both_of = |snapshot: &String| {
        let way = |dataset: &str| (snapshot.clone(), dataset.to_owned());
        Ok(Some(vec![way(from), way(to)]))
    };
    match (first, second) {
        // One is a clone of the other.
        (Some((of, _)), _) if of == to => both_of(first_origin),
        (_, Some((of, _))) if of == from => both_of(second_origin),
        // Both are clones of a third.
        (Some(_), Some(_)) if first_origin == second_origin => both_of(first_origin),
        (Some((one, _)), Some((other, _))) if one == other => {
            let mut between = [first_origin.clone(), second_origin.clone()];
            if made_in(first_origin)? > made_in(second_origin)? {
                between.reverse();
            }
            let [earlier, later] = between;
            Ok(Some(vec![
                (first_origin.clone(), from.to_owned()),
                (second_origin.clone(), to.to_owned()),
                (earlier, later),
            ]))
        }
        _ => Ok(None),
    }
}

/// When a snapshot was made, as its pool counts.
fn made_in(snapshot: &str) -> Result<u64> {
    let number = zfs::zfs(&["get", "-H", "-p", "-o", "value", "createtxg", snapshot])?;
    number.trim().parse().map_err(|_| {
        Error::Failed(format!(
            "zfs says '{}' of when {snapshot} was made, which is no number",
            number.trim().escape_debug()
        ))
    })
}

/// What zfs tells of a dataset or a snapshot since an earlier snapshot; none if it does
/// not know, or it is too much. It wants the datasets of both mounted, which here only it
/// sees; the last covers the other.
fn changes(snapshot: &str, later: &str, at: &Path) -> Result<Option<String>> {
    let program = zfs::program()?;
    let dataset = |name: &str| name.split('@').next().unwrap_or(name).to_owned();
    let mut datasets = vec![dataset(snapshot), dataset(later)];
    datasets.dedup();
    let prepare = || {
        mounts::have_own()?;
        for dataset in &datasets {
            mount_to_read(dataset, at)?;
        }
        Ok(())
    };
    let cause = match tool::run_after(prepare, &program, &["diff", "-H", snapshot, later]) {
        Ok(ended) if ended.status == 0 => {
            return Ok((ended.output.len() < tool::MOST_SAID).then_some(ended.output));
        }
        Ok(ended) => ended.errors.trim().escape_debug().to_string(),
        Err(error) => error.to_string(),
    };
    tracing::info!("zfs diff of {later} failed, every file is compared: {cause}");
    Ok(None)
}

fn mount_to_read(dataset: &str, at: &Path) -> nix::Result<()> {
    let by = |flags| mount(Some(dataset), at, Some("zfs"), flags, Some("zfsutil"));
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    match by(flags | MsFlags::MS_RDONLY) {
        // The container runs: its file system can be written to, and this is the same.
        Err(Errno::EBUSY) => by(flags),
        result => result,
    }
}

/// Adds the paths that are named in what zfs tells of a dataset that is mounted at `top`;
/// none if it is not understood. A line has a letter, a path, and of what was renamed
/// another path or of a file with other links than before their number in brackets.
/// Of links it tells one, and of one that is new perhaps only that its directory changed.
fn read(told: &str, top: &Path, paths: &mut BTreeMap<PathBuf, Below>) -> Option<()> {
    for line in told.lines() {
        let (_letter, named) = line.split_once('\t')?;
        for word in named.split('\t').filter(|word| !word.starts_with('(')) {
            let bytes = unescape(word)?;
            let path = bytes.strip_prefix(top.as_os_str().as_bytes())?;
            if path == REMOVED {
                continue;
            }
            let path = PathBuf::from(OsString::from_vec(path.strip_prefix(b"/")?.to_vec()));
            for of_file in path.ancestors().filter(|part| part.ends_with(ATTRIBUTES)) {
                paths.extend(of_file.parent().map(|file| (file.to_owned(), Below::Names)));
            }
            paths.insert(path, Below::Names);
        }
    }
    Some(())
}

/// Undoes what zfs does to bytes that are no letters: a backslash and four octal digits.
fn unescape(word: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = word.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'\\' {
            let (digits, after) = rest.split_at_checked(4)?;
            let digits = std::str::from_utf8(digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 8).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(told: &str) -> Option<Vec<PathBuf>> {
        let mut paths = BTreeMap::new();
        read(told, Path::new("/mnt/a b"), &mut paths)?;
        Some(paths.into_keys().collect())
    }

    #[test]
    fn paths_are_as_the_kernel_has_them() {
        let told = "M\t/mnt/a\\0040b/\nM\t/mnt/a\\0040b/new\\0012line\n\
            R\t/mnt/a\\0040b/ta\\0011b\\0134s\t/mnt/a\\0040b/\\0303\\0244\n\
            M\t/mnt/a\\0040b/linked\t(+1)\nM\t/mnt/a\\0040b/(+1)\n-\t/mnt/a\\0040b(on_delete_queue)\n";
        let expected = ["", "(+1)", "linked", "new\nline", "ta\tb\\s", "ä"];
        assert_eq!(named(told).unwrap(), expected.map(PathBuf::from));
    }

    #[test]
    fn what_changed_in_attributes_is_their_file() {
        let expected = ["d/file", "d/file/<xattrdir>", "d/file/<xattrdir>/user.x"];
        let told =
            "M\t/mnt/a\\0040b/d/file/<xattrdir>\nM\t/mnt/a\\0040b/d/file/<xattrdir>/user.x\n";
        let found = named(told).unwrap();
        assert_eq!(found, expected.map(PathBuf::from));
    }

    #[test]
    fn what_is_not_understood_is_not_read() {
        for told in [
            "M\n",
            "M\t/elsewhere\n",
            "M\t/mnt/a\\0040bc\n",
            "M\t/mnt/a\\0040b/\\9\n",
            "Unable to read\n",
        ] {
            assert_eq!(named(told), None, "{told:?}");
        }
    }
}
