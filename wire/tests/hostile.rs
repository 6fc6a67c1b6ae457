//! What a broken or hostile peer may send: there is always an answer, never a panic.

use berth_wire::{acs, tcs};
use proptest::prelude::*;
use serde_json::Value;

const SEEDS: &[&str] = &[
    r#"{"type":"PayloadMessage","message":{"clusterArn":"c","containerInstanceArn":"i","messageId":"m","seqNum":3,"tasks":[{"arn":"a","cpu":0.25,"containers":[{"name":"x","image":"y","environment":{"A":"B"},"portMappings":[{"containerPort":80}],"dockerConfig":{"config":"{}"}}]}]}}"#,
    r#"{"type":"TaskManifestMessage","message":{"timeline":4,"tasks":[{"taskArn":"a","desiredStatus":"RUNNING"}]}}"#,
    r#"{"type":"HeartbeatMessage","message":{"healthy":true,"messageId":"m"}}"#,
    r#"{"type":"PublishMetricsRequest","message":{"timestamp":1.5,"taskMetrics":[{"taskArn":"a"}]}}"#,
];

/// Decodes, and what was read is written and read as the same.
fn survives(text: &str) {
    if let Ok(message) = acs::Message::decode(text) {
        assert_eq!(acs::Message::decode(&message.encode()).expect("what we write can be read"), message);
    }
    if let Ok(message) = tcs::Message::decode(tcs::strip_header(text)) {
        assert_eq!(tcs::Message::decode(&message.encode()).expect("what we write can be read"), message);
    }
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        // Quarters: reading other fractions may change their last digit, which is no matter here.
        any::<i32>().prop_map(|n| Value::from(f64::from(n) / 4.0)),
        ".{0,6}".prop_map(Value::from),
    ];
    let names =
        vec!["type", "message", "tasks", "containers", "messageId", "seqNum", "environment", "arn", "cpu", "essential"];
    leaf.prop_recursive(5, 40, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(names.clone()), inner), 0..4).prop_map(|pairs| Value::Object(
                pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            )),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_is_decoded_or_refused(text in ".{0,200}") {
        survives(&text);
    }

    #[test]
    fn any_json_in_a_known_envelope_is_decoded_or_refused(
        kind in prop::sample::select(vec!["PayloadMessage", "AckRequest", "TaskManifestMessage", "HeartbeatMessage", "X"]),
        message in json(),
    ) {
        survives(&serde_json::json!({ "type": kind, "message": message }).to_string());
    }

    #[test]
    fn a_message_with_bytes_changed_is_decoded_or_refused(
        seed in prop::sample::select(SEEDS.to_vec()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<char>()), 1..5),
    ) {
        let mut text: Vec<char> = seed.chars().collect();
        for (index, with) in changes {
            let at = index.index(text.len());
            text[at] = with;
        }
        survives(&text.into_iter().collect::<String>());
    }

    #[test]
    fn a_message_cut_short_is_refused(seed in prop::sample::select(SEEDS.to_vec()), cut in any::<prop::sample::Index>()) {
        let at = cut.index(seed.len());
        prop_assert!(acs::Message::decode(&seed[..at]).is_err());
    }
}
