//! How far long work has come.

use std::fmt::Display;
use std::time::{Duration, Instant};

use indicatif::{FormattedDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::note;

/// Least time between two lines when standard error is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// A bar on a terminal, plain lines elsewhere, on standard error. It goes away when it is dropped.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    unit: &'static str,
    length: usize,
    first: usize,
    started: Instant,
    last_line: Option<Instant>,
}

impl Progress {
    /// Of work that is `length` long, counted in `unit`s, and starts at 0 until told otherwise.
    pub fn new(unit: &'static str, length: usize) -> Self {
        let bar = ProgressBar::with_draw_target(Some(length as u64), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{bar:24} {pos}/{len}  {msg}").expect("the template is well-formed");
        bar.set_style(style);
        Self { bar, unit, length, first: 0, started: Instant::now(), last_line: None }
    }

    /// Counts the pace from `place` and from now on: what is ahead of it was done earlier.
    pub fn go_on_at(&mut self, place: usize) {
        (self.first, self.started) = (place, Instant::now());
        self.reach(place);
    }

    /// Where the count of the pace began.
    pub fn first(&self) -> usize {
        self.first
    }

    /// Shows that the work has come to `place`.
    pub fn reach(&self, place: usize) {
        self.bar.set_position(place as u64);
    }

    /// Shows a message beside the bar, or now and then as a line of its own.
    pub fn tell(&mut self, place: usize, message: String) {
        if self.bar.is_hidden() && self.last_line.is_none_or(|last| last.elapsed() >= LINE_EVERY) {
            self.last_line = Some(Instant::now());
            note(&format!("{} {place}/{}  {message}", self.unit, self.length));
        }
        self.bar.set_message(message);
    }

    /// Units a second so far, at `place`.
    pub fn rate(&self, place: usize) -> f64 {
        (place - self.first) as f64 / self.started.elapsed().as_secs_f64().max(1e-9)
    }

    /// Minutes and seconds from `place` to the end, if it goes on as it did so far: `1:05`.
    pub fn left(&self, place: usize) -> String {
        let left = (self.length - place) as f64 / self.rate(place).max(1e-9);
        format!("{}:{:02}", left as u64 / 60, left as u64 % 60)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A time in hours, minutes and seconds: `00:01:05`.
pub fn clock(time: Duration) -> impl Display {
    FormattedDuration(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_counted_from_where_the_work_went_on() {
        let mut progress = Progress::new("step", 100);
        progress.go_on_at(40);
        progress.started -= Duration::from_secs(10);
        progress.reach(50);
        progress.tell(50, "half".to_owned());
        assert!((progress.rate(50) - 1.0).abs() < 0.01);
        assert!(["0:50", "0:51"].contains(&progress.left(50).as_str()));
        assert_eq!(progress.left(100), "0:00");
    }

    #[test]
    fn times_read_well() {
        assert_eq!(clock(Duration::from_secs(3665)).to_string(), "01:01:05");
    }
}
