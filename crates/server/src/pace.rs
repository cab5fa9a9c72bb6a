//! How fast a training goes, from what was seen of it.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

/// How far back the pace is taken from, so that measurements between the steps count as they come.
const WINDOW: Duration = Duration::from_secs(600);

/// Steps, and when they were reached, the oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace(VecDeque<(usize, SystemTime)>);

impl Pace {
    /// Notes that `step` was reached. A training that went back starts anew.
    pub(crate) fn reach(&mut self, step: usize, at: SystemTime) {
        match self.0.back() {
            Some(&(last, _)) if step == last => return,
            Some(&(last, _)) if step < last => self.0.clear(),
            _ => {}
        }
        self.0.push_back((step, at));
        let is_old = |(_, then): &(usize, SystemTime)| at.duration_since(*then).is_ok_and(|ago| ago > WINDOW);
        while self.0.len() > 2 && self.0.front().is_some_and(is_old) {
            self.0.pop_front();
        }
    }

    /// When the step `last` will be reached if it goes on so; none as long as one step alone was seen.
    pub(crate) fn end(&self, last: usize) -> Option<SystemTime> {
        let (&(first, began), &(now, at)) = (self.0.front()?, self.0.back()?);
        let took = at.duration_since(began).ok().filter(|took| !took.is_zero())?;
        let left = last.saturating_sub(now) as f64 / (now - first) as f64;
        at.checked_add(Duration::try_from_secs_f64(took.as_secs_f64() * left).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_end_is_where_the_steps_of_the_last_minutes_lead() {
        let mut pace = Pace::default();
        assert_eq!(pace.end(100), None);
        pace.reach(10, at(0));
        assert_eq!(pace.end(100), None, "one step says nothing of the pace");
        pace.reach(20, at(100));
        pace.reach(20, at(150));
        assert_eq!(pace.end(100), Some(at(900)));
        pace.reach(30, at(700));
        pace.reach(40, at(800));
        assert_eq!(pace.end(100), Some(at(800 + 600)), "what is older than ten minutes does not count");
        assert_eq!(pace.end(20), Some(at(800)));
    }

    #[test]
    fn a_training_that_went_back_to_a_checkpoint_has_no_pace_yet() {
        let mut pace = Pace::default();
        pace.reach(10, at(0));
        pace.reach(20, at(10));
        pace.reach(12, at(20));
        assert_eq!(pace.end(100), None);
    }
}
