//! Commands as a person would type them again.

use std::path::Path;

/// The name of the running program, which is not ours when a task of the user's own is trained.
pub fn program_name() -> String {
    let program = std::env::current_exe().ok();
    program.and_then(|path| Some(path.file_stem()?.to_str()?.to_owned())).unwrap_or_else(|| "emergence".to_owned())
}

/// A path as a POSIX shell takes it for one word.
pub fn in_shell(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |letter: char| letter.is_alphanumeric() || "/._-+:,=@%".contains(letter);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_in_a_shell() {
        let words = ["runs/smoke-0a", "my runs/a", "it's"].map(|path| in_shell(Path::new(path)));
        assert_eq!(words, ["runs/smoke-0a", "'my runs/a'", "'it'\\''s'"]);
    }
}
