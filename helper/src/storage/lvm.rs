//! A root file system on a logical volume of LVM, lvm(8): of a volume group, or of a thin
//! pool in one.

use super::elsewhere::{self, Elsewhere};
use super::volumes::{self, Volumes, free_name, new_mark};
use super::{Backend, Files, Made, Place, Wish, file_system};
use crate::error::{Error, Result};
use crate::linux::files;
use gantry_core::values::rootfs::RootfsPath;
use std::path::Path;

pub(super) struct Lvm;

/// What a mark's tag begins with.
const TAG: &str = "gantry-";

/// A logical volume, as lvs(8) reports it.
#[derive(Debug)]
struct Volume {
    vg_name: String,
    lv_name: String,
    lv_size: String,
    /// The thin pool that it is of; empty: none.
    pool_lv: String,
    /// What it is a snapshot of; empty: nothing.
    origin: String,
    lv_tags: String,
    segtype: String,
    /// How much of a pool is used, in percent.
    data_percent: String,
}

impl Volume {
    /// Reads a line of fields; a volume of several parts has one for each.
    fn read(text: &str) -> Result<Self> {
        let line = text.lines().next().unwrap_or_default();
        let fields: Vec<String> = line.trim().split('|').map(str::to_owned).collect();
        let fields = <[String; 8]>::try_from(fields).map_err(|_| {
            Error::Failed(format!(
                "lvs says '{}', which is not understood",
                line.escape_debug()
            ))
        })?;
        let [
            vg_name,
            lv_name,
            lv_size,
            pool_lv,
            origin,
            lv_tags,
            segtype,
            data_percent,
        ] = fields;
        Ok(Self {
            vg_name,
            lv_name,
            lv_size,
            pool_lv,
            origin,
            lv_tags,
            segtype,
            data_percent,
        })
    }

    fn path(&self) -> String {
        format!("/dev/{}/{}", self.vg_name, self.lv_name)
    }

    fn is_thin(&self) -> bool {
        !self.pool_lv.is_empty()
    }
}

