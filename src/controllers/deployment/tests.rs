//! Steps by rows, and whole rollouts against a simulated cluster that is checked at every step.

use std::collections::HashSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::decide::{Seen, Step, step};
use super::model::{Set, Wanted};
use super::revision::{self, DESIRED, MOST, REVISION};
use crate::conditions;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}})
}

fn deployment(replicas: i64, strategy: Value, image: &str) -> Value {
    json!({
        "metadata": {"name": "web", "namespace": "d", "generation": 1, "annotations": {"kubernetes.io/change-cause": "why"}},
        "spec": {"replicas": replicas, "strategy": strategy, "selector": {"matchLabels": {"app": "web"}},
            "template": template(image), "revisionHistoryLimit": 2, "progressDeadlineSeconds": 600},
        "status": {},
    })
}

fn rolling(surge: Value, unavailable: Value) -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}})
}

/// A pod of the simulated cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pod {
    Starting,
    Ready,
    Ending,
}

/// A cluster in which everything happens in an order that a seed draws.
struct World {
    deployment: Value,
    sets: Vec<(Set, Vec<Pod>)>,
    clock: i64,
    seed: u64,
}

impl World {
    fn new(deployment: Value, seed: u64) -> Self {
        Self { deployment, sets: Vec::new(), clock: 0, seed }
    }

    fn draw(&mut self, limit: usize) -> usize {
        // xorshift: the same seed gives the same run.
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed % limit.max(1) as u64) as usize
    }

    fn wanted(&self) -> Wanted {
        Wanted::of(&self.deployment)
    }

    fn count(pods: &[Pod], kind: impl Fn(Pod) -> bool) -> i64 {
        pods.iter().filter(|pod| kind(**pod)).count() as i64
    }

    fn seen_sets(&self) -> Vec<Set> {
        let see = |(set, pods): &(Set, Vec<Pod>)| Set {
            alive: Self::count(pods, |pod| pod != Pod::Ending),
            available: Self::count(pods, |pod| pod == Pod::Ready),
            ..set.clone()
        };
        self.sets.iter().map(see).collect()
    }

    /// One step of the controller.
    fn decide(&mut self) -> Step {
        let (wanted, sets) = (self.wanted(), self.seen_sets());
        let taken: HashSet<String> = sets.iter().map(|set| set.name.clone()).collect();
        let new = revision::find_new(&wanted, &sets).map(|set| set.name.clone());
        let old_pods = self.sets.iter().any(|(set, pods)| Some(&set.name) != new.as_ref() && !pods.is_empty());
        let step = step(&Seen { wanted: &wanted, sets: &sets, taken: &taken, old_pods, now: at(self.clock) });
        for resize in &step.resizes {
            let (set, _) = self.sets.iter_mut().find(|(set, _)| set.name == resize.name).unwrap();
            set.replicas = resize.to;
            set.generation += 1;
            revision::sized(&wanted, &mut set.annotations);
        }
        if let Some((name, annotations, _)) = &step.refresh {
            let (set, _) = self.sets.iter_mut().find(|(set, _)| set.name == *name).unwrap();
            set.annotations = annotations.clone();
        }
        self.sets.retain(|(set, _)| !step.forget.contains(&set.name));
        if let Some(value) = &step.create {
            let mut set = Set::of(value, 0, 0);
            set.created = (format!("{:06}", self.clock), set.name.clone());
            self.sets.push((set, Vec::new()));
        }
        self.deployment["status"] = step.status.clone();
        if let Some(number) = &step.revision {
            self.deployment["metadata"]["annotations"][REVISION] = json!(number);
        }
        step
    }

    /// One step of the ReplicaSet controller for one set: one pod made or deleted, or the status written.
    fn keep(&mut self, index: usize) {
        let (set, pods) = &mut self.sets[index];
        let alive = Self::count(pods, |pod| pod != Pod::Ending);
        if alive < set.replicas {
            pods.push(Pod::Starting);
        } else if alive > set.replicas {
            let worst = pods
                .iter()
                .position(|pod| *pod == Pod::Starting)
                .or_else(|| pods.iter().position(|pod| *pod == Pod::Ready));
            pods[worst.unwrap()] = Pod::Ending;
        } else {
            let ready = Self::count(pods, |pod| pod == Pod::Ready);
            set.status = json!({"replicas": alive, "readyReplicas": ready, "availableReplicas": ready,
                "observedGeneration": set.generation});
        }
    }

    /// Something that the agents do to one pod.
    fn live(&mut self, index: usize, healthy: bool, fails: bool) {
        let at = self.draw(self.sets[index].1.len());
        let pods = &mut self.sets[index].1;
        match pods.get(at).copied() {
            Some(Pod::Starting) if healthy => pods[at] = Pod::Ready,
            Some(Pod::Ready) if fails => pods[at] = Pod::Starting,
            Some(Pod::Ending) => {
                pods.remove(at);
            }
            _ => {}
        }
    }

    fn total(&self) -> i64 {
        self.sets.iter().map(|(_, pods)| Self::count(pods, |pod| pod != Pod::Ending)).sum()
    }

    fn available(&self) -> i64 {
        self.sets.iter().map(|(_, pods)| Self::count(pods, |pod| pod == Pod::Ready)).sum()
    }

    /// Random steps until the rollout is complete, with `check` after each.
    fn settle(&mut self, check: impl Fn(&World)) -> usize {
        for number in 0..20_000 {
            match self.draw(4) {
                0 => drop(self.decide()),
                1 if !self.sets.is_empty() => {
                    let index = self.draw(self.sets.len());
                    self.keep(index);
                }
                2 if !self.sets.is_empty() => {
                    let index = self.draw(self.sets.len());
                    self.live(index, true, false);
                }
                _ => self.clock += 1,
            }
            check(self);
            if self.is_settled() {
                return number;
            }
        }
        panic!("not settled: {:?}", self.sets);
    }

    fn is_settled(&self) -> bool {
        let wanted = self.wanted();
        let reason =
            conditions::text(conditions::find(&wanted.status, "Progressing"), "reason") == "NewReplicaSetAvailable";
        let image = &wanted.template;
        let fits = |(set, pods): &(Set, Vec<Pod>)| {
            let replicas = if revision::same_template(&set.template, image) { wanted.replicas } else { 0 };
            set.replicas == replicas && pods.len() as i64 == replicas && set.count("replicas") == replicas
        };
        let counted = |field: &str| wanted.status[field] == json!(wanted.replicas);
        reason && self.sets.iter().all(fits) && counted("updatedReplicas") && counted("availableReplicas")
    }

    fn roll_to(&mut self, image: &str) {
        self.deployment["spec"]["template"] = template(image);
        self.deployment["metadata"]["generation"] =
            json!(self.deployment["metadata"]["generation"].as_i64().unwrap() + 1);
    }

    fn history(&self) -> Vec<(i64, i64)> {
        let mut history: Vec<(i64, i64)> = self.sets.iter().map(|(set, _)| (set.revision(), set.replicas)).collect();
        history.sort();
        history
    }
}

