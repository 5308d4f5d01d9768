//! Judges that nobody here wrote: what they say of the release that all tests share, and of a whole one.
//!
//! Programs that are missing make a test fail: `.ci/run` installs them. Each judge also refuses something spoilt.

mod archives;
mod documents;
mod images;
mod released;
mod sboms;
mod signatures;
mod syft;

use std::path::Path;

use self::released::Released;

/// The home folder of a whole release, which a variable names.
#[expect(clippy::disallowed_methods, reason = "whoever cut a whole release says where")]
fn whole() -> Released {
    let home = std::env::var_os("KDISTRO_TEST_RELEASE")
        .expect("KDISTRO_TEST_RELEASE must name the home folder of a cut");
    Released::newest(Path::new(&home))
}

/// What no small release has: Kubernetes' programs and images, capabilities, bases with many packages.
///
/// `KDISTRO_TEST_RELEASE=HOME cargo test -p kdistro --test whole judges::a_whole -- --ignored`, after
/// `kdistro cut 1-20 --home HOME`.
#[test]
#[ignore = "needs a cut of Kubernetes: KDISTRO_TEST_RELEASE=HOME"]
fn a_whole_release_is_accepted_by_those_who_judge_files() {
    let released = whole();
    archives::sums_agree(&released);
    archives::tars_agree(&released);
    sboms::go_agrees(&released);
}

/// As above.
#[test]
#[ignore = "needs a cut of Kubernetes: KDISTRO_TEST_RELEASE=HOME"]
fn a_whole_release_is_accepted_by_pyspdxtools() {
    sboms::pyspdxtools_accepts(&whole());
}

/// As above.
#[test]
#[ignore = "needs a cut of Kubernetes: KDISTRO_TEST_RELEASE=HOME"]
fn a_whole_release_is_accepted_by_skopeo_and_umoci() {
    let released = whole();
    images::skopeo_copies(&released);
    images::umoci_unpacks(&released);
}

/// As above.
#[test]
#[ignore = "needs a cut of Kubernetes: KDISTRO_TEST_RELEASE=HOME"]
fn a_whole_release_is_accepted_by_syft() {
    syft::finds_what_the_sboms_name(&whole());
}