impl Backend for Lvm {
    fn options(&self) -> &'static [&'static str] {
        &["lvname", "vgname", "thinpool", "fstype", "fssize"]
    }

    fn check(&self, wish: &Wish, _lxc_path: &Path) -> Result<()> {
        file_system::check(wish)?;
        for (option, name) in [
            ("lvname", wish.lvname.as_deref()),
            ("vgname", Some(group(wish))),
            ("thinpool", wish.thinpool.as_deref()),
        ] {
            if let Some(name) = name.filter(|name| !is_name(name)) {
                return Err(Error::InvalidArgument(format!(
                    "'{option}' is '{}', which is no name of LVM's; use letters, digits and + _ . -",
                    name.escape_debug()
                )));
            }
        }
        let group = group(wish);
        match lvm("vgs", &["--noheadings", "-o", "vg_name", "--", group]) {
            Ok(_) => {}
            Err(Error::NotFound(_)) => {
                return Err(Error::Unsupported(format!(
                    "there is no volume group '{group}'; make one with vgcreate, or name another with 'vgname' or lxc.bdev.lvm.vg in lxc.conf"
                )));
            }
            Err(error) => return Err(error),
        }
        pool(wish).map(drop)
    }

    /// As LXC: of the thin pool if there is one, else of the volume group.
    fn create(&self, wish: &Wish, place: &Place) -> Result<Made> {
        let group = group(wish);
        let name = match &wish.lvname {
            Some(name) => name.clone(),
            None => free_name(self, &place.volume, |name| format!("/dev/{group}/{name}"))?,
        };
        let size = format!("{}b", file_system::size(wish));
        let pool = pool(wish)?.map(|pool| format!("{}/{}", pool.vg_name, pool.lv_name));
        let amount = match &pool {
            Some(pool) => ["--thinpool", pool, "--virtualsize", &size].to_vec(),
            None => ["--size", &size].to_vec(),
        };
        let path = new_volume(place, group, &name, |tag| {
            let mut args = vec!["--yes", "--wipesignatures", "y", "--addtag", tag];
            args.extend(&amount);
            args.extend(["--name", name.as_str()]);
            // The pool says which group.
            if pool.is_none() {
                args.push(group);
            }
            lvm("lvcreate", &args).map(drop)
        })?;
        file_system::make(wish, Path::new(&path))?;
        made(place, path, false)
    }

    /// In the same group and pool, with a file system of the same size and type.
    fn like(&self, source: &RootfsPath, wish: &mut Wish) -> Result<()> {
        let volume = existing(&source.path)?;
        if wish.fssize.is_none() {
            wish.fssize = Some(bytes(&volume)?);
        }
        if wish.fstype.is_none() {
            wish.fstype = file_system::kind_on(Path::new(&volume.path()));
        }
        wish.thinpool = volume.is_thin().then_some(volume.pool_lv);
        wish.classic = wish.thinpool.is_none();
        wish.vgname = Some(volume.vg_name);
        Ok(())
    }

    /// A thin snapshot stands by itself; another one has as much space as its origin, so
    /// that it never overflows, and goes with it.
    fn snapshot(&self, source: &RootfsPath, place: &Place) -> Result<Made> {
        let volume = existing(&source.path)?;
        if file_system::kind_on(Path::new(&volume.path())).as_deref() == Some("btrfs") {
            return Err(Error::Unsupported(format!(
                "{} has a btrfs, of which no two may have one id; make a full copy",
                volume.path()
            )));
        }
        if !volume.is_thin() && !volume.origin.is_empty() {
            return Err(Error::Unsupported(format!(
                "{} is a copy-on-write clone itself, of which LVM makes no other outside of a thin pool; make a full copy",
                volume.path()
            )));
        }
        let group = volume.vg_name.as_str();
        let name = free_name(self, &place.volume, |name| format!("/dev/{group}/{name}"))?;
        let size = format!("{}b", bytes(&volume)?);
        let origin = format!("{group}/{}", volume.lv_name);
        let path = new_volume(place, group, &name, |tag| {
            let mut args = vec!["--yes", "--snapshot", "--addtag", tag];
            if volume.is_thin() {
                // It is to be active like any other volume.
                args.extend(["--setactivationskip", "n"]);
            } else {
                args.extend(["--size", &size]);
            }
            args.extend(["--name", name.as_str(), origin.as_str()]);
            lvm("lvcreate", &args).map(drop)
        })?;
        made(place, path, !volume.is_thin())
    }

    fn keeps_moments(&self, _rootfs: &RootfsPath) -> Result<bool> {
        Ok(true)
    }

    fn size(&self, rootfs: &RootfsPath) -> Result<Option<u64>> {
        bytes(&existing(&rootfs.path)?).map(Some)
    }

    fn enlarge(&self, rootfs: &RootfsPath, size: u64) -> Result<()> {
        let path = existing(&rootfs.path)?.path();
        lvm("lvextend", &["--size", &format!("{size}b"), "--", &path]).map(drop)
    }

    /// Outside of a thin pool a snapshot would go with the state that a restored one
    /// replaces.
    fn copies_in_full(&self, rootfs: &RootfsPath) -> Result<bool> {
        Ok(!existing(&rootfs.path)?.is_thin())
    }
}

impl Volumes for Lvm {
    fn find(&self, path: &str) -> Result<Option<String>> {
        // A device that is no volume is nobody's to manage.
        match split(path) {
            Some(_) => Ok(look(path)?.map(|volume| volume.path())),
            None => Ok(None),
        }
    }

    fn mark(&self, volume: &str, mark: &str) -> Result<()> {
        let tag = format!("{TAG}{mark}");
        lvm("lvchange", &["--addtag", &tag, "--", volume]).map(drop)
    }

    fn remove(&self, volume: &str, mark: &str) -> Result<()> {
        let tag = format!("{TAG}{mark}");
        let is_ours =
            look(volume)?.is_some_and(|found| found.lv_tags.split(',').any(|it| it == tag));
        if !is_ours {
            return Ok(());
        }
        lvm("lvremove", &["--force", "--yes", "--", volume]).map(drop)
    }

    fn renamed(&self, volume: &str, name: &str) -> Result<String> {
        let (group, _) = split(volume).ok_or_else(|| no_volume(volume))?;
        Ok(format!("/dev/{group}/{name}"))
    }

    fn rename(&self, volume: &str, new: &str, _root: &Path) -> Result<()> {
        if look(volume)?.is_none() && look(new)?.is_some() {
            return Ok(());
        }
        lvm("lvrename", &["--", volume, new]).map(drop)
    }
}

fn lvm(program: &str, args: &[&str]) -> Result<String> {
    volumes::run(program, "lvm2", args)
}

/// lvm(8) has these; none begins with what would be an option.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() < 128
        && !name.starts_with('-')
        && name != "."
        && name != ".."
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+_.-".contains(&byte))
}

/// The volume group and name in a volume's path.
fn split(path: &str) -> Option<(&str, &str)> {
    let (group, name) = path.strip_prefix("/dev/")?.split_once('/')?;
    (is_name(group) && is_name(name)).then_some((group, name))
}

