//! Where the lock of a channel is not the one that its configuration asks for.

use kdistro_formats::ChannelName;

use crate::config::{Workspace, channel::Component, inputs::Root, lock};

/// Lists where lock and configuration of a channel disagree; empty means the lock is current.
pub fn stale(workspace: &Workspace, channel: &ChannelName) -> Vec<String> {
    let (Some(configured), Some(lock)) =
        (workspace.channels.get(channel), workspace.locks.get(channel))
    else {
        return vec!["does not exist".to_owned()];
    };
    let mut found = Vec::new();
    for component in &configured.components {
        match lock.source(&component.project) {
            None => found.push(format!("does not lock `{}`", component.project)),
            Some(source) => {
                found.extend(source_differs(workspace, component, source));
            }
        }
    }
    for source in &lock.sources {
        if !configured.components.iter().any(|component| component.project == source.project) {
            found.push(format!("locks `{}`, which the channel does not ship", source.project));
        }
    }
    for name in workspace.roots_of(configured) {
        if let (Some(root), Some(locked)) = (workspace.inputs.root(name), lock.root(name)) {
            let differs = packages_differ(root, &locked.packages);
            found.extend(differs.map(|differs| format!("{differs} for build root `{name}`")));
        }
    }
    for name in workspace.bases_of(configured) {
        let Some(base) = workspace.inputs.base(name) else { continue };
        for locked in lock.bases.iter().filter(|locked| locked.name == name) {
            let differs = packages_differ(base, &locked.packages);
            let place = format!("image base `{name}` on {}", locked.architecture);
            found.extend(differs.map(|differs| format!("{differs} for {place}")));
        }
    }
    found
}

/// Says how the locked packages of a build root or image base are not those that the configuration asks for.
pub fn packages_differ(root: &Root, locked: &[lock::Package]) -> Option<String> {
    let is_locked = |name: &&String| locked.iter().any(|package| package.name == **name);
    if let Some(missing) = root.packages.iter().find(|name| !is_locked(name)) {
        return Some(format!("does not lock package `{missing}`"));
    }
    // Of a closure nobody can tell without the archive which packages nothing asks for.
    let mut more =
        locked.iter().filter(|package| !root.closure && !root.packages.contains(&package.name));
    more.next().map(|package| format!("locks package `{}`, which is not asked for,", package.name))
}

fn source_differs(
    workspace: &Workspace,
    component: &Component,
    source: &lock::Source,
) -> Option<String> {
    let name = &component.project;
    if source.tag != component.tag {
        return Some(format!(
            "locks `{name}` at {}, but the channel ships {}",
            source.tag, component.tag
        ));
    }
    if let Some(commit) = &component.commit
        && *commit != source.commit
    {
        return Some(format!(
            "locks `{name}` at commit {}, but the channel says {commit}",
            source.commit
        ));
    }
    let wanted = component.debian.as_ref().map(|d| (&d.package, &d.version));
    let locked = source.debian.as_ref().map(|d| (&d.package, &d.version));
    if wanted != locked {
        return Some(format!("locks another Debian source of `{name}` than the channel names"));
    }
    let folder = workspace.patch_folder(workspace.source_of(name), component.tag.as_str());
    let wanted: Vec<_> = folder.iter().flat_map(|folder| folder.digests()).collect();
    let content = source.content.as_ref()?;
    let locked: Vec<_> = content.patches.iter().map(|p| (p.name.as_str(), p.sha256)).collect();
    if let Some((patch, digest)) = wanted.iter().find(|patch| !locked.contains(patch)) {
        return Some(format!(
            "locks other content of patches/{name}/{}/{patch}, which is {digest} now",
            component.tag
        ));
    }
    (wanted != locked).then(|| format!("locks other patches of `{name}` than there are"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::context::read_files;

    /// The workspace of this repository.
    fn workspace() -> Workspace {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        Workspace::read(read_files(top).unwrap()).unwrap()
    }

    fn found(change: impl FnOnce(&mut Workspace)) -> String {
        let mut workspace = workspace();
        change(&mut workspace);
        stale(&workspace, &"1-20".parse().unwrap()).join("\n")
    }

    #[test]
    fn every_lock_of_this_repository_is_current() {
        let workspace = workspace();
        for channel in workspace.channels.keys() {
            assert_eq!(stale(&workspace, channel), [""; 0], "{channel}");
        }
    }

    #[test]
    fn other_packages_of_a_base_or_root_are_noticed() {
        let added = found(|workspace| {
            for base in &mut workspace.inputs.bases {
                base.packages.push("zsh".to_owned());
            }
        });
        assert!(added.contains("does not lock package `zsh` for image base `"), "{added}");
        assert!(added.contains(" on amd64") && added.contains(" on arm64"), "{added}");
        let removed = found(|workspace| {
            for base in &mut workspace.inputs.bases {
                base.packages.retain(|name| name != "tzdata");
            }
        });
        let expected = "locks package `tzdata`, which is not asked for, for image base `";
        assert!(removed.contains(expected), "{removed}");
        let root = found(|workspace| {
            for root in &mut workspace.inputs.roots {
                root.packages.push("zsh".to_owned());
            }
        });
        assert!(root.contains("does not lock package `zsh` for build root `"), "{root}");
    }
}
