//! Phases with their times, as they happen: redrawn in place on a terminal, one line each elsewhere.

use std::io::{IsTerminal, Write};
use std::time::Instant;

/// Shows the phases of one command on stderr, so that stdout stays for results.
pub struct Progress {
    terminal: bool,
    began: Instant,
    phase: Option<(String, Instant)>,
}

impl Progress {
    /// Starts the clock.
    pub fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), began: Instant::now(), phase: None }
    }

    /// A phase begins; the one before it is done.
    pub fn begin(&mut self, what: &str) {
        self.done();
        self.phase = Some((what.to_owned(), Instant::now()));
        self.show(what, "");
    }

    /// News within a phase, as `2 of 3`.
    pub fn news(&self, news: &str) {
        if let Some((what, _)) = &self.phase
            && self.terminal
        {
            self.show(what, news);
        }
    }

    /// The phase is done.
    pub fn done(&mut self) {
        if let Some((what, since)) = self.phase.take() {
            let took = since.elapsed().as_secs_f64();
            if self.terminal {
                eprint!("\r\x1b[K");
            }
            eprintln!("  ✓ {what:<46} {took:>5.1} s");
        }
    }

    /// A line that stays, as a warning.
    pub fn note(&mut self, text: &str) {
        if self.terminal && self.phase.is_some() {
            eprint!("\r\x1b[K");
        }
        eprintln!("  ! {text}");
    }

    /// Seconds since the command began.
    pub fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    fn show(&self, what: &str, news: &str) {
        if self.terminal {
            eprint!("\r\x1b[K  … {what} {news}");
            // A terminal that cannot be flushed shows the line a little later.
            let _ = std::io::stderr().flush();
        }
    }
}