fn no_volume(path: &str) -> Error {
    Error::InvalidArgument(format!(
        "{} is not of the form /dev/GROUP/VOLUME",
        path.escape_debug()
    ))
}

fn group(wish: &Wish) -> &str {
    wish.vgname.as_deref().unwrap_or(&wish.system.volume_group)
}

/// The thin pool that a new volume is to be of. One that was not asked for is used where
/// there is one.
fn pool(wish: &Wish) -> Result<Option<Volume>> {
    if wish.classic {
        return Ok(None);
    }
    let group = group(wish);
    let name = wish.thinpool.as_deref().unwrap_or(&wish.system.thin_pool);
    let found = look(&format!("/dev/{group}/{name}"))?.filter(|found| found.segtype == "thin-pool");
    if let Some(pool) = &found
        && pool
            .data_percent
            .parse::<f64>()
            .is_ok_and(|used| used > 99.5)
    {
        return Err(Error::NoSpace(format!(
            "the thin pool {group}/{name} is full; give it more with lvextend, or remove containers in it"
        )));
    }
    if found.is_none() && wish.thinpool.is_some() {
        return Err(Error::InvalidArgument(format!(
            "there is no thin pool '{name}' in the volume group '{group}'; leave 'thinpool' out, or make it with lvcreate"
        )));
    }
    Ok(found)
}

/// Looks a volume up; none if it is not there.
fn look(path: &str) -> Result<Option<Volume>> {
    let (group, name) = split(path).ok_or_else(|| no_volume(path))?;
    let volume = format!("{group}/{name}");
    let args = [
        "--noheadings",
        "--separator",
        "|",
        "--units",
        "b",
        "--nosuffix",
        "-o",
        "vg_name,lv_name,lv_size,pool_lv,origin,lv_tags,segtype,data_percent",
        "--",
        &volume,
    ];
    match lvm("lvs", &args) {
        Ok(text) => Volume::read(&text).map(Some),
        Err(Error::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn existing(path: &str) -> Result<Volume> {
    look(path)?
        .ok_or_else(|| Error::NotFound(format!("there is no logical volume {path}; look at lvs")))
}

fn bytes(volume: &Volume) -> Result<u64> {
    volume.lv_size.parse().map_err(|_| {
        Error::Failed(format!(
            "the size of {} is '{}', which is no number",
            volume.path(),
            volume.lv_size.escape_debug()
        ))
    })
}

/// Has a volume made with a tag by which it is removed if nothing comes of the container.
fn new_volume(
    place: &Place,
    group: &str,
    name: &str,
    make: impl FnOnce(&str) -> Result<()>,
) -> Result<String> {
    let path = format!("/dev/{group}/{name}");
    if split(&path).is_none() {
        return Err(no_volume(&path));
    }
    let mark = new_mark()?;
    let tag = format!("{TAG}{mark}");
    elsewhere::note(
        &place.here,
        &[Elsewhere::Volume {
            rootfs: format!("lvm:{path}"),
            mark,
        }],
    )?;
    make(&tag)?;
    Ok(path)
}

/// Beside the config is where it is mounted.
fn made(place: &Place, path: String, depends: bool) -> Result<Made> {
    let root = place.here.join("rootfs");
    files::ensure_directory(&root, 0o755).map_err(|error| Error::path("making", &root, &error))?;
    let path = format!("lvm:{path}");
    Ok(Made {
        files: Files::In(path.clone()),
        path,
        copies: Vec::new(),
        depends,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_lvs_is_a_volume() {
        let line = "  lxc|web|67108864|thin|base|gantry-abc,other|thin|3.12\n";
        let volume = Volume::read(line).unwrap();
        assert_eq!(volume.path(), "/dev/lxc/web");
        assert!(volume.is_thin() && volume.origin == "base");
        assert_eq!(bytes(&volume).unwrap(), 64 << 20);
        assert!(!Volume::read("  lxc|web|67108864|||||\n").unwrap().is_thin());
        assert!(Volume::read("").is_err());
    }

    #[test]
    fn a_path_names_a_group_and_a_volume() {
        assert_eq!(split("/dev/lxc/web-1.a"), Some(("lxc", "web-1.a")));
        for wrong in [
            "/dev/sda1",
            "/dev/lxc/../sda",
            "/dev/lxc/a/b",
            "/dev/lxc/-f",
            "/dev/lxc/a b",
            "lxc/web",
        ] {
            assert_eq!(split(wrong), None, "{wrong}");
        }
    }
}
