//! The small language that simulated containers understand. Pure: what a program does follows from its words alone.
//!
//! The words are the container's command and arguments. `sh -c SCRIPT` (also `/bin/sh`, `ash`, `bash`) holds several
//! statements, split at `;`, `&&` and line ends; any other command is one statement. `$NAME` is replaced from the
//! environment.
//!
//! | statement | meaning |
//! |---|---|
//! | `echo WORDS` | prints a line; with `>&2` at its end on standard error |
//! | `sleep N`, `sleep Nms`, `sleep infinity` | waits so many seconds (fractions are fine) or milliseconds |
//! | `exit N`, `true`, `false` | ends with that code (`true` and `false` only as the last statement) |
//! | `trap 'exit N' TERM` | a stop ends it with code N instead of 143 |
//! | `trap '' TERM` | a stop has no effect until the grace period is over; it is then killed (137) |
//! | `tail /dev/zero` | uses up its memory: killed (137, out of memory) if there is a memory limit, else runs on |
//! | `cat` | copies standard input to standard output, until that ends |
//! | `hostname` | prints the sandbox's host name |
//! | `listen N` | a server whose port N, by [`Runtime::dial`](crate::Runtime::dial), sends back what it gets |
//! | `web N` | the same, but it speaks HTTP: see the module `web` |
//! | a path below `/nonexistent` | cannot be started |
//! | anything else | is taken for a server: it runs until it is stopped |

use crate::Source;
use crate::limits::SIM_STEPS_MAX;
use std::time::Duration;

/// What a program does, step by step.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Program {
    pub steps: Vec<Step>,
    pub on_term: OnTerm,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    Print {
        source: Source,
        line: String,
    },
    Sleep(Duration),
    Exit(i32),
    OutOfMemory,
    /// Copies its input; runs on where there is none.
    Copy,
    /// Runs until it is stopped; the words are those of the unknown command.
    Serve(String),
}

/// What a request to stop does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnTerm {
    Exit(i32),
    Ignore,
}

/// What surrounds a program.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub hostname: &'a str,
    pub env: &'a [crate::EnvVar],
    pub has_memory_limit: bool,
}

/// What a program does over time, if nobody interferes.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Course {
    /// Lines with the time since the start at which they are printed.
    pub lines: Vec<(Duration, Source, String)>,
    /// When and how it ends by itself.
    pub end: Option<CourseEnd>,
    /// Whether it waits for its input.
    pub copies: bool,
    /// The port that it listens on.
    pub listens: Option<Port>,
}

/// A port that a program listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Port {
    /// Since the start.
    pub at: Duration,
    pub number: u16,
    /// Whether HTTP is spoken there; else it sends back what it gets.
    pub http: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CourseEnd {
    pub at: Duration,
    pub code: i32,
    pub oom_killed: bool,
}

/// Reads a program; the error says why it cannot be started.
pub(super) fn parse(words: &[String], surroundings: Surroundings<'_>) -> Result<Program, String> {
    let mut program = Program { steps: Vec::new(), on_term: OnTerm::Exit(143) };
    let Some(first) = words.first() else {
        program.steps.push(Step::Serve("the image's own program".to_owned()));
        return Ok(program);
    };
    if first.starts_with("/nonexistent") {
        return Err(format!("exec: \"{first}\": no such file or directory (simulated)"));
    }
    let shell = first.rsplit('/').next().is_some_and(|name| matches!(name, "sh" | "ash" | "bash"));
    if shell && words.get(1).is_some_and(|flag| flag == "-c") {
        let script = words.get(2).map(String::as_str).unwrap_or_default();
        for statement in script.split([';', '\n']).flat_map(|part| part.split("&&")) {
            let words: Vec<String> = split_words(statement);
            statement_into(&mut program, &words, surroundings);
        }
    } else {
        statement_into(&mut program, words, surroundings);
    }
    program.steps.truncate(SIM_STEPS_MAX);
    Ok(program)
}

impl Program {
    /// Plays the program through.
    pub fn course(&self) -> Course {
        let mut course = Course::default();
        let mut at = Duration::ZERO;
        let end = |at, code, oom_killed| Some(CourseEnd { at, code, oom_killed });
        for (index, step) in self.steps.iter().enumerate() {
            match step {
                Step::Print { source, line } => course.lines.push((at, *source, line.clone())),
                Step::Sleep(duration) => at = at.saturating_add(*duration),
                // Only the last of several `true` and `false` decides, as in a shell without `set -e`.
                Step::Exit(code) if *code >= 0 || index + 1 == self.steps.len() => {
                    course.end = end(at, code.abs() & 0xff, false);
                    return course;
                }
                Step::Exit(_) => {}
                Step::OutOfMemory => {
                    course.end = end(at, 137, true);
                    return course;
                }
                Step::Copy => {
                    course.copies = true;
                    return course;
                }
                Step::Serve(words) => {
                    let port = |name, http| {
                        let number = words.strip_prefix(name)?.trim().parse().ok()?;
                        Some(Port { at, number, http })
                    };
                    course.listens = port("listen ", false).or_else(|| port("web ", true));
                    return course;
                }
            }
            if at == Duration::MAX {
                return course;
            }
        }
        course.end = end(at, 0, false);
        course
    }
}

