//! Programs that run at points of a container's life.

use super::{SpecError, c_string, refuse};
use serde::{Deserialize, Deserializer, Serialize};
use std::path::PathBuf;

/// A point of a container's life at which hooks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookKind {
    /// While it is created, in the host's namespaces. The name of old for [`HookKind::CreateRuntime`].
    Prestart,
    /// While it is created, in the host's namespaces, when its own namespaces and mounts are there.
    CreateRuntime,
    /// After those, in the container's namespaces, with the host's files still in sight.
    CreateContainer,
    /// When it is started, in the container, before its program.
    StartContainer,
    /// When its program runs, in the host's namespaces.
    Poststart,
    /// When it is deleted, in the host's namespaces.
    Poststop,
}

impl HookKind {
    /// All of them, in the order in which they come.
    pub const ALL: [Self; 6] = [
        Self::Prestart,
        Self::CreateRuntime,
        Self::CreateContainer,
        Self::StartContainer,
        Self::Poststart,
        Self::Poststop,
    ];

    /// The name in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::CreateRuntime => "createRuntime",
            Self::CreateContainer => "createContainer",
            Self::StartContainer => "startContainer",
            Self::Poststart => "poststart",
            Self::Poststop => "poststop",
        }
    }
}

/// One program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// The program; absolute.
    pub path: PathBuf,
    /// Its arguments, the first of which is its name. Without any it gets its path as its name.
    #[serde(default, deserialize_with = "or_none")]
    pub args: Vec<String>,
    /// Its whole environment.
    #[serde(default, deserialize_with = "or_none")]
    pub env: Vec<String>,
    /// How many seconds it may take.
    pub timeout: Option<i64>,
}

/// The programs for each point, in their order. What is empty is not written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hooks {
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_none")]
    prestart: Vec<Hook>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_none")]
    create_runtime: Vec<Hook>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_none")]
    create_container: Vec<Hook>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_none")]
    start_container: Vec<Hook>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_none")]
    poststart: Vec<Hook>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_none")]
    poststop: Vec<Hook>,
}

/// Writers of documents in other languages say `null` for an empty list.
pub(super) fn or_none<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl Hooks {
    /// Those of one point.
    pub fn of(&self, kind: HookKind) -> &[Hook] {
        match kind {
            HookKind::Prestart => &self.prestart,
            HookKind::CreateRuntime => &self.create_runtime,
            HookKind::CreateContainer => &self.create_container,
            HookKind::StartContainer => &self.start_container,
            HookKind::Poststart => &self.poststart,
            HookKind::Poststop => &self.poststop,
        }
    }

    /// Whether there are none at all.
    pub fn is_empty(&self) -> bool {
        HookKind::ALL.iter().all(|kind| self.of(*kind).is_empty())
    }

    /// Those that outlive the verb that creates the container.
    pub fn later(&self) -> Self {
        Self { poststart: self.poststart.clone(), poststop: self.poststop.clone(), ..Self::default() }
    }
}

pub(super) fn check(hooks: Hooks) -> Result<Hooks, SpecError> {
    for kind in HookKind::ALL {
        for (i, hook) in hooks.of(kind).iter().enumerate() {
            let field = |part: &str| format!("hooks.{}[{i}].{part}", kind.name());
            if !hook.path.is_absolute() {
                return refuse(field("path"), format!("`{}` is not absolute", hook.path.display()));
            }
            c_string(&field("path"), hook.path.as_os_str().as_encoded_bytes())?;
            for (part, texts) in [("args", &hook.args), ("env", &hook.env)] {
                texts.iter().try_for_each(|text| c_string(&field(part), text.as_str()).map(drop))?;
            }
            if hook.timeout.is_some_and(|seconds| seconds <= 0) {
                return refuse(field("timeout"), "is not greater than zero");
            }
        }
    }
    Ok(hooks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Hooks, SpecError> {
        check(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn every_point_has_its_own_list_by_its_own_name() {
        for kind in HookKind::ALL {
            let hooks = parse(&format!(r#"{{"{}": [{{"path": "/h", "timeout": 5}}]}}"#, kind.name())).unwrap();
            assert_eq!(hooks.of(kind).len(), 1, "{kind:?}");
            let others = HookKind::ALL.iter().filter(|other| **other != kind);
            assert!(others.into_iter().all(|other| hooks.of(*other).is_empty()), "{kind:?}");
        }
    }

    #[test]
    fn nothing_is_as_good_as_an_empty_list() {
        let hooks = parse(r#"{"prestart": null, "poststop": [{"path": "/a", "args": null, "env": null}]}"#).unwrap();
        assert_eq!((hooks.of(HookKind::Prestart).len(), hooks.of(HookKind::Poststop).len()), (0, 1));
        assert!(parse("{}").unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_run_is_refused_by_field() {
        let field = |json| parse(json).unwrap_err().field;
        assert_eq!(field(r#"{"poststop": [{"path": "/a"}, {"path": "b"}]}"#), "hooks.poststop[1].path");
        assert_eq!(field(r#"{"prestart": [{"path": "/a", "timeout": 0}]}"#), "hooks.prestart[0].timeout");
        assert_eq!(field(r#"{"prestart": [{"path": "/a", "env": ["A=\u0000"]}]}"#), "hooks.prestart[0].env");
    }

    #[test]
    fn what_outlives_create_is_written_and_read_back_and_nothing_is_nothing() {
        let hooks = parse(r#"{"prestart": [{"path": "/a"}], "poststop": [{"path": "/b", "args": ["b", "c"]}]}"#);
        let later = hooks.unwrap().later();
        let text = serde_json::to_string(&later).unwrap();
        assert!(!text.contains("prestart"), "{text}");
        assert_eq!(serde_json::from_str::<Hooks>(&text).unwrap(), later);
        assert_eq!(serde_json::to_string(&Hooks::default()).unwrap(), "{}");
    }
}
