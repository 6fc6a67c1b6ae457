//! Starting, ending and stopping.

use crate::task::{Task, assert_clean, sh};
use berth_runtime::task::view::{ContainerState, Phase};
use berth_test_host::TestHost;

#[test]
#[ignore = "needs root"]
fn a_task_runs_and_ends_with_its_exit_code_and_nothing_is_left() {
    let host = TestHost::new("shim-one");
    let task = Task::start(&host, "one", vec![sh("web", "echo out; echo err >&2; exit 7")]);
    let end = task.collect();
    assert_eq!(task.shim_log(), "");
    assert_eq!((end.phase, end.containers[0].state), (Phase::Ended, ContainerState::Stopped));
    let exit = end.containers[0].exit.clone().unwrap();
    assert_eq!((exit.code, exit.signal, exit.reason), (Some(7), None, None));
    assert_eq!(end.reason.as_deref(), Some("Essential container in task exited"));
    assert_eq!(task.exit("web").code, Some(7));
    assert_eq!(task.output("web"), "out\nerr\n");
    assert!(!task.is_locked());
    assert_clean(&host);
}
