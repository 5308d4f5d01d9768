//! What git says about the build repository itself, and whether an upstream can be reached.

use std::path::Path;

use kdistro_formats::{CommitId, Tag};

use crate::{
    command::{Call, CommandError, Environment},
    git::Git,
};

/// Returns the commit of a checkout when nothing in it is changed or new; none elsewhere.
pub fn clean_commit(
    top: &Path,
    environment: &Environment,
) -> Result<Option<CommitId>, CommandError> {
    let call = |arguments: &[&str]| {
        let mut call = Call::new(Path::new("git"), environment);
        call.arguments = arguments.iter().map(Into::into).collect();
        call.directory = Some(top);
        call.try_run()
    };
    let head = call(&["rev-parse", "--verify", "--quiet", "HEAD"])?;
    // Git refuses a checkout of another user, and says what to do.
    if head.code != Some(0) && head.messages.contains("safe.directory") {
        return Err(head.failure());
    }
    let status = call(&["status", "--porcelain"])?;
    let clean = head.code == Some(0) && status.code == Some(0) && status.stdout.is_empty();
    Ok(head.text().parse().ok().filter(|_| clean))
}

/// True when git reaches a repository (or what the user's settings put in its place) and finds the tag there.
pub fn reaches(url: &str, tag: &Tag, environment: &Environment) -> bool {
    let git = Git { repository: Path::new("."), environment };
    let name = format!("refs/tags/{tag}");
    git.ask(["ls-remote", "--exit-code", "--", url, &name])
        .is_ok_and(|output| output.code == Some(0))
}

/// Lists the tags of a repository (or of what the user's settings put in its place); names that are no [`Tag`], such
/// as `api/v3.5.0`, are left out.
pub fn remote_tags(url: &str, environment: &Environment) -> Result<Vec<Tag>, CommandError> {
    let git = Git { repository: Path::new("."), environment };
    let output = git.ask(["ls-remote", "--tags", "--refs", "--", url])?.checked()?;
    let text = output.text();
    let names = text.lines().filter_map(|line| line.split_once("\trefs/tags/"));
    Ok(names.filter_map(|(_, name)| name.parse().ok()).collect())
}
