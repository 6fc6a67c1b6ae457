//! The commands against an agent that says what the test wants.

use crate::fake::{Agent, PATIENCE, berth, broken_off, ended, lines, log, ran, refusal, task};
use axum::extract::{Path, Query};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::sync::watch;

#[tokio::test]
async fn an_agent_that_is_not_there_is_told_with_a_hint() {
    let ps = ran(berth("/nonexistent/agent.sock".as_ref(), &["ps"])).await;
    assert_eq!((ps.code, ps.stdout.as_str()), (Some(1), ""));
    let (first, second) = ps.stderr.split_once('\n').unwrap();
    assert!(first.starts_with("error: connect to the agent at `/nonexistent/agent.sock`: No such file"), "{first}");
    assert!(second.starts_with("hint: "), "{second}");
    let run = ran(berth("/nonexistent/agent.sock".as_ref(), &["run", "nginx"])).await;
    assert_eq!(run.code, Some(125));
    let wait = ran(berth("/nonexistent/agent.sock".as_ref(), &["wait", "x"])).await;
    assert_eq!(wait.code, Some(1));
}

#[tokio::test]
async fn ps_shows_a_table_and_json_of_the_same() {
    let all = |Query(query): Query<HashMap<String, String>>| async move {
        let mut tasks = vec![task("RUNNING", None)];
        if query.get("all").is_some_and(|v| v == "true") {
            tasks.push(task("STOPPED", Some(3)));
        }
        Json(tasks)
    };
    let agent = Agent::start(Router::new().route("/v1/tasks", get(all)));
    let ps = agent.run(&["ps"]).await;
    assert_eq!(ps.stdout.lines().count(), 2);
    let row: Vec<_> = ps.stdout.lines().nth(1).unwrap().split("   ").map(str::trim).collect();
    assert_eq!((row[0], row[1], row[2]), ("0af3651a7c4f", "web", "RUNNING"));
    assert!(ps.stdout.contains("8080->80/tcp"), "{}", ps.stdout);
    let all = agent.run(&["ps", "-a"]).await;
    assert!(all.stdout.contains("STOPPED (3)"), "{}", all.stdout);
    let quiet = agent.run(&["ps", "-q"]).await;
    assert_eq!(quiet.stdout, "0af3651a7c4f4d19a3b1d2e5f6a7b8c9\n");
    let parsed: Value = serde_json::from_str(&agent.run(&["ps", "--json"]).await.stdout).unwrap();
    assert_eq!(parsed[0]["containers"][0]["bindings"][0]["hostPort"], 8080);
}

#[tokio::test]
async fn a_refusal_names_field_and_hint() {
    let refuse = || async {
        let body = json!({"message": "got 3, at least 6", "field": "containerDefinitions[0].memory", "hint": "use 6"});
        refusal(400, body)
    };
    let agent = Agent::start(Router::new().route("/v1/tasks", post(refuse)));
    let run = agent.run(&["run", "--detach", "nginx"]).await;
    assert_eq!(run.code, Some(125));
    assert_eq!(run.stderr, "error: containerDefinitions[0].memory: got 3, at least 6\nhint: use 6\n");
}

#[tokio::test]
async fn a_definition_file_that_is_none_is_a_usage_error_before_anything_is_asked() {
    let agent = Agent::start(Router::new());
    let file = agent.dir().join("task.json");
    std::fs::write(&file, "{\n  \"family\": nginx\n}").unwrap();
    let run = agent.run(&["run", "-f", file.to_str().unwrap()]).await;
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("task.json`: line 2, column"), "{}", run.stderr);
    assert!(run.stderr.contains("\nhint: "), "{}", run.stderr);
    let missing = agent.run(&["run", "-f", "/nonexistent.json"]).await;
    assert_eq!(missing.code, Some(2));
    let both = agent.run(&["run", "-f", file.to_str().unwrap(), "-p", "80:80"]).await;
    assert_eq!(both.code, Some(2));
    let host = agent.run(&["run", "--network", "host", "-p", "80:80", "nginx"]).await;
    assert_eq!(host.code, Some(2));
}

