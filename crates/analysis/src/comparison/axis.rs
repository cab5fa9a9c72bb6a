//! Names of groups of runs that are short enough to stand beside each other, and still tell them apart.

use std::collections::BTreeMap;

use plots::labels::shorten_apart;
use plots::panel::LONGEST_LABEL;

/// What all groups set, if those are the same fields, and what each sets them to; else the groups' own names. Longer
/// ones are cut to `longest` letters, at the end where that leaves them different.
pub(crate) fn group_names(groups: &[&str], longest: usize) -> (String, Vec<String>) {
    let (title, names) = settings(groups)
        .unwrap_or_else(|| ("group".to_owned(), groups.iter().map(|group| (*group).to_owned()).collect()));
    (title, shorten_apart(&names, longest))
}

/// What lines are called: their names, or if those are too long for labels what tells them apart, with what that is: ` by
/// d_model, n_layers`.
pub(super) fn line_labels<'a>(names: &[&'a str]) -> (String, BTreeMap<&'a str, String>) {
    let mut names = names.to_vec();
    names.sort_unstable();
    if names.iter().all(|name| name.chars().count() <= LONGEST_LABEL) {
        return (String::new(), names.into_iter().map(|name| (name, name.to_owned())).collect());
    }
    let (what, short) = group_names(&names, LONGEST_LABEL);
    (format!(" by {what}"), names.into_iter().zip(short).collect())
}

/// The fields, and the values of each group.
fn settings(groups: &[&str]) -> Option<(String, Vec<String>)> {
    let fields = groups.iter().map(|group| fields(group)).collect::<Option<Vec<_>>>()?;
    let names: Vec<Vec<&str>> = fields.iter().map(|fields| fields.iter().map(|(name, _)| *name).collect()).collect();
    let values =
        |fields: &[(&str, String)]| fields.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(", ");
    let first = names.first()?;
    let same = names.iter().all(|names| names == first);
    same.then(|| (first.join(", "), fields.iter().map(|fields| values(fields)).collect()))
}

/// The parts of `field = value, no other` with their values; none if it is a name.
fn fields(group: &str) -> Option<Vec<(&str, String)>> {
    let mut found: Vec<(&str, String)> = Vec::new();
    for part in group.split(", ") {
        match (part.split_once(" = "), part.strip_prefix("no ")) {
            (Some((field, value)), _) => found.push((field, value.to_owned())),
            (None, Some(field)) => found.push((field, "none".to_owned())),
            // A value may be a list.
            (None, None) => found.last_mut()?.1.extend([", ", part]),
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_all_groups_set_are_the_title() {
        let (title, names) =
            group_names(&["d_model = 16, learning_rate = 0.01", "d_model = 8, learning_rate = 0.1"], 20);
        assert_eq!(
            (title.as_str(), names),
            ("d_model, learning_rate", vec!["16, 0.01".to_owned(), "8, 0.1".to_owned()])
        );
        let (title, names) = group_names(&["no floor, kind = constant", "floor = [0.1, 2], kind = cosine"], 30);
        assert_eq!(title, "floor, kind");
        assert_eq!(names, ["none, constant", "[0.1, 2], cosine"]);
    }

    #[test]
    fn groups_of_other_fields_and_names_stay() {
        for groups in [["a = 1", "b = 1"], ["short", "long, and more"]] {
            assert_eq!(group_names(&groups, 20), ("group".to_owned(), groups.map(str::to_owned).to_vec()));
        }
    }
}
