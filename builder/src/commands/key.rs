//! `kdistro key`: the keys of an environment.

use super::{Answer, Result, output::print};
use crate::{cli::KeyCommand, context::Context, sign::keys::Keys};

pub(super) fn run(context: &Context, command: &KeyCommand) -> Result {
    let target = context.target()?;
    let folder = context.home.resolve(&target.keys.directory);
    match command {
        KeyCommand::New => {
            let keys = Keys::open_or_make(&folder)?;
            let key = keys.release_key()?;
            print(format!("keys of environment `{}` in {}", target.name, folder.display()))?;
            print(format!("release key {}", key.fingerprint()))?;
            print(format!("log key     {}", keys.log_key()?.fingerprint()))?;
        }
        KeyCommand::Show => print(Keys::open(&folder)?.release_key()?.to_pem().trim_end())?,
    }
    Ok(Answer::Yes)
}
