//! Judges what a step left in `/out`: folders, plain files, and links that stay inside. Everything else is refused.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, Metadata, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::{Component, Path, PathBuf};

use crate::outcome::StepError;

/// More links in a row than the kernel follows.
const LINK_LIMIT: usize = 40;
const SET_ID: u32 = 0o6000;
const OWNER_ALL: u32 = 0o700;

/// Checks everything below the folder, and gives it to an owner where one is named.
///
/// Folders are made readable and removable for their owner, whatever mode the step gave them.
pub(crate) fn check(out: &Path, owner: Option<(u32, u32)>) -> Result<(), StepError> {
    let top = fs::symlink_metadata(out).map_err(|error| lost(out, &error))?;
    adopt(out, &top, owner).map_err(|error| lost(out, &error))?;
    let mut links = BTreeMap::new();
    let mut waiting = vec![PathBuf::new()];
    let mut refused = None;
    while let Some(relative) = waiting.pop() {
        let folder = out.join(&relative);
        for entry in fs::read_dir(&folder).map_err(|error| lost(&folder, &error))? {
            let name = entry.map_err(|error| lost(&folder, &error))?.file_name();
            let path = relative.join(name);
            let full = out.join(&path);
            let found = fs::symlink_metadata(&full).map_err(|error| lost(&full, &error))?;
            adopt(&full, &found, owner).map_err(|error| lost(&full, &error))?;
            if found.is_dir() {
                waiting.push(path);
            } else if found.is_symlink() {
                links.insert(path, fs::read_link(&full).map_err(|error| lost(&full, &error))?);
            } else if let Some(reason) = reason_against(&found) {
                // Everything is still given back to its owner before this is told.
                refused = refused.or(Some(escaping(&path, reason.to_owned())));
            }
        }
    }
    refused.map_or(Ok(()), Err)?;
    links.iter().try_for_each(|(path, target)| match escape(&links, path) {
        Some(why) => {
            Err(escaping(path, format!("is a symbolic link to {}, {why}", target.display())))
        }
        None => Ok(()),
    })
}

/// Makes everything below a folder removable for its owner: steps leave read-only folders, as Go's module cache has.
pub(crate) fn make_removable(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            // What stays unreadable is met by whoever removes it, and named there.
            let _ = entry.metadata().and_then(|found| open_folder(&path, &found));
            make_removable(&path);
        }
    }
}

fn adopt(path: &Path, found: &Metadata, owner: Option<(u32, u32)>) -> std::io::Result<()> {
    if found.is_dir() {
        open_folder(path, found)?;
    }
    match owner {
        Some((user, group)) => lchown(path, Some(user), Some(group)),
        None => Ok(()),
    }
}

fn open_folder(path: &Path, found: &Metadata) -> std::io::Result<()> {
    if found.mode() & OWNER_ALL == OWNER_ALL {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(found.mode() & 0o7777 | OWNER_ALL))
}

fn reason_against(found: &Metadata) -> Option<&'static str> {
    if !found.is_file() {
        return Some(
            "is a device, pipe or socket; only folders, plain files and links inside /out may be left",
        );
    }
    (found.mode() & SET_ID != 0).then_some("would run as its owner (set-user-ID or set-group-ID)")
}

/// Says why a link leaves the folder, following every link on its way. A target that does not exist is no escape.
fn escape(links: &BTreeMap<PathBuf, PathBuf>, link: &Path) -> Option<&'static str> {
    let mut at: PathBuf = link.parent().map(Path::to_path_buf).unwrap_or_default();
    let mut left: Vec<OsString> = link.file_name().map(OsString::from).into_iter().collect();
    let mut followed = 0;
    while let Some(part) = left.pop() {
        if part == ".." {
            if !at.pop() {
                return Some("which leaves /out");
            }
            continue;
        }
        at.push(part);
        let Some(target) = links.get(&at) else { continue };
        followed += 1;
        if followed > LINK_LIMIT {
            return Some("which goes in circles");
        }
        if target.is_absolute() {
            return Some("which leaves /out (a link must be relative: /out moves)");
        }
        at.pop();
        left.extend(
            target
                .components()
                .rev()
                .filter(|part| *part != Component::CurDir)
                .map(|part| part.as_os_str().to_owned()),
        );
    }
    None
}

fn escaping(path: &Path, reason: String) -> StepError {
    StepError::EscapingOutput { path: path.display().to_string(), reason }
}

fn lost(path: &Path, error: &std::io::Error) -> StepError {
    StepError::engine(format!("looking at {}", path.display()), error)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn links(pairs: &[(&str, &str)]) -> BTreeMap<PathBuf, PathBuf> {
        pairs.iter().map(|(path, target)| (PathBuf::from(path), PathBuf::from(target))).collect()
    }

    #[test]
    fn links_inside_stay() {
        let links = links(&[
            ("lib/a.so", "a.so.1"),
            ("bin/x", "../lib/./a.so"),
            ("top", "bin"),
            ("gone", "not/there"),
            ("up", "bin/.."),
        ]);
        for path in links.keys() {
            assert_eq!(escape(&links, path), None, "{}", path.display());
        }
    }

    #[test]
    fn links_outside_are_seen_even_through_other_links() {
        for case in [
            &[("a", "/etc/passwd")][..],
            &[("a", "/out/b")],
            &[("a", "..")],
            &[("d/a", "../../x")],
            // Each by itself looks harmless: x/y/d is /out, so x/y/d/.. is above it.
            &[("x/y/d", "../.."), ("a", "x/y/d/../passwd")],
            &[("a", "b"), ("b", "c"), ("c", "../x")],
        ] {
            let links = links(case);
            let link = case.iter().map(|pair| pair.0).find(|path| path.ends_with('a')).unwrap();
            assert!(
                escape(&links, Path::new(link))
                    .is_some_and(|why| why.starts_with("which leaves /out")),
                "{case:?}"
            );
        }
    }

    #[test]
    fn circles_are_refused() {
        assert_eq!(
            escape(&links(&[("a", "b"), ("b", "a")]), Path::new("a")),
            Some("which goes in circles")
        );
    }

    #[test]
    fn refuses_pipes_and_set_user_id_and_opens_closed_folders() {
        let out = tempfile::tempdir().unwrap();
        fs::create_dir(out.path().join("closed")).unwrap();
        fs::write(out.path().join("closed/file"), "").unwrap();
        fs::set_permissions(out.path().join("closed"), Permissions::from_mode(0o500)).unwrap();
        check(out.path(), None).unwrap();
        assert_eq!(fs::metadata(out.path().join("closed")).unwrap().mode() & 0o777, 0o700);

        fs::set_permissions(out.path().join("closed/file"), Permissions::from_mode(0o4755))
            .unwrap();
        let error = check(out.path(), None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/out/closed/file: would run as its owner (set-user-ID or set-group-ID)"
        );
        fs::remove_file(out.path().join("closed/file")).unwrap();

        nix::unistd::mkfifo(&out.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(
            matches!(check(out.path(), None), Err(StepError::EscapingOutput { path, .. }) if path == "pipe")
        );
        fs::remove_file(out.path().join("pipe")).unwrap();

        symlink("/etc/passwd", out.path().join("closed/passwd")).unwrap();
        let error = check(out.path(), None).unwrap_err();
        assert!(
            error.to_string().starts_with(
                "/out/closed/passwd: is a symbolic link to /etc/passwd, which leaves /out"
            ),
            "{error}"
        );
    }
}
