//! Rules of `dependsOn`: known names and conditions, and no container that waits for itself, however far round. A link
//! is an arrow too: a container starts after those it is linked to.

use super::Faults;
use berth_wire::ecs::{ContainerDefinition, values::container_condition};

/// Checks the arrows among `containers`.
pub(super) fn check(containers: &[ContainerDefinition], faults: &mut Faults) {
    let index_of = |name: &str| containers.iter().position(|container| container.name == name);
    let mut arrows = vec![Vec::new(); containers.len()];
    for (from, container) in containers.iter().enumerate() {
        for (index, dependency) in container.depends_on.iter().enumerate() {
            let at = format!("containerDefinitions[{from}].dependsOn[{index}]");
            let field = format!("{at}.condition");
            let known = if dependency.condition.is_empty() {
                faults.missing(&field);
                false
            } else {
                faults.one_of(&field, &dependency.condition, container_condition::VALUES)
            };
            let name = &dependency.container_name;
            match index_of(name) {
                None if name.is_empty() => faults.missing(format!("{at}.containerName")),
                None => faults.add(format!("{at}.containerName"), name, "is not a container of this task definition"),
                Some(on) if on == from => faults.add(format!("{at}.containerName"), name, "is the container itself"),
                Some(on) => {
                    arrows[from].push((on, format!("{at}.containerName")));
                    if known {
                        condition(&containers[on], &dependency.condition, field, faults);
                    }
                }
            }
        }
        for (index, link) in container.links.iter().enumerate() {
            // What is linked to must exist and be another: that is checked with the container.
            if let Some(on) = link.split(':').next().and_then(index_of).filter(|on| *on != from) {
                arrows[from].push((on, format!("containerDefinitions[{from}].links[{index}]")));
            }
        }
    }
    circles(containers, &arrows, faults);
}

/// Whether `on` can ever fulfil `condition` without ending the task.
fn condition(on: &ContainerDefinition, condition: &str, field: String, faults: &mut Faults) {
    let essential = on.essential != Some(false);
    let waits_for_end = matches!(condition, container_condition::COMPLETE | container_condition::SUCCESS);
    if essential && waits_for_end {
        let problem = format!("container `{}` is essential: the task ends when it does", on.name);
        faults.add(field, condition, problem);
    } else if condition == container_condition::HEALTHY && on.health_check.is_none() {
        faults.add(field, condition, format!("container `{}` has no healthCheck", on.name));
    }
}

/// Notes each circle once, at the arrow that closes it.
fn circles(containers: &[ContainerDefinition], arrows: &[Vec<(usize, String)>], faults: &mut Faults) {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        OnPath,
        Done,
    }
    let mut marks = vec![Mark::New; containers.len()];
    for start in 0..containers.len() {
        if marks[start] != Mark::New {
            continue;
        }
        marks[start] = Mark::OnPath;
        // A container and how many of its arrows were followed. No recursion: the depth is the caller's choice.
        let mut path = vec![(start, 0)];
        while let Some((at, followed)) = path.last_mut() {
            let at = *at;
            let Some((to, field)) = arrows[at].get(*followed) else {
                marks[at] = Mark::Done;
                path.pop();
                continue;
            };
            *followed += 1;
            let to = *to;
            match marks[to] {
                Mark::New => {
                    marks[to] = Mark::OnPath;
                    path.push((to, 0));
                }
                Mark::OnPath => {
                    let circle =
                        path.iter().skip_while(|(on, _)| *on != to).map(|(on, _)| containers[*on].name.as_str());
                    let names = circle.chain([containers[to].name.as_str()]).collect::<Vec<_>>().join(" -> ");
                    faults.add(field, &containers[to].name, format!("is circular: {names}"));
                }
                Mark::Done => {}
            }
        }
    }
}
