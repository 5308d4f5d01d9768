//! Takes a release number: claimed by exclusive creation, used at most once.

use kdistro_border::{Content, Created, Store, StoreError};
use kdistro_formats::{
    ChannelName, Digest, ReleaseName,
    canonical::{self, CanonicalError},
    channel::ReleaseChannel,
    claim::Claim,
    layout,
    release::ReleaseRef,
};

/// Why no number can be had.
#[derive(Debug, thiserror::Error)]
pub enum NumberError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A claim is not one.
    #[error("`{name}` in the store is not a claim")]
    Claim {
        /// Its name.
        name: String,
        /// What is wrong.
        source: CanonicalError,
    },
    /// A claim that is not where it belongs.
    #[error(
        "`{name}` in the store is the claim of {found}\nhelp:  find out who wrote it before anything else is published"
    )]
    Foreign {
        /// Its name.
        name: String,
        /// The release that it names.
        found: ReleaseName,
    },
    /// An unfinished release has another plan.
    #[error(
        "release {release} was begun with another plan ({claimed}, now {wanted}) and is not finished\nhelp:  another run may be at work on it: wait for that; else finish it first: check out the configuration it was begun with and run `kdistro cut` again; or give the number up with `kdistro abandon {release} --reason …`"
    )]
    Unfinished {
        /// The release.
        release: ReleaseName,
        /// The plan that it was claimed with.
        claimed: Digest,
        /// The plan of today.
        wanted: Digest,
    },
    /// Somebody else took the number at the same moment.
    #[error(
        "release {0} was claimed by another run, now or before, for something else; run this again"
    )]
    Taken(ReleaseName),
}

/// What the store knows about the numbers of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The newest release has this plan and stands in the index.
    Unchanged(Claim),
    /// A number was claimed with this plan and is not finished.
    Resume(Claim),
    /// The next number is free.
    Free {
        /// The number.
        number: u32,
        /// The release cut before.
        previous: Option<ReleaseRef>,
    },
}

/// Looks up which number a plan has, or would get.
pub fn state(
    store: &dyn Store,
    channel: &ChannelName,
    index: Option<&ReleaseChannel>,
    plan: &Digest,
) -> Result<State, NumberError> {
    let mut numbers = claimed(store, channel)?;
    // A number stays used when somebody removes its claim.
    numbers.extend(index.iter().flat_map(|index| {
        let status = &index.status;
        let offered = status.releases.iter().map(|offered| offered.number);
        offered.chain(status.withheld.iter().map(|withheld| withheld.number))
    }));
    numbers.sort_unstable();
    numbers.dedup();
    let last = numbers.last().copied().unwrap_or(0);
    let known = |number: u32| {
        let withheld =
            |index: &ReleaseChannel| index.status.withheld.iter().any(|w| w.number == number);
        let released =
            |index: &ReleaseChannel| index.status.releases.iter().any(|r| r.number == number);
        (index.is_some_and(withheld), index.is_some_and(released))
    };
    for number in numbers.into_iter().rev() {
        let release = ReleaseName { channel: channel.clone(), number };
        let (withheld, released) = known(number);
        if withheld {
            continue;
        }
        let claim = read_claim(store, &release)?;
        return match (claim, released) {
            (Some(claim), true) if claim.plan == *plan => Ok(State::Unchanged(claim)),
            (Some(claim), false) if claim.plan == *plan => Ok(State::Resume(claim)),
            (Some(claim), false) => {
                Err(NumberError::Unfinished { release, claimed: claim.plan, wanted: *plan })
            }
            (_, _) => Ok(State::Free { number: last + 1, previous: previous(index, last + 1) }),
        };
    }
    Ok(State::Free { number: last + 1, previous: previous(index, last + 1) })
}

/// Takes the number of a claim; the same claim again is ours already.
pub fn take(store: &dyn Store, claim: &Claim) -> Result<(), NumberError> {
    let release = claim.header.release();
    let name = layout::claim(&release);
    let bytes = canonical::to_vec(claim);
    let bytes = bytes.map_err(|source| NumberError::Claim { name: name.clone(), source })?;
    match store.create(&name, Content::Bytes(&bytes)) {
        Ok(Created::New | Created::Same) => Ok(()),
        Err(StoreError::Conflict { .. }) => Err(NumberError::Taken(release)),
        Err(error) => Err(error.into()),
    }
}

/// Reads the claim of a release.
pub fn read_claim(store: &dyn Store, release: &ReleaseName) -> Result<Option<Claim>, NumberError> {
    let name = layout::claim(release);
    let Some(bytes) = store.read(&name)? else { return Ok(None) };
    let claim: Claim = canonical::from_slice(&bytes)
        .map_err(|source| NumberError::Claim { name: name.clone(), source })?;
    let found = claim.header.release();
    if found == *release { Ok(Some(claim)) } else { Err(NumberError::Foreign { name, found }) }
}

/// Every number that was claimed, ascending.
pub fn claimed(store: &dyn Store, channel: &ChannelName) -> Result<Vec<u32>, StoreError> {
    let prefix = format!("kubernetes-{channel}/releases/");
    let names = store.list(&prefix)?;
    let numbers = names.iter().filter_map(|name| {
        let number = name.strip_prefix(&prefix)?.strip_suffix("/claim")?;
        // Written as the names of releases are, and no other way.
        Some(format!("{channel}-{number}").parse::<ReleaseName>().ok()?.number)
    });
    let mut numbers: Vec<_> = numbers.collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The release before a number: the newest that the index knows, withheld ones with a manifest included.
fn previous(index: Option<&ReleaseChannel>, number: u32) -> Option<ReleaseRef> {
    let status = &index?.status;
    let withheld = status.withheld.iter().filter_map(|withheld| {
        Some(ReleaseRef { number: withheld.number, digest: withheld.digest? })
    });
    let all = status.releases.iter().cloned().chain(withheld);
    all.filter(|release| release.number < number).max_by_key(|release| release.number)
}
