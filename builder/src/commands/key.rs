//! `kdistro key`: the keys of an environment.

use serde_json::json;

use super::{
    Answer, Result,
    output::{print, print_json, say},
};
use crate::{cli::KeyCommand, context::Context, sign::keys::Keys};

pub(super) fn run(context: &Context, command: &KeyCommand) -> Result {
    let target = context.target()?;
    let folder = context.home.resolve(&target.keys.directory);
    let is_new = matches!(command, KeyCommand::New(_));
    let keys = if is_new { Keys::open_or_make(&folder)? } else { Keys::open(&folder)? };
    let (key, log_key) = (keys.release_key()?, keys.log_key()?);
    if context.json {
        print_json(&json!({
            "environment": target.name, "folder": folder, "key": key.fingerprint(),
            "logKey": log_key.fingerprint(), "pem": key.to_pem(),
        }))?;
    } else if is_new {
        say(context, format!("keys of environment `{}` in {}", target.name, folder.display()))?;
        say(context, format!("release key {}", key.fingerprint()))?;
        say(context, format!("log key     {}", log_key.fingerprint()))?;
    } else {
        print(key.to_pem().trim_end())?;
    }
    Ok(Answer::Yes)
}
