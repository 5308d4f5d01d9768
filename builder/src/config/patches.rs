//! `patches/<owner>/<repository>/<tag>/NNNN-subject.patch`: what is changed.

use std::collections::BTreeMap;

use kdistro_formats::{Digest, ProjectName, Tag};
use kdistro_source::{
    patch::{self, Patch},
    series::Series,
};

use super::{Files, Problem};

/// The patches of one project at one tag, in order.
#[derive(Clone, Debug)]
pub struct PatchFolder {
    /// The project.
    pub project: ProjectName,
    /// The tag.
    pub tag: Tag,
    /// The patches, in the order of their names.
    pub series: Series,
}

impl PatchFolder {
    /// Returns the folder's path from the top of the build repository.
    pub fn path(&self) -> String {
        format!("patches/{}/{}", self.project, self.tag)
    }

    /// Returns the digests by file name.
    pub fn digests(&self) -> impl Iterator<Item = (&str, Digest)> {
        self.series.patches.iter().map(|patch| (patch.name.as_str(), patch.digest))
    }
}

/// Reads every patch among `files`, and reports what is wrong with any.
pub(super) fn read(files: &Files, problems: &mut Vec<Problem>) -> Vec<PatchFolder> {
    let mut folders: BTreeMap<(ProjectName, Tag), Vec<Patch>> = BTreeMap::new();
    for (path, bytes) in files.iter().filter(|(path, _)| path.starts_with("patches/")) {
        let parts: Vec<_> = path.split('/').collect();
        let [_, owner, name, tag, file] = parts.as_slice() else {
            let message = "expected patches/<owner>/<repository>/<tag>/NNNN-subject.patch";
            problems.push(Problem::new(path, message));
            continue;
        };
        let (project, tag) = (format!("{owner}/{name}").parse(), tag.parse::<Tag>());
        match (project, tag, patch::parse(file, bytes)) {
            (Ok(project), Ok(tag), Ok(patch)) => {
                folders.entry((project, tag)).or_default().push(patch);
            }
            (Err(error), _, _) | (_, Err(error), _) => {
                problems.push(Problem::new(path, error.to_string()));
            }
            (_, _, Err(found)) => problems.extend(found.into_iter().map(|problem| Problem {
                file: path.clone(),
                line: problem.line.map_or(0, |line| line as u64),
                message: problem.message,
            })),
        }
    }
    let folder =
        |((project, tag), patches)| PatchFolder { project, tag, series: Series { patches } };
    folders.into_iter().map(folder).collect()
}