#[tokio::test]
async fn run_sends_the_definition_that_the_flags_mean() {
    let seen = Arc::new(Mutex::new(Value::Null));
    let keep = seen.clone();
    let begin = move |Json(body): Json<Value>| async move {
        *keep.lock().unwrap() = body;
        Json(json!({"tasks": [task("RUNNING", None)]}))
    };
    let agent = Agent::start(Router::new().route("/v1/tasks", post(begin)));
    let args =
        ["run", "-d", "--name", "clock", "-p", "8080:80", "--cpu", "256", "-e", "A=1", "busybox", "sh", "-c", "date"];
    let run = agent.run(&args).await;
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), "0af3651a7c4f4d19a3b1d2e5f6a7b8c9\n"));
    let body = seen.lock().unwrap().clone();
    assert_eq!((&body["name"], &body["waitRunning"]), (&json!("clock"), &json!(true)));
    let container = &body["definition"]["containerDefinitions"][0];
    assert_eq!(body["definition"]["cpu"], "256");
    assert_eq!(container["command"], json!(["sh", "-c", "date"]));
    assert_eq!(container["portMappings"], json!([{"containerPort": 80, "hostPort": 8080, "protocol": "tcp"}]));
}

#[tokio::test]
async fn a_detached_task_that_stopped_before_it_ran_is_a_failure() {
    let begin = || async {
        let mut failed = task("STOPPED", None);
        failed["startedAtMs"] = Value::Null;
        failed["containers"][0]["startedAtMs"] = Value::Null;
        failed["reason"] = json!("CannotPullContainerError: no such image");
        Json(json!({"tasks": [failed]}))
    };
    let agent = Agent::start(Router::new().route("/v1/tasks", post(begin)));
    let run = agent.run(&["run", "-d", "nginx"]).await;
    assert_eq!(run.code, Some(125));
    assert_eq!(run.stderr, "error: task web: CannotPullContainerError: no such image\n");
}

/// Routes of a task that runs until `stopped` turns true, and of the agent's other answers about it.
fn living_task(code: i32, log_lines: Vec<Value>) -> (Router, watch::Sender<bool>, Arc<Mutex<Vec<Value>>>) {
    let (stopped, ends) = watch::channel(false);
    let stops = Arc::new(Mutex::new(Vec::new()));
    let view = move |stopped: bool| if stopped { task("STOPPED", Some(code)) } else { task("RUNNING", None) };
    let wait = {
        let ends = ends.clone();
        move || async move {
            let _ = ends.clone().wait_for(|ended| *ended).await;
            Json(view(true))
        }
    };
    let logs = {
        let ends = ends.clone();
        move || async move {
            let first: String = log_lines.iter().map(|l| format!("{l}\n")).collect();
            let rest = async move {
                let _ = ends.clone().wait_for(|ended| *ended).await;
                Ok::<_, std::io::Error>(format!("{}\n", log("stdout", 900, "bye\n")))
            };
            let first = futures_util::stream::iter([Ok(first)]);
            let all = futures_util::StreamExt::chain(first, futures_util::stream::once(rest));
            axum::body::Body::from_stream(all)
        }
    };
    let stop = {
        let (stops, stopped) = (stops.clone(), stopped.clone());
        move |Json(body): Json<Value>| async move {
            stops.lock().unwrap().push(body.clone());
            // An unwilling task: it goes only when it is killed.
            stopped.send_replace(body["timeoutMs"] == 0);
            Json(view(false))
        }
    };
    let router = Router::new()
        .route("/v1/tasks", post(|| async { Json(json!({"tasks": [task("RUNNING", None)]})) }))
        .route("/v1/tasks/{id}", get(move || async move { Json(view(*ends.borrow())) }))
        .route("/v1/tasks/{id}/wait", get(wait))
        .route("/v1/tasks/{id}/logs", get(logs))
        .route("/v1/tasks/{id}/stop", post(stop))
        .route("/v1/events", get(|| async { lines(&[task("RUNNING", None)]) }));
    (router, stopped, stops)
}

#[tokio::test]
async fn a_foreground_run_shows_the_output_and_ends_with_the_containers_code() {
    let output = vec![log("stdout", 1, "out\n"), log("stderr", 2, "err\n")];
    let (router, stopped, _) = living_task(7, output);
    let agent = Agent::start(router);
    stopped.send_replace(true);
    let run = agent.run(&["run", "nginx"]).await;
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (Some(7), "out\nbye\n", "err\n"));
}