#[test]
fn a_rolling_update_keeps_its_bounds_at_every_step() {
    for (replicas, surge, unavailable) in [
        (5, json!("25%"), json!("25%")),
        (5, json!(1), json!(0)),
        (5, json!(0), json!(1)),
        (4, json!(2), json!(2)),
        (10, json!("100%"), json!(0)),
        (1, json!("25%"), json!("25%")),
        (3, json!(0), json!("100%")),
    ] {
        for seed in 1..40 {
            let mut world = World::new(deployment(replicas, rolling(surge.clone(), unavailable.clone()), "a"), seed);
            world.settle(|_| {});
            let (most, least) = (world.wanted().most(), world.wanted().least());
            for image in ["b", "c", "a"] {
                world.roll_to(image);
                world.settle(|world| {
                    assert!(world.total() <= most, "{replicas} {surge} {unavailable} seed {seed}: {:?}", world.sets);
                    assert!(
                        world.available() >= least,
                        "{replicas} {surge} {unavailable} seed {seed}: {:?}",
                        world.sets
                    );
                });
            }
            assert_eq!(world.available(), replicas);
        }
    }
}

#[test]
fn a_rollout_that_changes_its_mind_keeps_its_bounds() {
    for seed in 1..60 {
        let mut world = World::new(deployment(6, rolling(json!(2), json!(1)), "a"), seed);
        world.settle(|_| {});
        for image in ["b", "c", "a", "d"] {
            world.roll_to(image);
            for _ in 0..30 {
                let index = world.draw(world.sets.len());
                match world.draw(3) {
                    0 => drop(world.decide()),
                    1 => world.keep(index),
                    _ => world.live(index, true, false),
                }
                assert!(world.total() <= 8 && world.available() >= 5, "seed {seed}: {:?}", world.sets);
            }
        }
        world.settle(|world| assert!(world.total() <= 8 && world.available() >= 5, "seed {seed}: {:?}", world.sets));
    }
}

