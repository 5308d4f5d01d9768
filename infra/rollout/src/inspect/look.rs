//! Judges what runs, and keeps what it took to do so until the end of the look: each release near the one that should run
//! is proven once, and the same bytes under the same name are judged once.

use std::{collections::BTreeMap, rc::Rc};

use kdistro_formats::{Digest, ReleaseName};

use super::{Image, InspectError, Inspector, Process, Programs, Unhashed, Verdict, image_name};

/// How many releases before and after the one that should run are asked whether something is theirs.
const NEIGHBOURS: u32 = 5;

/// A look under way.
pub(super) struct Look<'a> {
    inspector: &'a Inspector<'a>,
    release: ReleaseName,
    programs: Programs<'a>,
    /// Releases near it, by number; none for what is not there, not proven or not readable.
    neighbours: BTreeMap<u32, Option<Programs<'a>>>,
    judged: BTreeMap<(Asked, Digest), Verdict>,
}

/// What a release is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Asked {
    /// A program of this name.
    Program(String),
    /// An image.
    Image,
}

impl Asked {
    fn of(&self, programs: &mut Programs<'_>, digest: &Digest) -> Result<bool, Rc<InspectError>> {
        match self {
            Self::Program(name) => programs.has(name, digest),
            Self::Image => programs.has_image(digest),
        }
    }
}

impl<'a> Look<'a> {
    /// Begins with what should run.
    pub(super) fn at(
        inspector: &'a Inspector<'a>,
        release: ReleaseName,
        programs: Programs<'a>,
    ) -> Self {
        let (neighbours, judged) = (BTreeMap::new(), BTreeMap::new());
        Self { inspector, release, programs, neighbours, judged }
    }

    /// Judges a process that is called as a program of the release.
    pub(super) fn process(&mut self, process: &Process) -> Verdict {
        let digest = match &process.digest {
            Ok(digest) => *digest,
            Err(Unhashed::Unread(why)) => return Verdict::Unread(why.clone()),
            Err(Unhashed::TooLarge(size)) => return Verdict::TooLarge(*size),
        };
        let Some(name) = self.programs.named(&process.path) else {
            return Verdict::Unread("its program's name is not known".to_owned());
        };
        let asked = Asked::Program(name.to_owned());
        self.judge(asked, digest)
    }

    /// Judges an image that is called as one of the release, or is one; none for all others.
    pub(super) fn image(&mut self, image: &Image) -> Option<Verdict> {
        let is_named = |name: &String| self.programs.has_image_named(image_name(name));
        let is_named = image.names.iter().any(is_named);
        let is_meant = is_named || matches!(self.programs.has_image(&image.digest), Ok(true));
        is_meant.then(|| self.judge(Asked::Image, image.digest))
    }

    fn judge(&mut self, asked: Asked, digest: Digest) -> Verdict {
        let key = (asked, digest);
        if let Some(verdict) = self.judged.get(&key) {
            return verdict.clone();
        }
        let verdict = match key.0.of(&mut self.programs, &digest) {
            Ok(true) => Verdict::OfRelease,
            _ if self.inspector.known.contains(&digest) => Verdict::Known,
            Ok(false) => self.judge_other(&key.0, &digest),
            Err(error) => Verdict::of_failure(&error),
        };
        self.judged.insert(key, verdict.clone());
        verdict
    }

    /// Judges what is not of the release: another one near it may have it.
    fn judge_other(&mut self, asked: &Asked, digest: &Digest) -> Verdict {
        let number = self.release.number;
        let numbers =
            (1..=NEIGHBOURS).flat_map(|by| [number.checked_sub(by), number.checked_add(by)]);
        for number in numbers.flatten().filter(|number| *number > 0) {
            let name = ReleaseName { channel: self.release.channel.clone(), number };
            let prove = || self.inspector.programs(&name, None).ok();
            let other = self.neighbours.entry(number).or_insert_with(|| Some(prove()?.1));
            // What is not there, not proven or not readable says nothing of what runs.
            let Some(other) = other else { continue };
            if asked.of(other, digest).unwrap_or(false) {
                return Verdict::OfOther(name);
            }
        }
        Verdict::Strange
    }
}
