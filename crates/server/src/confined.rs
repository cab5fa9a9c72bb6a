//! What lies in a folder, and nothing that is only linked from there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The first link in `folder`, or in folders in it, that leads out of `root`; or `folder` itself, if it lies elsewhere.
///
/// # Errors
/// When a folder cannot be read.
pub(crate) fn leads_outside(root: &Path, folder: &Path) -> io::Result<Option<PathBuf>> {
    if !is_inside(root, folder) {
        return Ok(Some(folder.to_owned()));
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_symlink() && !is_inside(root, &entry.path()) {
            return Ok(Some(entry.path()));
        }
        // What is removed meanwhile leads nowhere.
        if kind.is_dir()
            && let Ok(Some(outside)) = leads_outside(root, &entry.path())
        {
            return Ok(Some(outside));
        }
    }
    Ok(None)
}

/// Whether a path lies below `root`, which has no links itself, when its links are followed; one that leads nowhere does.
fn is_inside(root: &Path, path: &Path) -> bool {
    path.canonicalize().map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |whole| whole.starts_with(root))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_inside_are_followed_and_links_to_outside_are_found() {
        let place = tempfile::tempdir().unwrap();
        let top = place.path().canonicalize().unwrap();
        let (root, secret) = (top.join("runs"), top.join("secret"));
        fs::create_dir_all(root.join("run/checkpoints")).unwrap();
        fs::write(&secret, "of nobody's business").unwrap();
        let found = || leads_outside(&root, &root.join("run")).unwrap();
        assert_eq!(found(), None);
        symlink(root.join("run"), root.join("run/checkpoints/same")).unwrap();
        symlink(root.join("nowhere"), root.join("run/gone")).unwrap();
        assert_eq!(found(), None);
        symlink(&secret, root.join("run/checkpoints/config.toml")).unwrap();
        assert_eq!(found(), Some(root.join("run/checkpoints/config.toml")));
        symlink(&top, root.join("all")).unwrap();
        assert_eq!(leads_outside(&root, &root.join("all")).unwrap(), Some(root.join("all")));
    }
}
