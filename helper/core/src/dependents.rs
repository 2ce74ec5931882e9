//! `lxc_snapshots` and `lxc_rdepends`: which containers depend on which.

/// What a file of dependents says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dependents {
    /// Containers by LXC path and name.
    pub named: Vec<(String, String)>,
    /// How many more there are, as very old versions of LXC wrote it.
    pub unnamed: u32,
}

impl Dependents {
    /// Reads a file: two lines a container, its LXC path and its name; or, from
    /// very old versions, just a number.
    pub fn parse(text: &str) -> Self {
        if let Ok(unnamed) = crate::values::unsigned(text.trim()) {
            return Self {
                named: Vec::new(),
                unnamed,
            };
        }
        let mut lines = text.lines().filter(|line| !line.is_empty());
        let mut named = Vec::new();
        while let (Some(path), Some(name)) = (lines.next(), lines.next()) {
            named.push((path.to_owned(), name.to_owned()));
        }
        Self { named, unnamed: 0 }
    }

    /// The list without one of its containers.
    pub fn without(mut self, lxc_path: &str, name: &str) -> Self {
        self.named
            .retain(|pair| (pair.0.as_str(), pair.1.as_str()) != (lxc_path, name));
        self
    }

    /// The file's text; empty for the oldest format, which is read only.
    pub fn text(&self) -> String {
        let lines = self
            .named
            .iter()
            .flat_map(|(path, name)| [path.as_str(), "\n", name, "\n"]);
        lines.collect()
    }

    /// Whether nothing depends.
    pub fn is_empty(&self) -> bool {
        self.named.is_empty() && self.unnamed == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats() {
        let found = Dependents::parse("/var/lib/lxc\nc2\n/var/lib/lxc/c1/snaps\nsnap0\n");
        let pair = |path: &str, name: &str| (path.to_owned(), name.to_owned());
        assert_eq!(
            found.named,
            [
                pair("/var/lib/lxc", "c2"),
                pair("/var/lib/lxc/c1/snaps", "snap0")
            ]
        );
        assert_eq!(Dependents::parse("3\n").unnamed, 3);
        assert_eq!(
            found.text(),
            "/var/lib/lxc\nc2\n/var/lib/lxc/c1/snaps\nsnap0\n"
        );
        let rest = found
            .without("/var/lib/lxc", "c2")
            .without("/elsewhere", "snap0");
        assert_eq!(rest.named, [pair("/var/lib/lxc/c1/snaps", "snap0")]);
        assert!(Dependents::parse("").is_empty() && Dependents::parse("0").is_empty());
        assert!(Dependents::parse("/only/a/path\n").is_empty());
    }
}
