//! What holds for all rules, tried with random ones against a model that tries every request there could be.

use std::collections::BTreeMap;

use objects::Key;
use serde_json::{Value, json};

use crate::{Attributes, Index, PolicyKind, Rule, Target, User, cover};

/// A small generator of random numbers (xorshift), so that a seed repeats a run.
struct Random(u64);

impl Random {
    fn seeded(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    /// Up to `most` words, each at most once.
    fn words(&mut self, from: &[&str], most: u64) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        for _ in 0..self.below(most + 1) {
            let word = from[self.below(from.len() as u64) as usize].to_owned();
            if !words.contains(&word) {
                words.push(word);
            }
        }
        words
    }
}

const VERBS: [&str; 3] = ["get", "put", "*"];
const GROUPS: [&str; 3] = ["", "apps", "*"];
const RESOURCES: [&str; 6] = ["pods", "pods/log", "jobs", "jobs/log", "*/log", "*"];
const NAMES: [&str; 3] = ["a", "b", "*"];
const URLS: [&str; 7] = ["/a", "/a/", "/a*", "/a/*", "/b*", "*", "/a/**"];

/// A rule as validation lets it through, or nearly: lists may be empty.
fn some_rule(random: &mut Random) -> Rule {
    let verbs = random.words(&VERBS, 2);
    if random.below(4) == 0 {
        return Rule { verbs, non_resource_urls: random.words(&URLS, 2), ..Rule::default() };
    }
    let resource_names = if random.below(2) == 0 { Vec::new() } else { random.words(&NAMES, 2) };
    Rule {
        verbs,
        api_groups: random.words(&GROUPS, 2),
        resources: random.words(&RESOURCES, 3),
        resource_names,
        non_resource_urls: Vec::new(),
    }
}

fn some_rules(random: &mut Random, most: u64) -> Vec<Rule> {
    (0..random.below(most + 1)).map(|_| some_rule(random)).collect()
}

/// Every request that could tell two rules apart: all words that rules are made of, and one more of each sort, which
/// only a wildcard allows.
fn all_requests() -> Vec<Attributes<'static>> {
    let mut all = Vec::new();
    for verb in ["get", "put", "new"] {
        for group in ["", "apps", "new"] {
            for resource in ["pods", "jobs", "new"] {
                for subresource in ["", "log", "new"] {
                    for name in ["", "a", "b", "*", "new"] {
                        let target = Target::Resource { group, resource, subresource, namespace: "", name };
                        all.push(Attributes { verb, target });
                    }
                }
            }
        }
        for path in ["/a", "/a/", "/anew", "/a/new", "/b", "/bnew", "/new", "new"] {
            all.push(Attributes { verb, target: Target::Path(path) });
        }
    }
    all
}

fn allow(rules: &[Rule], wanted: &Attributes<'_>) -> bool {
    rules.iter().any(|rule| rule.allows(wanted))
}

#[test]
fn parts_allow_what_the_rule_allows() {
    let requests = all_requests();
    for seed in 1..=400 {
        let rule = some_rule(&mut Random::seeded(seed));
        let parts = cover::breakdown(&rule);
        for wanted in &requests {
            assert_eq!(allow(&parts, wanted), rule.allows(wanted), "seed {seed}: {rule} {wanted:?}");
        }
    }
}

#[test]
fn the_cover_check_is_the_models() {
    let requests = all_requests();
    let mut outcomes = [0, 0];
    for seed in 1..=1500 {
        let mut random = Random::seeded(seed);
        let (held, asked) = (some_rules(&mut random, 4), some_rules(&mut random, 2));
        let missing = cover::uncovered(&held, &asked);
        // A part is covered if one rule allows all that the part allows.
        let expected: Vec<Rule> = asked
            .iter()
            .flat_map(cover::breakdown)
            .filter(|part| {
                let of_part: Vec<_> = requests.iter().filter(|wanted| part.allows(wanted)).collect();
                !held.iter().any(|own| of_part.iter().all(|wanted| own.allows(wanted)))
            })
            .collect();
        assert_eq!(missing, expected, "seed {seed}: {held:?} / {asked:?}");
        outcomes[usize::from(missing.is_empty())] += 1;
        // And what has nothing missing really gives nothing away.
        if missing.is_empty() {
            for wanted in requests.iter().filter(|wanted| allow(&asked, wanted)) {
                assert!(allow(&held, wanted), "seed {seed}: {wanted:?} of {asked:?} is not in {held:?}");
            }
        }
        // Whoever is given what is missing may give it all; and merging loses nothing.
        let compacted = cover::compact(&missing);
        let mut more = held.clone();
        more.extend(compacted.iter().cloned());
        assert_eq!(cover::uncovered(&more, &asked), [], "seed {seed}");
        for wanted in &requests {
            assert_eq!(allow(&compacted, wanted), allow(&missing, wanted), "seed {seed}: {wanted:?}");
        }
    }
    assert!(outcomes.iter().all(|count| *count > 100), "only one outcome is tried: {outcomes:?}");
}

