//! Takes inputs out of a store that publishes them: upstream may have dropped them since.

use std::{
    collections::BTreeSet,
    io::{self, Read},
};

use kdistro_formats::{Digest, layout, plan::Plan};
use kdistro_verify::store::Reader;

use super::{FetchError, Fetcher};

impl Fetcher<'_> {
    /// Brings those of the wanted inputs of a plan into the content store that a store has; the others are left.
    pub fn take_published(
        &self,
        store: &dyn Reader,
        plan: &Plan,
        wanted: &BTreeSet<Digest>,
    ) -> Result<(), FetchError> {
        for (number, digest) in (1..).zip(wanted) {
            if self.content.has(digest) {
                continue;
            }
            let name = layout::input(digest);
            let failed = |source| FetchError::Store { name: name.clone(), source };
            let Some(file) = store.open(&name).map_err(failed)? else { continue };
            let total = wanted.len();
            self.progress(&format!("taking input {number} of {total} from the store"));
            let mut new = self.content.create()?;
            let size = plan.input(digest).map_or(0, |input| input.size);
            // One byte more than the plan says is enough to see that it is another file.
            io::copy(&mut file.take(size + 1), &mut new).map_err(failed)?;
            let (found, _) = new.keep()?;
            if found != *digest {
                let (found, expected) = (found.to_string(), digest.to_string());
                let what = format!("`{name}` in the store");
                return Err(FetchError::Differs { what, found, expected });
            }
        }
        Ok(())
    }
}