#[tokio::test]
async fn the_first_interrupt_asks_the_task_to_stop_and_the_second_kills_it() {
    let (router, _stopped, stops) = living_task(137, vec![log("stdout", 1, "up\n")]);
    let agent = Agent::start(router);
    let mut child = agent.berth(&["run", "nginx"]).spawn().unwrap();
    let pid = Pid::from_raw(child.id().unwrap() as i32);
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut err = BufReader::new(child.stderr.take().unwrap()).lines();
    let told = tokio::time::timeout(PATIENCE, async {
        assert_eq!(out.next_line().await.unwrap().as_deref(), Some("up"));
        kill(pid, Signal::SIGINT).unwrap();
        let first = err.next_line().await.unwrap().unwrap();
        kill(pid, Signal::SIGTERM).unwrap();
        (first, err.next_line().await.unwrap().unwrap(), child.wait().await.unwrap().code())
    });
    let (first, second, code) = told.await.unwrap();
    assert_eq!(first, "berth: stopping web; interrupt once more to kill it");
    assert_eq!((second.as_str(), code), ("berth: killing web", Some(137)));
    let stops = stops.lock().unwrap();
    assert_eq!((stops[0].get("timeoutMs"), &stops[1]["timeoutMs"]), (None, &json!(0)));
}

#[tokio::test]
async fn followed_logs_have_no_hole_and_no_double_when_the_agent_is_restarted() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let keep = asked.clone();
    let logs = move |Query(query): Query<HashMap<String, String>>| async move {
        let nth = {
            let mut asked = keep.lock().unwrap();
            asked.push(query);
            asked.len()
        };
        match nth {
            1 => broken_off(&[log("stdout", 1, "a\n"), log("stdout", 1, "b\n")]),
            // Ends cleanly, though the task goes on.
            2 => lines(&[log("stdout", 1, "a\n"), log("stdout", 1, "b\n"), log("stdout", 2, "c\n")]),
            _ => lines(&[log("stdout", 2, "c\n"), log("stdout", 3, "d\n")]),
        }
    };
    let views = Arc::new(AtomicU32::new(0));
    let view = move || async move {
        let running = views.fetch_add(1, Ordering::Relaxed) < 2;
        Json(if running { task("RUNNING", None) } else { task("STOPPED", Some(0)) })
    };
    let routes = Router::new().route("/v1/tasks/{id}/logs", get(logs)).route("/v1/tasks/{id}", get(view));
    let agent = Agent::start(routes);
    let shown = agent.run(&["logs", "-f", "--tail", "5", "web"]).await;
    assert_eq!((shown.code, shown.stdout.as_str()), (Some(0), "a\nb\nc\nd\n"), "{}", shown.stderr);
    let asked = asked.lock().unwrap();
    assert_eq!(asked[0].get("tail").map(String::as_str), Some("5"));
    assert_eq!(asked[1].get("tail"), None);
    assert_eq!(asked[1].get("since").map(String::as_str), Some("1769846400000"));
}

#[tokio::test]
async fn logs_that_are_not_followed_fail_when_they_break_off() {
    let routes = Router::new()
        .route("/v1/tasks/{id}", get(|| async { Json(task("RUNNING", None)) }))
        .route("/v1/tasks/{id}/logs", get(|| async { broken_off(&[log("stdout", 1, "a\n")]) }));
    let agent = Agent::start(routes);
    let shown = agent.run(&["logs", "web"]).await;
    assert_eq!((shown.code, shown.stdout.as_str()), (Some(1), "a\n"));
    let other = agent.run(&["logs", "-c", "db", "web"]).await;
    assert_eq!(other.stderr, "error: task `web` has no container `db`\nhint: it has web\n");
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_the_command_quietly() {
    let many: Vec<_> = (0..20_000).map(|n| log("stdout", n, "the quick brown fox jumps over the lazy dog\n")).collect();
    let routes = Router::new()
        .route("/v1/tasks/{id}", get(|| async { Json(task("STOPPED", Some(0))) }))
        .route("/v1/tasks/{id}/logs", get(move || async move { lines(&many) }));
    let agent = Agent::start(routes);
    let mut child = agent.berth(&["logs", "web"]).spawn().unwrap();
    let mut few = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut few).await.unwrap();
    let shown = ended(tokio::time::timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap());
    assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""));
}

#[tokio::test]
async fn wait_prints_exit_codes_and_stop_returns_when_the_task_has_stopped() {
    let (router, stopped, stops) = living_task(143, vec![]);
    let agent = Agent::start(router);
    let stop = agent.run(&["stop", "-t", "0", "--reason", "maintenance", "web"]).await;
    assert_eq!((stop.code, stop.stdout.as_str(), stop.stderr.as_str()), (Some(0), "", ""));
    assert_eq!(stops.lock().unwrap()[0], json!({"timeoutMs": 0, "reason": "maintenance"}));
    stopped.send_replace(true);
    assert_eq!(agent.run(&["wait", "web"]).await.stdout, "143\n");
    let json: Value = serde_json::from_str(&agent.run(&["wait", "--json", "web"]).await.stdout).unwrap();
    assert_eq!(json[0]["containers"][0]["exitCode"], 143);
}

