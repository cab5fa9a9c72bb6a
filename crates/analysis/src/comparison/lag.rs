//! When a quantity has gone a part of its way, and when something begins to hold for good.

/// Where a curve passes a level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Crossing {
    /// The step, linearly interpolated between the checkpoints on either side.
    pub step: f64,
    /// Steps between these two.
    pub gap: f64,
}

/// Where a curve of (step, value) first has gone the part `share` of the way from the value `from` to its last one.
///
/// None when it starts behind that level, or does not go anywhere.
pub fn crossing(curve: &[(f64, f64)], from: f64, share: f64) -> Option<Crossing> {
    let way = curve.last()?.1 - from;
    let gone = |value: f64| (value - from) / way;
    let pair = curve.windows(2).find(|pair| gone(pair[1].1) >= share)?;
    let [(before, value), (after, next)] = [pair[0], pair[1]];
    let (there, reached) = (gone(value), gone(next));
    if !(there.is_finite() && there < share) {
        return None;
    }
    let gap = after - before;
    Some(Crossing { step: before + gap * (share - there) / (reached - there), gap })
}

/// Where something begins to hold for good, from whether it does at every step: midway between the last step at which it
/// does not and the next. None where it always holds, or not at the end.
pub(super) fn for_good(holds: &[(usize, bool)]) -> Option<Crossing> {
    let pair = holds.windows(2).rfind(|pair| !pair[0].1)?;
    let [before, after] = [pair[0].0 as f64, pair[1].0 as f64];
    holds.last()?.1.then_some(Crossing { step: f64::midpoint(before, after), gap: after - before })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_way_is_interpolated_up_and_down() {
        let up = [(0.0, 0.5), (10.0, 0.5), (20.0, 0.6), (40.0, 0.8), (50.0, 0.9)];
        // The half of 0.5 … 0.9 is 0.7, midway between the checkpoints 20 and 40.
        assert_eq!(crossing(&up, 0.5, 0.5).map(|at| (at.step.round(), at.gap)), Some((30.0, 20.0)));
        let down: Vec<(f64, f64)> = up.iter().map(|(step, value)| (*step, 1.0 - value)).collect();
        assert_eq!(crossing(&down, 0.5, 0.5).map(|at| (at.step.round(), at.gap)), Some((30.0, 20.0)));
    }

    #[test]
    fn the_way_may_begin_at_a_level_inside_the_curve() {
        // From the ridge level 0.4 down to 0.2; what comes before 0.4 has not begun.
        let error = [(0.0, 1.0), (10.0, 0.4), (20.0, 0.3), (30.0, 0.2)];
        assert_eq!(crossing(&error, 0.4, 0.5).map(|at| at.step.round()), Some(20.0));
    }

    #[test]
    fn what_holds_for_good_begins_behind_its_last_failure() {
        let found = |holds: [bool; 4]| for_good(&[0, 10, 20, 40].into_iter().zip(holds).collect::<Vec<_>>());
        assert_eq!(found([false, true, false, true]), Some(Crossing { step: 30.0, gap: 20.0 }));
        assert_eq!(found([true; 4]), None, "from the start");
        assert_eq!(found([false, true, true, false]), None, "not at the end");
    }

    #[test]
    fn what_goes_nowhere_or_starts_behind_has_no_crossing() {
        assert_eq!(crossing(&[(0.0, 0.5), (10.0, 0.5)], 0.5, 0.5), None);
        assert_eq!(crossing(&[(0.0, 0.3), (10.0, 0.2)], 0.4, 0.25), None);
        assert_eq!(crossing(&[(0.0, 0.5)], 0.4, 0.5), None);
        assert_eq!(crossing(&[], 0.5, 0.5), None);
    }
}
