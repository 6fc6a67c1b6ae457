//! Everything that the control plane sends is compared with the shapes of the protocols.

#[path = "../../../wire/tests/model/mod.rs"]
mod shapes;

use serde_json::Value;
use shapes::Model;

/// Compares the answer to an operation with its output shape.
pub(crate) fn check_output(operation: &str, answer: &Value) {
    let model = Model::ecs();
    assert_eq!(model.problems(model.operation(operation).1, answer), Vec::<String>::new(), "{operation}: {answer}");
}

/// Compares a websocket message with the shape of its name.
pub(crate) fn check_message(text: &str) {
    let frame: Value = serde_json::from_str(text).unwrap();
    let kind = frame["type"].as_str().unwrap();
    assert_eq!(Model::acs().problems(kind, &frame["message"]), Vec::<String>::new(), "{text}");
}
