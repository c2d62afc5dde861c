//! Of which families a Service's addresses are: what it says, and what follows from what it does not say.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{Family, Pool, addresses};
use crate::Cause;
use crate::columns::list;
use crate::lifecycle::ensure_map;
use crate::validation::{invalid, is_empty, text};

/// The families that a Service names, in its order.
pub(super) fn of(spec: &Value) -> Vec<Family> {
    let family = |value: &Value| match value.as_str() {
        Some("IPv6") => Family::V6,
        _ => Family::V4,
    };
    list(&spec["ipFamilies"]).iter().map(family).collect()
}

/// Fills in `ipFamilies` and `ipFamilyPolicy`, and takes away the second address of a Service that gives it up.
pub(super) fn settle(old: Option<&Value>, new: &mut Value, pool: &Pool<'_>) -> Result<(), Vec<Cause>> {
    let before = old.map(|old| &old["spec"]).filter(|spec| !is_empty(&spec["ipFamilyPolicy"]));
    let old_policy = before.map(|spec| text(spec, "ipFamilyPolicy"));
    let policy = match text(&new["spec"], "ipFamilyPolicy") {
        "" => old_policy.unwrap_or("SingleStack"),
        given => given,
    }
    .to_owned();
    let single = policy == "SingleStack";
    let spec = ensure_map(new, "spec");
    spec.insert("ipFamilyPolicy".into(), json!(policy));
    if let Some(before) = before.filter(|_| single && old_policy != Some("SingleStack")) {
        for field in ["clusterIPs", "ipFamilies"] {
            // What the client has changed itself is judged as it stands.
            if spec.get(field) == before.get(field)
                && let Some(all) = spec.get_mut(field).and_then(Value::as_array_mut)
            {
                all.truncate(1);
            }
        }
    }
    let spec = &new["spec"];
    let headless = spec["clusterIP"] == "None";
    let (mut families, given) = (of(spec), addresses(spec));
    let mut causes = Vec::new();
    if single {
        for (field, several) in [("clusterIPs", given.len() > 1), ("ipFamilies", families.len() > 1)] {
            if several {
                let why = format!("must be RequireDualStack or PreferDualStack when multiple {field} are specified");
                causes.push(invalid("spec.ipFamilyPolicy", &json!(policy), why));
            }
        }
    }
    let has = |family: Family| pool.ranges.iter().any(|range| range.family() == family);
    for (index, address) in given.iter().enumerate() {
        let Some(family) = address.parse::<IpAddr>().ok().map(Family::of) else { continue };
        let field = format!("spec.clusterIPs[{index}]");
        match families.get(index) {
            Some(named) if *named != family => {
                let why = format!("expected an {} value as indicated by `ipFamilies[{index}]`", named.as_str());
                causes.push(invalid(&field, &json!(address), why));
            }
            Some(_) => {}
            None if !has(family) => {
                let why = format!("{} is not configured on this cluster", family.as_str());
                causes.push(invalid(&field, &json!(given), why));
            }
            None => families.push(family),
        }
    }
    if let [first, second] = families[..]
        && first == second
        && given.len() == 2
    {
        let why = "may specify no more than one IP for each IP family";
        causes.push(invalid("spec.clusterIPs", &json!(given), why));
    }
    // The endpoints of a headless service without selector are somebody else's: they may be of any family.
    let foreign = headless && is_empty(&spec["selector"]);
    if !foreign {
        if policy == "RequireDualStack" && !(has(Family::V4) && has(Family::V6)) {
            let why = "this cluster is not configured for dual-stack services";
            causes.push(invalid("spec.ipFamilyPolicy", &json!(policy), why));
        }
        for (index, family) in families.iter().enumerate().filter(|(_, family)| !has(**family)) {
            let field = format!("spec.ipFamilies[{index}]");
            causes.push(invalid(&field, &json!(family.as_str()), "not configured on this cluster"));
        }
    }
    if !causes.is_empty() {
        return Err(causes);
    }
    if families.is_empty() {
        families.push(pool.ranges.first().map_or(Family::V4, |range| range.family()));
    }
    if let [first] = families[..]
        && !single
    {
        let other = if first == Family::V4 { Family::V6 } else { Family::V4 };
        // What only prefers two families is not changed by a cluster that learns a second one, but by its user.
        let asked = old_policy != Some("PreferDualStack") || policy != "PreferDualStack";
        if foreign || has(other) && asked {
            families.push(other);
        }
    }
    let named: Vec<&str> = families.into_iter().map(Family::as_str).collect();
    ensure_map(new, "spec").insert("ipFamilies".into(), json!(named));
    Ok(())
}