/// A subject of a binding: more often than not one of those that are asked about.
fn some_subject(random: &mut Random, users: &[&str]) -> Value {
    let mut pick = |from: &[&str]| from[random.below(from.len() as u64) as usize].to_owned();
    match pick(&["Group", "User", "Own", "Other"]).as_str() {
        "Group" => json!({"kind": "Group", "name": pick(&["g0", "g1", "g2"])}),
        "User" => json!({"kind": "User", "name": pick(users)}),
        "Own" => json!({"kind": "ServiceAccount", "name": "s"}),
        _ => json!({"kind": "ServiceAccount", "name": "s", "namespace": pick(&["n0", "n1"])}),
    }
}

/// Whether the index, fed change by change, answers as a walk over all bindings does.
#[test]
fn the_index_answers_as_a_walk_over_all_bindings() {
    let groups = ["g0".to_owned(), "g1".to_owned()];
    let users = ["u0", "u1", "system:serviceaccount:n0:s", "system:serviceaccount:n1:s"];
    let names = ["x", "y", "z"];
    for seed in 1..=300 {
        let mut random = Random::seeded(seed);
        let mut index = Index::default();
        let mut model: BTreeMap<Key, Value> = Default::default();
        for _ in 0..25 {
            let kind = PolicyKind::ALL[random.below(4) as usize];
            let namespace = if kind.is_namespaced() { ["n0", "n1"][random.below(2) as usize] } else { "" };
            let key = Key::new(kind.resource(), namespace, names[random.below(3) as usize]);
            if random.below(4) == 0 {
                index.remove(&key);
                model.remove(&key);
                continue;
            }
            let value = if kind.is_binding() {
                let subjects: Vec<_> = (0..random.below(3)).map(|_| some_subject(&mut random, &users)).collect();
                let role_kind = ["Role", "ClusterRole"][random.below(2) as usize];
                json!({"roleRef": {"kind": role_kind, "name": names[random.below(3) as usize]}, "subjects": subjects})
            } else {
                let resource = names[random.below(3) as usize];
                json!({"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": [resource]}]})
            };
            index.insert(&key, &value).unwrap();
            model.insert(key, value);
        }
        for user in users {
            for groups in [&groups[..], &groups[..1], &[]] {
                for namespace in ["", "n0", "n1", "n2"] {
                    for resource in names {
                        let target = Target::Resource { group: "", resource, subresource: "", namespace, name: "o" };
                        let user = User { name: user, groups };
                        let found = index.authorize(&user, &Attributes { verb: "get", target });
                        let expected = walk(&model, &user, namespace, resource);
                        assert_eq!(
                            found.is_allowed(),
                            expected,
                            "seed {seed}: {user:?} {namespace} {resource} {model:#?}"
                        );
                    }
                }
            }
        }
    }
}

/// The answer by a walk over everything there is.
fn walk(model: &BTreeMap<Key, Value>, user: &User<'_>, namespace: &str, resource: &str) -> bool {
    model.iter().any(|(key, binding)| {
        let kind = PolicyKind::of_resource(&key.resource).expect("a kind of policy");
        let is_here = kind.is_binding() && (key.namespace.is_empty() || *key.namespace == *namespace);
        let means = binding["subjects"].as_array().into_iter().flatten().any(|subject| {
            let name = subject["name"].as_str().unwrap_or("");
            match subject["kind"].as_str() {
                Some("User") => name == user.name,
                Some("Group") => user.is_in(name),
                _ => {
                    let home = subject["namespace"].as_str().unwrap_or(&key.namespace);
                    !home.is_empty() && user.name == format!("system:serviceaccount:{home}:{name}")
                }
            }
        });
        let role = if binding["roleRef"]["kind"] == "Role" {
            Key::new(PolicyKind::Role.resource(), &key.namespace, binding["roleRef"]["name"].as_str().unwrap_or(""))
        } else {
            Key::new(PolicyKind::ClusterRole.resource(), "", binding["roleRef"]["name"].as_str().unwrap_or(""))
        };
        let gives = model.get(&role).is_some_and(|role| role["rules"][0]["resources"][0] == resource);
        is_here && means && gives
    })
}
