//! Cron jobs.
//!
//! Follows `pkg/apis/batch/v1/defaults.go`, `pkg/apis/batch/validation/validation.go` and
//! `pkg/registry/batch/cronjob/strategy.go`.

use serde_json::{Map, Value, json};

use super::job::spec_rules;
use super::{TEMPLATE_COLUMNS, containers, fill_template, selector};
use crate::columns::{AGE, Column, NAME, since};
use crate::defaulting::Default::{Flag, Number, Text};
use crate::defaulting::object;
use crate::kinds::Declaration;
use crate::validation::{Faults, names, text};

pub(in crate::kinds) static CRON_JOB: Declaration = Declaration {
    stored_only: true,
    short_names: &["cj"],
    categories: &["all"],
    status: true,
    generation: true,
    named: names::at_most_52,
    defaults: &[
        ("spec.concurrencyPolicy", Text("Allow")),
        ("spec.suspend", Flag(false)),
        ("spec.successfulJobsHistoryLimit", Number(3)),
        ("spec.failedJobsHistoryLimit", Number(1)),
    ],
    fill: Some(fill),
    rules: Some(rules),
    columns: &[
        NAME,
        Column::text("Schedule", "When jobs are made.").showing("spec.schedule"),
        Column::text("Timezone", "The time zone of the schedule.").showing_or("spec.timeZone", "<none>"),
        Column::boolean("Suspend", "Whether no more jobs are made.").flag("spec.suspend"),
        Column::integer("Active", "How many of its jobs are running.").counting("status.active"),
        Column::text("Last Schedule", "Time since the last job was made.").made(|object, now| {
            let last = &object["status"]["lastScheduleTime"];
            json!(if last.is_string() { since(last, now) } else { "<none>".into() })
        }),
        AGE,
        TEMPLATE_COLUMNS[0]
            .made(|object, _| json!(containers(&object["spec"]["jobTemplate"]["spec"]["template"], "name"))),
        TEMPLATE_COLUMNS[1]
            .made(|object, _| json!(containers(&object["spec"]["jobTemplate"]["spec"]["template"], "image"))),
        TEMPLATE_COLUMNS[2].made(|object, _| {
            let selector = selector(&object["spec"]["jobTemplate"]["spec"]["selector"]);
            json!(if selector.is_empty() { "<none>".into() } else { selector })
        }),
    ],
    ..Declaration::plain("batch", "v1", "CronJob", "cronjobs")
};

/// The job inside of a cron job has the defaults of its pods, not of jobs: those come when it is made.
fn fill(map: &mut Map<String, Value>) {
    let job = object(map.get_mut("spec")).and_then(|spec| object(spec.get_mut("jobTemplate")));
    if let Some(spec) = job.and_then(|job| object(job.get_mut("spec"))) {
        fill_template(spec, "template");
    }
}

fn rules(faults: &mut Faults, value: &Value) {
    let spec = &value["spec"];
    let schedule = text(spec, "schedule");
    if faults.needs("spec.schedule", &spec["schedule"]) {
        if schedule.contains("TZ") {
            let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
            faults.invalid("spec.schedule", &spec["schedule"], detail);
        } else if let Err(reason) = schedule_parses(schedule) {
            faults.invalid("spec.schedule", &spec["schedule"], reason);
        }
    }
    faults.not_negative("spec.startingDeadlineSeconds", &spec["startingDeadlineSeconds"]);
    faults.supported("spec.concurrencyPolicy", &spec["concurrencyPolicy"], &["Allow", "Forbid", "Replace"]);
    faults.not_negative("spec.successfulJobsHistoryLimit", &spec["successfulJobsHistoryLimit"]);
    faults.not_negative("spec.failedJobsHistoryLimit", &spec["failedJobsHistoryLimit"]);
    // Which zones there are is for the controller to find out; what is no name of one is refused here.
    let zoned = |zone: &str| {
        !zone.is_empty() && zone.chars().all(|letter| letter.is_ascii_alphanumeric() || "/_+-".contains(letter))
    };
    if spec["timeZone"].as_str().is_some_and(|zone| !zoned(zone)) {
        faults.invalid("spec.timeZone", &spec["timeZone"], "unknown time zone");
    }
    let job = &spec["jobTemplate"]["spec"];
    spec_rules(faults, "spec.jobTemplate.spec", job);
    if job["manualSelector"] == true {
        let supported = "`manualSelector` is not supported for the jobs of a cron job";
        faults.invalid("spec.jobTemplate.spec.manualSelector", &json!(true), supported);
    }
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Whether a schedule is one of cron's, in five fields or by one of its names.
fn schedule_parses(schedule: &str) -> Result<(), String> {
    if let Some(every) = schedule.strip_prefix("@every ") {
        return span_parses(every).then_some(()).ok_or_else(|| format!("failed to parse duration {schedule}"));
    }
    if schedule.starts_with('@') {
        let known = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];
        return known.contains(&schedule).then_some(()).ok_or_else(|| format!("unrecognized descriptor: {schedule}"));
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != 5 {
        return Err(format!("expected exactly 5 fields, found {}: {fields:?}", fields.len()));
    }
    let bounds: [(u32, u32, &[&str]); 5] = [(0, 59, &[]), (0, 23, &[]), (1, 31, &[]), (1, 12, &MONTHS), (0, 6, &DAYS)];
    fields.iter().zip(bounds).try_for_each(|(field, (least, most, words))| {
        field.split(',').try_for_each(|part| part_parses(part, least, most, words))
    })
}

/// One part of a field: `*`, `3`, `1-5`, each with `/2` or without.
fn part_parses(part: &str, least: u32, most: u32, words: &[&str]) -> Result<(), String> {
    let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
    if let Some(step) = step
        && !step.parse::<u32>().is_ok_and(|step| step > 0)
    {
        return Err(format!("step of range should be a positive number: {part}"));
    }
    if matches!(range, "*" | "?") {
        return Ok(());
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let number = |text: &str| {
        let word = words.iter().position(|word| word.eq_ignore_ascii_case(text)).and_then(|at| u32::try_from(at).ok());
        word.map(|at| at + least)
            .or_else(|| text.parse::<u32>().ok())
            .ok_or_else(|| format!("failed to parse int from {text}"))
    };
    let (first, last) = (number(first)?, number(last)?);
    if first < least {
        return Err(format!("beginning of range ({first}) below minimum ({least}): {part}"));
    }
    if last > most {
        return Err(format!("end of range ({last}) above maximum ({most}): {part}"));
    }
    if first > last {
        return Err(format!("beginning of range ({first}) beyond end of range ({last}): {part}"));
    }
    Ok(())
}

/// `1h30m`, `90s`.
fn span_parses(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
        let unit = ["ns", "us", "ms", "h", "m", "s"].into_iter().find(|unit| digits.starts_with(unit));
        match unit {
            Some(unit) if digits.len() < rest.len() => rest = &digits[unit.len()..],
            _ => return false,
        }
    }
    !text.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_cron() {
        for good in ["* * * * *", "*/5 0-6 1,15 JAN-mar mon", "0 0 ? * 6", "@hourly", "@every 1h30m"] {
            assert_eq!(schedule_parses(good), Ok(()), "{good}");
        }
        for bad in
            ["", "* * * *", "60 * * * *", "* * 0 * *", "5-1 * * * *", "*/0 * * * *", "a * * * *", "@never", "@every x"]
        {
            assert!(schedule_parses(bad).is_err(), "{bad}");
        }
    }
}
