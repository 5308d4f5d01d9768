//! What was found on a node, for people and for programs.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use kdistro_formats::{Digest, ReleaseName, terminal::printable};
use kdistro_verify::check::{Outcome, chain};
use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::{Image, Imageless, InspectError, Process};

/// What something that runs is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What the release has under this name.
    OfRelease,
    /// What another release has under this name.
    OfOther(ReleaseName),
    /// Of no release, and the subscriber says that it is known.
    Known,
    /// Of no release that is known here: an alarm.
    Strange,
    /// It has so many bytes, which nothing of any release has, and was not read for it: an alarm.
    TooLarge(u64),
    /// It, or what it is compared with, could not be looked at: why.
    Unread(String),
    /// What it is compared with is not what the release's key signed: an alarm.
    StoreDiffers(String),
}

/// Something that runs and is called as something of the release, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What runs.
    pub subject: Subject,
    /// What it is.
    pub verdict: Verdict,
}

/// What runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Subject {
    /// A process.
    Process {
        /// Its id.
        id: u32,
        /// Where its program is.
        path: PathBuf,
        /// Whether that file was deleted or replaced since.
        deleted: bool,
        /// What it runs, where that is known.
        digest: Option<Digest>,
    },
    /// An image of containers.
    Image {
        /// One of its names.
        name: String,
        /// Its digest.
        digest: Digest,
        /// How many containers run it.
        containers: usize,
    },
    /// A container whose image is not known.
    Container {
        /// Its id.
        id: String,
    },
    /// All containers.
    Containers,
}

/// What was found on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The release that should run.
    pub release: ReleaseName,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// What is called as something of the release.
    pub findings: Vec<Finding>,
    /// How many other processes there are.
    pub others: usize,
}

impl Verdict {
    /// What is to be said of what cannot be compared with the release.
    pub(super) fn of_failure(error: &InspectError) -> Self {
        let why = chain(error);
        match error.outcome() {
            Outcome::Differs => Self::StoreDiffers(why),
            _ => Self::Unread(why),
        }
    }

    /// Whether somebody has to look.
    pub(super) fn is_alarm(&self) -> bool {
        matches!(self, Self::Strange | Self::TooLarge(_) | Self::OfOther(_) | Self::StoreDiffers(_))
    }
}

impl Subject {
    pub(super) fn of_process(process: Process) -> Self {
        let Process { id, path, is_deleted, digest } = process;
        Self::Process { id, path, deleted: is_deleted, digest: digest.ok() }
    }

    pub(super) fn of_image(image: &Image) -> Self {
        let Image { names, digest, containers } = image.clone();
        // A name of its own says more than one that is only a digest.
        let name = names.iter().find(|name| !name.starts_with("sha256:")).or(names.first());
        Self::Image { name: name.cloned().unwrap_or_default(), digest, containers }
    }
}

impl Finding {
    pub(super) fn of_imageless(container: &Imageless) -> Self {
        let why = container.image.as_ref().map_or_else(
            || "it was begun without an image".to_owned(),
            |image| {
                format!("containerd does not have the image that it was begun with as `{image}`")
            },
        );
        let subject = Subject::Container { id: container.id.clone() };
        Self { subject, verdict: Verdict::Unread(why) }
    }
}

impl Report {
    /// Verified where all that was found is of the release, or known; unknown where something could not be looked at, or
    /// nothing of the release runs at all.
    pub fn outcome(&self) -> Outcome {
        let mut verdicts = self.findings.iter().map(|finding| &finding.verdict);
        if verdicts.clone().any(Verdict::is_alarm) {
            return Outcome::Differs;
        }
        let is_unread = verdicts.any(|one| matches!(one, Verdict::Unread(_)));
        if is_unread || self.findings.is_empty() { Outcome::Unknown } else { Outcome::Verified }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OfRelease => f.write_str("of the release"),
            Self::OfOther(name) => write!(f, "of release {name}"),
            Self::Known => f.write_str("known"),
            Self::Strange => f.write_str("STRANGE"),
            Self::TooLarge(size) => {
                write!(f, "STRANGE, {size} bytes are more than any program has")
            }
            Self::Unread(why) => write!(f, "not looked at: {why}"),
            Self::StoreDiffers(why) => write!(f, "NOT COMPARED: {why}"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = &self.verdict;
        let is_well = matches!(verdict, Verdict::OfRelease);
        match &self.subject {
            Subject::Process { id, path, deleted, digest } => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                write!(f, "{id:<10} {:<26} {verdict}", printable(&name))?;
                if *deleted {
                    f.write_str(", but its file is gone")?;
                }
                match digest {
                    Some(digest) if !is_well => write!(f, ": {digest} {}", shown(path))?,
                    None if verdict.is_alarm() => write!(f, ": {}", shown(path))?,
                    _ => {}
                }
            }
            Subject::Image { name, digest, containers } => {
                write!(f, "{:<10} {:<26} {verdict}", "image", printable(name))?;
                if !is_well {
                    write!(f, ": {digest}, in {containers} containers")?;
                }
            }
            Subject::Container { id } => {
                write!(f, "{:<10} {:<26} {verdict}", "container", printable(id))?;
            }
            Subject::Containers => write!(f, "{:<10} {:<26} {verdict}", "containers", "all")?,
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "release    {} ({})", self.release, self.manifest)?;
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        if self.findings.is_empty() {
            writeln!(f, "nothing that is called as a program of the release runs here")?;
        }
        writeln!(f, "{} other processes are of no program of the release", self.others)
    }
}

fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy())
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (verdict, release, why) = match &self.verdict {
            Verdict::OfRelease => ("of-release", None, None),
            Verdict::OfOther(name) => ("of-other-release", Some(name), None),
            Verdict::Known => ("known", None, None),
            Verdict::Strange => ("strange", None, None),
            Verdict::TooLarge(_) => ("strange", None, Some(self.verdict.to_string())),
            Verdict::Unread(why) => ("not-looked-at", None, Some(why.clone())),
            Verdict::StoreDiffers(why) => ("store-differs", None, Some(why.clone())),
        };
        let mut fields = serializer.serialize_struct("Finding", 4)?;
        fields.serialize_field("verdict", verdict)?;
        fields.serialize_field("subject", &self.subject)?;
        match release {
            Some(release) => fields.serialize_field("release", release)?,
            None => fields.skip_field("release")?,
        }
        match why {
            Some(why) => fields.serialize_field("why", &why)?,
            None => fields.skip_field("why")?,
        }
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdicts: impl IntoIterator<Item = Verdict>) -> Report {
        let digest = Digest::from_bytes([1; 32]);
        let subject = Subject::Process {
            id: 7,
            path: "/usr/bin/kubelet".into(),
            deleted: true,
            digest: Some(digest),
        };
        let finding = |verdict| Finding { subject: subject.clone(), verdict };
        Report {
            release: "1-20-2".parse().unwrap(),
            manifest: digest,
            findings: verdicts.into_iter().map(finding).collect(),
            others: 3,
        }
    }

    fn unhashed() -> Subject {
        Subject::Process { id: 7, path: "/kubelet".into(), deleted: false, digest: None }
    }

    #[test]
    fn strange_is_worse_than_what_could_not_be_looked_at_and_nothing_is_no_pass() {
        let unread = || Verdict::Unread("w".to_owned());
        let other = Verdict::OfOther("1-20-1".parse().unwrap());
        for (verdicts, outcome) in [
            (vec![], Outcome::Unknown),
            (vec![Verdict::OfRelease, Verdict::Known], Outcome::Verified),
            (vec![Verdict::OfRelease, unread()], Outcome::Unknown),
            (vec![unread(), other], Outcome::Differs),
            (vec![unread(), Verdict::Strange], Outcome::Differs),
            (vec![Verdict::TooLarge(1 << 40)], Outcome::Differs),
            (vec![unread(), Verdict::StoreDiffers("w".to_owned())], Outcome::Differs),
        ] {
            assert_eq!(report(verdicts.clone()).outcome(), outcome, "{verdicts:?}");
        }
    }

    #[test]
    fn a_strange_process_is_shown_with_its_digest_and_path() {
        let text = report([Verdict::Strange]).to_string();
        let line = text.lines().nth(1).unwrap_or_default();
        let expected =
            "7          kubelet                    STRANGE, but its file is gone: sha256:0101";
        assert!(line.starts_with(expected) && line.ends_with(" /usr/bin/kubelet"), "{line}");
        let large = Finding { verdict: Verdict::TooLarge(2 << 30), subject: unhashed() };
        let line = "7          kubelet                    STRANGE, 2147483648 bytes are more than any program has: /kubelet";
        assert_eq!(large.to_string(), line);
        let json =
            serde_json::to_value(report([Verdict::OfOther("1-20-1".parse().unwrap())])).unwrap();
        assert_eq!(json["findings"][0]["verdict"], "of-other-release");
        assert_eq!(json["findings"][0]["release"], "1-20-1");
        assert_eq!(json["findings"][0]["subject"]["process"]["id"], 7);
    }
}