#[test]
fn a_broken_image_stops_the_rollout_and_leaves_the_old_pods() {
    let mut world = World::new(deployment(4, rolling(json!(1), json!(1)), "a"), 7);
    world.settle(|_| {});
    world.roll_to("broken");
    let broken = |set: &Set| set.template["spec"]["containers"][0]["image"] == "broken";
    for _ in 0..3000 {
        let index = world.draw(world.sets.len());
        let healthy = !broken(&world.sets[index].0);
        match world.draw(3) {
            0 => drop(world.decide()),
            1 => world.keep(index),
            _ => world.live(index, healthy, false),
        }
        assert!(world.available() >= 3);
    }
    world.clock += 601;
    let step = world.decide();
    let progressing = conditions::find(&step.status, "Progressing").unwrap();
    assert_eq!((&progressing["status"], &progressing["reason"]), (&json!("False"), &json!("ProgressDeadlineExceeded")));
    world.roll_to("a");
    world.settle(|world| assert!(world.available() >= 3));
}

#[test]
fn recreate_ends_all_old_pods_before_the_first_new_one() {
    for seed in 1..40 {
        let mut world = World::new(deployment(3, json!({"type": "Recreate"}), "a"), seed);
        world.settle(|_| {});
        world.roll_to("b");
        world.settle(|world| {
            let kinds = world.sets.iter().filter(|(_, pods)| !pods.is_empty()).count();
            assert!(kinds <= 1, "seed {seed}: {:?}", world.sets);
        });
    }
}

#[test]
fn history_counts_revisions_rolls_back_and_is_cut() {
    let mut world = World::new(deployment(2, rolling(json!(1), json!(1)), "a"), 3);
    world.settle(|_| {});
    for image in ["b", "c"] {
        world.roll_to(image);
        world.settle(|_| {});
    }
    assert_eq!(world.history(), [(1, 0), (2, 0), (3, 2)]);
    world.roll_to("a");
    world.settle(|_| {});
    assert_eq!(world.history(), [(2, 0), (3, 0), (4, 2)]);
    assert_eq!(world.deployment["metadata"]["annotations"][REVISION], "4");
    world.roll_to("d");
    world.settle(|_| {});
    while world.decide() != world.decide() {}
    assert_eq!(world.history(), [(3, 0), (4, 0), (5, 2)]);
    assert!(world.sets.iter().all(|(set, _)| set.annotations["kubernetes.io/change-cause"] == "why"));
}

#[test]
fn a_settled_deployment_asks_for_nothing() {
    let mut world = World::new(deployment(3, rolling(json!("25%"), json!("25%")), "a"), 11);
    world.settle(|_| {});
    world.decide();
    world.clock += 10_000;
    let step = world.decide();
    assert_eq!(Step { status: world.deployment["status"].clone(), ..Step::default() }, step);
}

fn set(name: &str, replicas: i64, most: i64, created: i64) -> Set {
    let pairs = [(DESIRED, "10"), (MOST, &most.to_string())].map(|(key, text)| (key.to_owned(), text.to_owned()));
    Set {
        name: name.into(),
        created: (format!("{created:03}"), name.into()),
        replicas,
        alive: replicas,
        available: replicas,
        annotations: pairs.into(),
        status: json!({"replicas": replicas, "availableReplicas": replicas}),
        ..Set::default()
    }
}

