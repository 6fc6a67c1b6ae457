//! The `ECS_*` variables of the stock agent, where one means the same here.

use super::{ConfigError, LogFormat, Partial, PullBehavior};
use std::collections::BTreeMap;

/// Reads the environment through `get`, which answers `None` for a variable that is not set.
pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Partial, ConfigError> {
    let get = |name: &str| get(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
    Ok(Partial {
        cluster: get("ECS_CLUSTER"),
        backend: get("ECS_BACKEND_HOST"),
        region: get("AWS_DEFAULT_REGION").or_else(|| get("AWS_REGION")),
        state_dir: get("ECS_DATADIR").map(Into::into),
        reserved_memory: number("ECS_RESERVED_MEMORY", &get)?,
        reserved_ports: json("ECS_RESERVED_PORTS", &get)?,
        reserved_ports_udp: json("ECS_RESERVED_PORTS_UDP", &get)?,
        dynamic_ports: get("ECS_DYNAMIC_HOST_PORT_RANGE")
            .map(|v| v.parse().map_err(|e| ConfigError::value("ECS_DYNAMIC_HOST_PORT_RANGE", &v, e)))
            .transpose()?,
        keep_stopped_s: seconds("ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION", &get)?,
        stop_timeout_s: seconds("ECS_CONTAINER_STOP_TIMEOUT", &get)?,
        pull: get("ECS_IMAGE_PULL_BEHAVIOR").map(|v| pull_behavior(&v)).transpose()?,
        attributes: json::<BTreeMap<String, String>>("ECS_INSTANCE_ATTRIBUTES", &get)?,
        disable_privileged: boolean("ECS_DISABLE_PRIVILEGED", &get)?,
        task_pids: number("ECS_TASK_PIDS_LIMIT", &get)?,
        log_level: get("ECS_LOGLEVEL").map(|v| log_level(&v)),
        log_format: get("ECS_LOG_OUTPUT_FORMAT").map(|v| if v == "json" { LogFormat::Json } else { LogFormat::Text }),
        ..Partial::default()
    })
}

type Get<'a> = dyn Fn(&str) -> Option<String> + 'a;

fn number(name: &str, get: &Get<'_>) -> Result<Option<u64>, ConfigError> {
    get(name).map(|v| v.parse().map_err(|_| ConfigError::value(name, &v, "write a whole number"))).transpose()
}

fn boolean(name: &str, get: &Get<'_>) -> Result<Option<bool>, ConfigError> {
    get(name).map(|v| v.parse().map_err(|_| ConfigError::value(name, &v, "write true or false"))).transpose()
}

fn json<T: serde::de::DeserializeOwned>(name: &str, get: &Get<'_>) -> Result<Option<T>, ConfigError> {
    get(name).map(|v| serde_json::from_str(&v).map_err(|e| ConfigError::value(name, &v, e))).transpose()
}

fn seconds(name: &str, get: &Get<'_>) -> Result<Option<u64>, ConfigError> {
    let problem = "write a duration such as 90s, 10m or 1h30m";
    get(name).map(|v| parse_duration(&v).ok_or_else(|| ConfigError::value(name, &v, problem))).transpose()
}

/// Reads the durations of Go (`1h30m`, `1.5h`, `500ms`), which is what the stock agent takes, in whole seconds.
fn parse_duration(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total = 0.0f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_len = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..unit_len] {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total += value * unit;
        rest = &rest[unit_len..];
    }
    (total.is_finite() && total < 1e12).then_some(total.ceil() as u64)
}

fn pull_behavior(word: &str) -> Result<PullBehavior, ConfigError> {
    match word {
        "default" => Ok(PullBehavior::Default),
        "always" => Ok(PullBehavior::Always),
        "once" => Ok(PullBehavior::Once),
        "prefer-cached" => Ok(PullBehavior::PreferCached),
        _ => Err(ConfigError::value("ECS_IMAGE_PULL_BEHAVIOR", word, "one of default, always, once, prefer-cached")),
    }
}

/// The stock agent's levels, which have one more at each end.
fn log_level(word: &str) -> String {
    match word.to_ascii_lowercase().as_str() {
        "crit" | "critical" => "error".into(),
        "warning" => "warn".into(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Result<Partial, ConfigError> {
        read(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn variables_mean_what_they_mean_to_the_stock_agent() {
        let partial = of(&[
            ("ECS_CLUSTER", "rack"),
            ("ECS_RESERVED_PORTS", "[22, 80]"),
            ("ECS_DYNAMIC_HOST_PORT_RANGE", "8000-8100"),
            ("ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION", "1h30m"),
            ("ECS_IMAGE_PULL_BEHAVIOR", "prefer-cached"),
            ("ECS_INSTANCE_ATTRIBUTES", r#"{"rack": "7"}"#),
        ])
        .unwrap();
        assert_eq!(partial.cluster.as_deref(), Some("rack"));
        assert_eq!(partial.reserved_ports, Some(vec![22, 80]));
        assert_eq!(partial.dynamic_ports.unwrap().to_string(), "8000-8100");
        assert_eq!(partial.keep_stopped_s, Some(5400));
        assert_eq!(partial.pull, Some(PullBehavior::PreferCached));
        assert_eq!(partial.attributes.unwrap()["rack"], "7");
    }

    #[test]
    fn an_empty_variable_is_one_that_is_not_set() {
        assert_eq!(of(&[("ECS_CLUSTER", " "), ("ECS_RESERVED_MEMORY", "")]).unwrap(), Partial::default());
    }

    #[test]
    fn a_wrong_value_is_named_with_its_variable() {
        let text = of(&[("ECS_RESERVED_MEMORY", "much")]).unwrap_err().to_string();
        assert_eq!(text, "setting ECS_RESERVED_MEMORY `much`: write a whole number");
        assert!(of(&[("ECS_RESERVED_PORTS", "22")]).is_err());
    }

    #[test]
    fn durations_are_those_of_go() {
        assert_eq!(parse_duration("90s"), Some(90));
        assert_eq!(parse_duration("1.5h"), Some(5400));
        assert_eq!(parse_duration("500ms"), Some(1));
        for bad in ["", "5", "5x", "s", "-1s"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }
}
