//! containerd and runc, which no release ships: this machine's, else those of Debian's packages, unpacked and not
//! installed.

use std::path::{Path, PathBuf};

use kdistro_testbed::debian_packages;

use crate::DevclusterError;

/// The packages, and the programs that show that they are here.
const PACKAGES: [&str; 2] = ["containerd", "runc"];
const PROGRAMS: [&str; 3] = ["usr/bin/containerd", "usr/bin/ctr", "usr/sbin/runc"];

/// Returns the root below which both are, as Debian lays them out.
pub fn packages() -> Result<PathBuf, DevclusterError> {
    let here = Path::new("/");
    if PROGRAMS.iter().all(|program| here.join(program).is_file()) {
        return Ok(here.to_owned());
    }
    Ok(debian_packages(&PACKAGES)?)
}