/// Sizes after scaling: the new set first.
fn scaled(replicas: i64, surge: i64, new: Option<i64>, old: &[i64]) -> Vec<i64> {
    let wanted = Wanted { replicas, surge, ..Wanted::default() };
    let new = new.map(|size| set("new", size, 10 + surge, 99));
    let old: Vec<Set> = old
        .iter()
        .enumerate()
        .map(|(index, size)| set(&format!("old{index}"), *size, 10 + surge, index as i64))
        .collect();
    let steps = super::sizes::scale(&wanted, new.as_ref(), &old.iter().collect::<Vec<_>>());
    let size = |set: &Set| steps.iter().find(|step| step.name == set.name).map_or(set.replicas, |step| step.to);
    new.iter().chain(&old).map(size).collect()
}

#[test]
fn a_change_of_size_is_shared_in_proportion() {
    // Rows of upstream's `sync_test.go` in spirit: what is asked, the surge, the sizes before and after.
    type Row = (i64, i64, Option<i64>, &'static [i64], &'static [i64]);
    let rows: [Row; 9] = [
        (12, 0, Some(10), &[], &[12]),
        (5, 0, Some(10), &[], &[5]),
        (0, 0, None, &[0], &[0]),
        (8, 0, None, &[0, 0], &[0, 8]),
        (20, 0, Some(5), &[5], &[10, 10]),
        (0, 0, Some(5), &[5], &[0, 0]),
        (5, 0, Some(5), &[5], &[3, 2]),
        (6, 0, Some(5), &[3, 2], &[3, 2, 1]),
        (20, 0, Some(6), &[2, 2], &[12, 4, 4]),
    ];
    for (replicas, surge, new, old, expected) in rows {
        assert_eq!(scaled(replicas, surge, new, old), expected, "{replicas} of {new:?} {old:?}");
    }
}

#[test]
fn a_pause_stops_the_rollout_but_not_the_scaling() {
    let mut world = World::new(deployment(4, rolling(json!(1), json!(1)), "a"), 5);
    world.settle(|_| {});
    world.deployment["spec"]["paused"] = json!(true);
    world.roll_to("b");
    let step = world.decide();
    assert_eq!((step.create, step.resizes.iter().filter(|one| one.from != one.to).count()), (None, 0));
    assert_eq!(conditions::text(conditions::find(&step.status, "Progressing"), "reason"), "DeploymentPaused");
    world.deployment["spec"]["replicas"] = json!(6);
    let step = world.decide();
    assert_eq!(step.resizes.iter().map(|one| one.to).collect::<Vec<_>>(), [6]);
    world.deployment["spec"]["paused"] = json!(false);
    let step = world.decide();
    assert!(step.create.is_some());
    world.settle(|_| {});
}

#[test]
fn a_name_that_is_taken_draws_another() {
    let wanted = Wanted::of(&deployment(1, json!({}), "a"));
    let name = format!("web-{}", revision::hash(&wanted.template, None));
    let taken = HashSet::from([name]);
    let first = step(&Seen { wanted: &wanted, sets: &[], taken: &taken, old_pods: false, now: at(0) });
    assert_eq!((first.create, &first.status["collisionCount"], first.look_in), (None, &json!(1), Some(0)));
    let wanted = Wanted { status: first.status, ..wanted };
    let second = step(&Seen { wanted: &wanted, sets: &[], taken: &taken, old_pods: false, now: at(0) });
    assert!(second.create.is_some());
}

#[test]
fn the_status_tells_the_story_of_a_rollout() {
    let mut world = World::new(deployment(2, rolling(json!(1), json!(0)), "a"), 1);
    let reason = |step: &Step, kind: &str| conditions::text(conditions::find(&step.status, kind), "reason").to_owned();
    let made = world.decide();
    assert_eq!(
        (reason(&made, "Progressing"), reason(&made, "Available")),
        ("NewReplicaSetCreated".into(), "MinimumReplicasUnavailable".into())
    );
    (0..3).for_each(|_| world.keep(0));
    assert_eq!(reason(&world.decide(), "Progressing"), "ReplicaSetUpdated");
    world.sets[0].1.fill(Pod::Ready);
    world.keep(0);
    let done = world.decide();
    assert_eq!(
        (reason(&done, "Progressing"), reason(&done, "Available")),
        ("NewReplicaSetAvailable".into(), "MinimumReplicasAvailable".into())
    );
    assert_eq!(
        (&done.status["replicas"], &done.status["updatedReplicas"], &done.status["unavailableReplicas"]),
        (&json!(2), &json!(2), &json!(0))
    );
}
