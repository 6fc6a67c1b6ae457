//! Names of units, and the control groups that systemd makes of them. Pure.

use std::path::{Path, PathBuf};

/// Where containers go whose document does not name a slice.
const DEFAULT_SLICE: &str = "system.slice";
/// What their units' names begin with.
const DEFAULT_PREFIX: &str = "berth";

/// The unit of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its own name: a scope, or a slice.
    pub name: String,
    /// The slice that it is in.
    pub slice: String,
}

/// A `cgroupsPath` that names no unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is not of three parts.
    #[error("expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {0:?} instead")]
    Form(String),
    /// Its first part is no slice.
    #[error("invalid slice name: {0}")]
    Slice(String),
    /// Its other parts cannot be a unit's name.
    #[error("invalid unit name: {0}")]
    Unit(String),
}

impl Unit {
    /// The unit that a `cgroupsPath` names, or the one of a container without.
    pub fn new(cgroups_path: Option<&Path>, id: &str) -> Result<Self, NameError> {
        let text = cgroups_path.map_or("".into(), |path| path.to_string_lossy());
        if text.is_empty() {
            return Self::of(DEFAULT_SLICE, DEFAULT_PREFIX, id);
        }
        match text.split(':').collect::<Vec<_>>().as_slice() {
            [slice, prefix, name] => Self::of(if slice.is_empty() { DEFAULT_SLICE } else { slice }, prefix, name),
            _ => Err(NameError::Form(text.into_owned())),
        }
    }

    fn of(slice: &str, prefix: &str, name: &str) -> Result<Self, NameError> {
        let name = if name.ends_with(".slice") { name.to_owned() } else { format!("{prefix}-{name}.scope") };
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b':' | b'-' | b'_' | b'.' | b'\\' | b'@');
        // systemd takes 255, its type included.
        if !name.bytes().all(plain) || name.len() > 255 || name.starts_with(['-', '.']) {
            return Err(NameError::Unit(name));
        }
        expand(slice)?;
        Ok(Self { name, slice: slice.to_owned() })
    }

    /// It is a slice itself, which has no processes of its own as far as systemd knows.
    pub fn is_slice(&self) -> bool {
        self.name.ends_with(".slice")
    }

    /// Its group below the mounts of the hierarchies.
    pub fn group(&self) -> PathBuf {
        // Checked when it was made.
        expand(&self.slice).unwrap_or_default().join(&self.name)
    }
}

/// The group of a slice: every dash in its name is a slice above it, and `-.slice` is the root.
fn expand(slice: &str) -> Result<PathBuf, NameError> {
    let bad = || NameError::Slice(slice.to_owned());
    let name = slice.strip_suffix(".slice").ok_or_else(bad)?;
    if name == "-" {
        return Ok(PathBuf::new());
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b':' | b'-' | b'_' | b'.' | b'\\' | b'@');
    if slice.len() > 255 || !name.bytes().all(plain) || name.split('-').any(str::is_empty) || name.starts_with('.') {
        return Err(bad());
    }
    let dashes = name.match_indices('-').map(|(at, _)| at);
    Ok(dashes.chain([name.len()]).map(|at| format!("{}.slice", &name[..at])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(path: &str) -> Result<Unit, NameError> {
        Unit::new(Some(Path::new(path)), "c1")
    }

    #[test]
    fn slices_are_inside_each_other_by_their_names() {
        let group = |path| unit(path).unwrap().group().to_str().unwrap().to_owned();
        assert_eq!(group("machine.slice:libpod:0af3"), "machine.slice/libpod-0af3.scope");
        assert_eq!(group("a-b-c.slice:docker:x"), "a.slice/a-b.slice/a-b-c.slice/docker-x.scope");
        assert_eq!(group("-.slice:p:x"), "p-x.scope");
        assert_eq!(group(":p:x"), "system.slice/p-x.scope");
        assert_eq!(group("a.slice:p:a-x.slice"), "a.slice/a-x.slice");
        assert_eq!(Unit::new(None, "c1").unwrap().group(), Path::new("system.slice/berth-c1.scope"));
        assert_eq!(unit("").unwrap().name, "berth-c1.scope");
    }

    #[test]
    fn what_names_no_unit_is_refused() {
        for path in ["/plain/path", "a:b", "a:b:c:d"] {
            assert_eq!(unit(path), Err(NameError::Form(path.into())));
        }
        for slice in ["a", "a-.slice", "-a.slice", "a--b.slice", "../x.slice", "a/b.slice", ".slice", "..slice"] {
            assert_eq!(unit(&format!("{slice}:p:x")), Err(NameError::Slice(slice.into())));
        }
        for name in ["a/b", "../c", "a b", &"x".repeat(300)] {
            assert!(matches!(unit(&format!("a.slice:p:{name}")), Err(NameError::Unit(_))), "{name}");
        }
    }
}
