//! Names of resources. An API parameter may be the whole ARN or its last part; [`Names`] makes the first and
//! [`last`] takes the second.

/// What the ARNs of one control plane have in common.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    region: String,
    account: String,
}

impl Names {
    pub(crate) fn new(region: &str, account: &str) -> Self {
        Self { region: region.to_owned(), account: account.to_owned() }
    }

    fn of(&self, resource: &str) -> String {
        format!("arn:aws:ecs:{}:{}:{resource}", self.region, self.account)
    }

    pub(crate) fn cluster(&self, name: &str) -> String {
        self.of(&format!("cluster/{name}"))
    }

    pub(crate) fn instance(&self, cluster: &str, id: &str) -> String {
        self.of(&format!("container-instance/{cluster}/{id}"))
    }

    pub(crate) fn task(&self, cluster: &str, id: &str) -> String {
        self.of(&format!("task/{cluster}/{id}"))
    }

    pub(crate) fn container(&self, cluster: &str, task: &str, id: &str) -> String {
        self.of(&format!("container/{cluster}/{task}/{id}"))
    }

    pub(crate) fn definition(&self, family: &str, revision: i64) -> String {
        self.of(&format!("task-definition/{family}:{revision}"))
    }
}

/// The last part of an ARN (`.../ID`), or the whole of what is not an ARN.
pub(crate) fn last(reference: &str) -> &str {
    reference.rsplit('/').next().unwrap_or(reference)
}

/// A task definition named by ARN, `FAMILY:REVISION` or `FAMILY` (its newest active revision).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DefinitionRef<'a> {
    pub(crate) family: &'a str,
    pub(crate) revision: Option<i64>,
}

impl<'a> DefinitionRef<'a> {
    /// `None` when the revision is not a positive number or the family is empty.
    pub(crate) fn parse(reference: &'a str) -> Option<Self> {
        let name = last(reference);
        let parsed = match name.split_once(':') {
            None => Self { family: name, revision: None },
            Some((family, revision)) => {
                let revision = revision.parse().ok().filter(|revision| *revision > 0)?;
                Self { family, revision: Some(revision) }
            }
        };
        (!parsed.family.is_empty()).then_some(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_is_found_by_family_revision_or_arn() {
        let web = |revision| Some(DefinitionRef { family: "web", revision });
        assert_eq!(DefinitionRef::parse("web"), web(None));
        assert_eq!(DefinitionRef::parse("web:3"), web(Some(3)));
        let arn = Names::new("r", "1").definition("web", 3);
        assert_eq!(arn, "arn:aws:ecs:r:1:task-definition/web:3");
        assert_eq!(DefinitionRef::parse(&arn), web(Some(3)));
        for wrong in ["", ":1", "web:0", "web:-1", "web:x", "web:"] {
            assert_eq!(DefinitionRef::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_id_is_the_last_part_of_its_arn() {
        assert_eq!(last(&Names::new("r", "1").task("c", "ab12")), "ab12");
        assert_eq!(last("ab12"), "ab12");
    }
}