#[tokio::test]
async fn rm_goes_on_after_a_failure_and_ends_with_it() {
    let removed = Arc::new(Mutex::new(Vec::new()));
    let keep = removed.clone();
    let remove = move |Path(id): Path<String>| async move {
        if id == "busy" {
            return refusal(409, json!({"message": "task `busy` is running", "hint": "stop it first"}));
        }
        keep.lock().unwrap().push(id.clone());
        axum::response::IntoResponse::into_response(Json(json!({"removed": id})))
    };
    let agent = Agent::start(Router::new().route("/v1/tasks/{id}", delete(remove)));
    let rm = agent.run(&["rm", "a", "busy", "b"]).await;
    assert_eq!((rm.code, rm.stderr.as_str()), (Some(1), "error: task `busy` is running\nhint: stop it first\n"));
    assert_eq!(*removed.lock().unwrap(), ["a", "b"]);
}

#[tokio::test]
async fn pull_prints_steps_for_scripts_and_the_digest_as_data() {
    const LAYER: &str = "sha256:11aa22bb33cc44dd55ee66ff";
    let image = json!({"reference": "r/nginx:1", "digest": "sha256:9988", "sizeBytes": 4096, "layers": 1});
    let pull = move |Json(body): Json<Value>| async move {
        if body["reference"] == "r/none" {
            let error = json!({"message": "CannotPullContainerError: r/none: not found"});
            return lines(&[json!({"event": "failed", "error": error})]);
        }
        lines(&[
            json!({"event": "manifest", "digest": "sha256:9988", "layers": [{"digest": LAYER, "size": 4096}]}),
            json!({"event": "progress", "digest": LAYER, "step": "downloading", "current": 1, "total": 4096}),
            json!({"event": "progress", "digest": LAYER, "step": "downloading", "current": 4096, "total": 4096}),
            json!({"event": "progress", "digest": LAYER, "step": "done", "current": 0, "total": 0}),
            json!({"event": "done", "image": image}),
        ])
    };
    let agent = Agent::start(Router::new().route("/v1/images/pull", post(pull)));
    let pulled = agent.run(&["pull", "r/nginx:1"]).await;
    assert_eq!((pulled.code, pulled.stdout.as_str()), (Some(0), "r/nginx:1@sha256:9988\n"));
    assert_eq!(
        pulled.stderr,
        "manifest 9988: 1 layer, 4 KiB\nlayer 11aa22bb33cc: downloading 4 KiB\nlayer 11aa22bb33cc: done\n"
    );
    let failed = agent.run(&["pull", "r/none"]).await;
    assert_eq!(
        (failed.code, failed.stderr.as_str()),
        (Some(1), "error: CannotPullContainerError: r/none: not found\n")
    );
}

#[tokio::test]
async fn doctor_works_without_an_agent() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("agent.sock");
    let doctor = ran(berth(&socket, &["doctor", "--json"])).await;
    let findings: Value = serde_json::from_str(&doctor.stdout).unwrap();
    let of = |topic: &str| findings.as_array().unwrap().iter().find(|f| f["topic"] == topic).cloned();
    assert_eq!(of("agent").unwrap()["level"], "warn");
    assert!(of("kernel").is_some() && of("cgroups").is_some() && of("leftovers").is_some());
    let bad = findings.as_array().unwrap().iter().any(|f| f["level"] == "bad");
    assert_eq!(doctor.code, Some(i32::from(bad)));
    std::fs::create_dir_all(dir.path().join("tasks/0af3")).unwrap();
    let doctor = ran(berth(&socket, &["doctor"])).await;
    assert_eq!(doctor.code, Some(1));
    assert!(doctor.stdout.contains("BAD   leftovers   1 task whose shim is gone: 0af3"), "{}", doctor.stdout);
}

#[tokio::test]
async fn completions_are_made_for_the_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let made = ran(berth("/nonexistent".as_ref(), &["completions", shell])).await;
        assert_eq!(made.code, Some(0));
        assert!(made.stdout.contains("doctor"), "{shell}");
    }
}
