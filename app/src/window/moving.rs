use std::path::{Path, PathBuf};

use relm4::ComponentSender;

use super::{Message, Root, Window, tasks::backends};
use crate::{
    backend::{ExportOptions, Named, Task},
    create::check_name,
    text::{tr, tr_name},
    widgets::{
        ask::{self, Field, Form},
        files,
    },
};

impl Window {
    /// Asks how to write a container to a file, and to which.
    pub(super) fn ask_export(&self, path: &str, sender: &ComponentSender<Self>, root: &Root) {
        let Some(container) = self.list.get(path) else {
            return;
        };
        let (format, compression, snapshots) = (tr("For"), tr("Compression"), tr("With Snapshots"));
        let option = |value: &str, words: String| (value.to_owned(), words);
        let formats = [
            option("gantry", tr("Gantry")),
            option("tar", tr("Any LXC (tar)")),
        ];
        let compressions = [
            option("zstd", tr("zstd, fast")),
            option("gzip", tr("gzip, known everywhere")),
            option("xz", tr("xz, slow and small")),
            option("none", tr("None")),
        ];
        let fields = [
            Field::Choice {
                label: &format,
                options: &formats,
            },
            Field::Choice {
                label: &compression,
                options: &compressions,
            },
            Field::Switch {
                label: &snapshots,
                on: false,
            },
        ];
        let form = Form {
            heading: &tr_name("Export “{name}”", &container.name),
            body: &match container.init_pid {
                0 => tr("Its configuration and all its files are packed into one archive."),
                _ => tr(
                    "The container is held while its files are packed: what its programs have not written yet is missing.",
                ),
            },
            fields: &fields,
            verb: &tr("C_hoose a File…"),
        };
        let (input, of) = (sender.input_sender().clone(), Named::from(&container));
        let (parent, all) = (root.clone(), |_: &[String]| Ok(()));
        ask::form(root, &form, all, move |values| {
            let Ok([format, compression, snapshots]) = <[String; 3]>::try_from(values) else {
                return;
            };
            let name = format!("{}{}", of.name, extension(&compression));
            let options = ExportOptions {
                format,
                compression,
                snapshots: !snapshots.is_empty(),
            };
            files::save(&parent, &name, move |to| {
                input.emit(Message::Begin(Task::Export { of, to, options }));
            });
        });
    }

    /// Asks which archive is to become a container.
    pub(super) fn choose_import(sender: &ComponentSender<Self>, root: &Root) {
        let input = sender.input_sender().clone();
        files::open_archive(root, move |from| input.emit(Message::AskImport(from)));
    }

    /// Asks what the container of an archive is to be called.
    pub(super) fn ask_import(&self, from: PathBuf, sender: &ComponentSender<Self>, root: &Root) {
        let (name, backend, keep_mac, unsafe_allowed) = (
            tr("Name"),
            tr("Stored As"),
            tr("Keep the Hardware Addresses"),
            tr("Keep What Equals Root on This Computer"),
        );
        let first = stem(&from).to_owned();
        let backends = backends(("best", tr("The best here")));
        let fields = [
            Field::Text {
                label: &name,
                text: &first,
            },
            Field::Choice {
                label: &backend,
                options: &backends,
            },
            Field::Switch {
                label: &keep_mac,
                on: false,
            },
            Field::Switch {
                label: &unsafe_allowed,
                on: false,
            },
        ];
        let form = Form {
            heading: &tr_name("Import “{name}”", &from.display().to_string()),
            body: &tr(
                "What its configuration asks of this computer, such as hooks and mounts, is refused unless it may be kept.",
            ),
            fields: &fields,
            verb: &tr("_Import"),
        };
        let taken = self.list.names();
        let check = move |values: &[String]| match values.first() {
            Some(name) if !name.is_empty() => check_name(name, &taken),
            // Nothing is not wrong yet.
            _ => Err(String::new()),
        };
        let input = sender.input_sender().clone();
        ask::form(root, &form, check, move |values| {
            let Ok([name, backend, keep_mac, unsafe_allowed]) = <[String; 4]>::try_from(values)
            else {
                return;
            };
            input.emit(Message::Begin(Task::Import {
                from,
                name,
                backend,
                unsafe_allowed: !unsafe_allowed.is_empty(),
                keep_mac: !keep_mac.is_empty(),
            }));
        });
    }
}

fn extension(compression: &str) -> &'static str {
    match compression {
        "zstd" => ".tar.zst",
        "gzip" => ".tar.gz",
        "xz" => ".tar.xz",
        _ => ".tar",
    }
}

/// A file's name without the endings of archives.
fn stem(file: &Path) -> &str {
    let name = file.file_name().and_then(|name| name.to_str());
    let name = name.unwrap_or_default();
    let endings = [
        ".tar.zst", ".tar.gz", ".tar.xz", ".tar.bz2", ".tar", ".tgz", ".txz",
    ];
    let stem = endings.iter().find_map(|end| name.strip_suffix(end));
    stem.unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_called_as_its_file_at_first() {
        assert_eq!(stem(Path::new("/tmp/web1.tar.zst")), "web1");
        assert_eq!(stem(Path::new("/tmp/web1.tgz")), "web1");
        assert_eq!(stem(Path::new("/tmp/web1")), "web1");
    }
}
