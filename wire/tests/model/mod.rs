//! Compares JSON with the shapes of the protocols, and makes JSON that has every member of a shape.

use serde_json::{Map, Value, json};

/// The shapes of one protocol.
pub(crate) struct Model(Value);

#[allow(dead_code, reason = "each test program uses some")]
impl Model {
    pub(crate) fn ecs() -> Self {
        Self(serde_json::from_str(include_str!("../models/ecs.json")).unwrap())
    }

    pub(crate) fn acs() -> Self {
        Self(serde_json::from_str(include_str!("../models/acs.json")).unwrap())
    }

    pub(crate) fn tcs() -> Self {
        Self(serde_json::from_str(include_str!("../models/tcs.json")).unwrap())
    }

    /// The names of an operation's input and output shapes.
    pub(crate) fn operation(&self, name: &str) -> (&str, &str) {
        let operation = &self.0["operations"][name];
        let shape = |side: &str| operation[side].as_str().unwrap_or_else(|| panic!("no operation {name}"));
        (shape("input"), shape("output"))
    }

    pub(crate) fn operations(&self) -> impl Iterator<Item = &str> {
        self.0["operations"].as_object().unwrap().keys().map(String::as_str)
    }

    fn shape(&self, name: &str) -> &Value {
        self.0["shapes"].get(name).unwrap_or_else(|| panic!("no shape {name}"))
    }

    /// What in `value` does not fit the shape, with its path.
    pub(crate) fn problems(&self, shape: &str, value: &Value) -> Vec<String> {
        let mut problems = Vec::new();
        self.compare(shape, value, shape, &mut problems);
        problems
    }

    fn compare(&self, name: &str, value: &Value, at: &str, problems: &mut Vec<String>) {
        let shape = self.shape(name);
        let kind = shape["type"].as_str().unwrap();
        let fits = match kind {
            "structure" | "map" => value.is_object(),
            "list" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" | "long" => value.is_i64(),
            "double" | "float" | "timestamp" => value.is_number(),
            other => panic!("{other}"),
        };
        if !fits {
            problems.push(format!("{at}: {value} is no {kind}"));
            return;
        }
        match kind {
            "structure" => self.compare_members(shape, value, at, problems),
            "map" => {
                for (key, value) in value.as_object().unwrap() {
                    self.compare(shape["value"].as_str().unwrap(), value, &format!("{at}.{key}"), problems);
                }
            }
            "list" => {
                for (index, value) in value.as_array().unwrap().iter().enumerate() {
                    self.compare(shape["member"].as_str().unwrap(), value, &format!("{at}[{index}]"), problems);
                }
            }
            _ => {
                if shape.get("enum").is_some_and(|known| !known.as_array().unwrap().contains(value)) {
                    problems.push(format!("{at}: {value} is no {name}"));
                }
            }
        }
    }

    fn compare_members(&self, shape: &Value, value: &Value, at: &str, problems: &mut Vec<String>) {
        let members = shape["members"].as_object().unwrap();
        for (name, value) in value.as_object().unwrap() {
            match members.get(name) {
                Some(shape) => self.compare(shape.as_str().unwrap(), value, &format!("{at}.{name}"), problems),
                None => problems.push(format!("{at}.{name}: there is no such member")),
            }
        }
        for name in shape["required"].as_array().into_iter().flatten() {
            if value.get(name.as_str().unwrap()).is_none() {
                problems.push(format!("{at}.{}: is required", name.as_str().unwrap()));
            }
        }
    }

    /// A value with every member, each of them distinct from its default.
    pub(crate) fn sample(&self, name: &str) -> Value {
        let shape = self.shape(name);
        match shape["type"].as_str().unwrap() {
            "structure" => {
                let members = shape["members"].as_object().unwrap().iter();
                Value::Object(
                    members.map(|(name, shape)| (name.clone(), self.sample(shape.as_str().unwrap()))).collect(),
                )
            }
            "list" => json!([self.sample(shape["member"].as_str().unwrap())]),
            "map" => {
                let mut map = Map::new();
                map.insert("key".to_owned(), self.sample(shape["value"].as_str().unwrap()));
                Value::Object(map)
            }
            "string" => shape.get("enum").map_or_else(|| json!("text"), |known| known[0].clone()),
            "boolean" => json!(true),
            "integer" | "long" => json!(7),
            "double" | "float" | "timestamp" => json!(1_700_000_000.25),
            other => panic!("{other}"),
        }
    }

    /// The same structure with null for every member.
    pub(crate) fn nulls(&self, name: &str) -> Value {
        let members = self.shape(name)["members"].as_object().unwrap();
        Value::Object(members.keys().map(|name| (name.clone(), Value::Null)).collect())
    }
}