fn statement_into(program: &mut Program, words: &[String], surroundings: Surroundings<'_>) {
    let words: Vec<String> = words
        .iter()
        .filter(|word| !matches!(word.as_str(), "&" | "wait" | "exec"))
        .map(|word| expand(word, surroundings.env))
        .collect();
    let Some(command) = words.first() else { return };
    let rest = &words[1..];
    let argument = rest.first().map(String::as_str).unwrap_or_default();
    let step = match command.rsplit('/').next().unwrap_or_default() {
        "echo" => echo(rest),
        "hostname" => Step::Print { source: Source::Stdout, line: surroundings.hostname.to_owned() },
        "sleep" => Step::Sleep(duration(argument)),
        "exit" => Step::Exit(argument.parse().unwrap_or(0) & 0xff),
        "true" | ":" => return,
        // Negative: only counts as the last statement.
        "false" => Step::Exit(-1),
        "cat" if rest.is_empty() => Step::Copy,
        "tail" if argument == "/dev/zero" && surroundings.has_memory_limit => Step::OutOfMemory,
        "trap" => {
            program.on_term = match argument.strip_prefix("exit") {
                Some(code) => OnTerm::Exit(code.trim().parse().unwrap_or(0)),
                None => OnTerm::Ignore,
            };
            return;
        }
        _ => Step::Serve(words.join(" ")),
    };
    program.steps.push(step);
}

fn echo(words: &[String]) -> Step {
    let (words, source) = match words.split_last() {
        Some((last, words)) if last == ">&2" => (words, Source::Stderr),
        _ => (words, Source::Stdout),
    };
    Step::Print { source, line: words.join(" ") }
}

/// `infinity` and everything unreadable waits for ever, so that a mistake does not look like a crash.
fn duration(text: &str) -> Duration {
    let (number, unit) = text.strip_suffix("ms").map_or((text, 1.0), |number| (number, 1000.0));
    let seconds = number.parse::<f64>().map_or(f64::INFINITY, |number| number / unit);
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// Splits at spaces outside of quotes. Both kinds of quotes are the same here.
fn split_words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut started) = (Vec::new(), String::new(), None, false);
    for c in text.chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('\'' | '"', None) => (quote, started) = (Some(c), true),
            (' ' | '\t', None) => {
                if started {
                    words.push(std::mem::take(&mut word));
                }
                started = false;
            }
            (c, _) => {
                word.push(c);
                started = true;
            }
        }
    }
    if started {
        words.push(word);
    }
    words
}

fn expand(word: &str, env: &[crate::EnvVar]) -> String {
    let Some((before, after)) = word.split_once('$') else { return word.to_owned() };
    let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
    let (name, rest) = after.split_at(end);
    let value = env.iter().rev().find(|var| var.name == name).map(|var| var.value.as_str());
    format!("{before}{}{}", value.unwrap_or_default(), expand(rest, env))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EnvVar;

    fn course(words: &[&str]) -> Course {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let env = [EnvVar::new("WHO", "world")];
        let surroundings = Surroundings { hostname: "pod-1", env: &env, has_memory_limit: true };
        parse(&words, surroundings).unwrap().course()
    }

    fn end(words: &[&str]) -> Option<(u64, i32, bool)> {
        course(words).end.map(|end| (end.at.as_millis() as u64, end.code, end.oom_killed))
    }

    #[test]
    fn programs_end_as_their_words_say() {
        assert_eq!(end(&["true"]), Some((0, 0, false)));
        assert_eq!(end(&["/bin/false"]), Some((0, 1, false)));
        assert_eq!(end(&["exit", "300"]), Some((0, 44, false)));
        assert_eq!(end(&["sleep", "2"]), Some((2000, 0, false)));
        assert_eq!(end(&["sleep", "50ms"]), Some((50, 0, false)));
        assert_eq!(end(&["sleep", "infinity"]), None);
        assert_eq!(end(&["nginx", "-g", "daemon off;"]), None);
        assert_eq!(end(&[]), None);
        assert_eq!(end(&["cat"]), None);
        assert_eq!(end(&["tail", "/dev/zero"]), Some((0, 137, true)));
        assert_eq!(end(&["sh", "-c", "sleep 1; false; sleep 0.5 && exit 3; echo no"]), Some((1500, 3, false)));
        assert_eq!(end(&["sh", "-c", "trap 'exit 5' TERM; sleep 1000 & wait"]), Some((1_000_000, 0, false)));
    }

    #[test]
    fn a_port_is_open_from_its_time_on() {
        let port = |words: &[&str]| course(words).listens.map(|port| (port.at.as_secs(), port.number, port.http));
        assert_eq!(port(&["listen", "80"]), Some((0, 80, false)));
        assert_eq!(port(&["sh", "-c", "sleep 2; exec web 7"]), Some((2, 7, true)));
        for words in [&["listen", "70000"], &["listen", "x"], &["serve", "80"]] {
            assert_eq!(port(words), None, "{words:?}");
        }
    }

    #[test]
    fn lines_come_at_their_time_and_place() {
        let course = course(&["/bin/sh", "-c", "echo hello  $WHO; sleep 1; echo 'a  b' >&2; hostname"]);
        let lines: Vec<(u64, Source, &str)> =
            course.lines.iter().map(|(at, source, line)| (at.as_secs(), *source, line.as_str())).collect();
        let expected = [(0, Source::Stdout, "hello world"), (1, Source::Stderr, "a  b"), (1, Source::Stdout, "pod-1")];
        assert_eq!(lines, expected);
    }

    #[test]
    fn stops_do_what_the_trap_says() {
        let surroundings = Surroundings { hostname: "", env: &[], has_memory_limit: false };
        let on_term = |script: &str| {
            let words = ["sh", "-c", script].map(str::to_owned);
            parse(&words, surroundings).unwrap().on_term
        };
        assert_eq!(on_term("sleep 9"), OnTerm::Exit(143));
        assert_eq!(on_term("trap 'exit 5' TERM; sleep 9 & wait"), OnTerm::Exit(5));
        assert_eq!(on_term("trap '' TERM; sleep 9"), OnTerm::Ignore);
        assert!(parse(&["/nonexistent/x".to_owned()], surroundings).is_err());
    }
}
