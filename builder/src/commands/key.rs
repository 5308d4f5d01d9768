//! `kdistro key`: the keys of an environment.

use serde_json::json;

use super::{
    Answer, Result,
    output::{print, print_json, say},
};
use crate::{
    cli::KeyCommand, config::environment::KeyPlace, context::Context, place, sign::keys::Keys,
};

pub(super) fn run(context: &Context, command: &KeyCommand) -> Result {
    let target = context.target()?;
    let is_new = matches!(command, KeyCommand::New(_));
    let (keys, where_from) = match &target.keys {
        KeyPlace::Directory(directory) => {
            let folder = context.home.resolve(directory);
            let keys = if is_new { Keys::open_or_make(&folder)? } else { Keys::open(&folder)? };
            (keys, folder.display().to_string())
        }
        KeyPlace::Kms(_) if is_new => {
            let why = format!(
                "environment `{}` keeps its keys in KMS: they are made there, not here\nhelp:  deploy infra/aws/environment.yaml, which makes both",
                target.name
            );
            return Err(why.into());
        }
        KeyPlace::Kms(kms) => {
            (place::open_keys(context, &target)?, format!("{} and {}", kms.release, kms.log))
        }
    };
    let (key, log_key) = (keys.release_key()?, keys.log_key()?);
    if context.json {
        print_json(&json!({
            "environment": target.name, "place": where_from, "key": key.fingerprint(),
            "logKey": log_key.fingerprint(), "pem": key.to_pem(),
        }))?;
    } else if is_new {
        say(context, format!("keys of environment `{}` in {where_from}", target.name))?;
        say(context, format!("release key {}", key.fingerprint()))?;
        say(context, format!("log key     {}", log_key.fingerprint()))?;
    } else {
        print(key.to_pem().trim_end())?;
    }
    Ok(Answer::Yes)
}
