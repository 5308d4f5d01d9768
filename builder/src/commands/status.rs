//! `kdistro status`: each channel at a glance.

use kdistro_border::{Directory, Store};
use kdistro_formats::{channel::ReleaseChannel, layout};
use serde::Serialize;

use super::{
    Answer, Result,
    output::{print, print_json},
};
use crate::{context::Context, plan};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    channel: String,
    active: bool,
    latest_release: u32,
    components: Vec<String>,
    lock: Vec<String>,
}

pub(super) fn run(context: &Context) -> Result {
    let workspace = context.workspace()?;
    let store = Directory::new(context.home.resolve(&context.target()?.store.directory));
    let mut lines = Vec::new();
    for (name, channel) in &workspace.channels {
        let index = store.read(&layout::channel_index(name))?;
        let index = index.map(|bytes| ReleaseChannel::from_yaml(&String::from_utf8_lossy(&bytes)));
        let latest = index.transpose()?.map_or(0, |index| index.status.latest_release);
        let components = channel.components.iter().map(|c| format!("{} {}", c.project, c.tag));
        let mut lock = plan::stale(&workspace, name);
        let sources = workspace.locks.get(name).into_iter().flat_map(|lock| &lock.sources);
        let partly = sources.filter(|source| source.content.is_none());
        lock.extend(partly.map(|source| format!("knows only the commit of `{}`", source.project)));
        lines.push(Line {
            channel: name.to_string(),
            active: channel.active,
            latest_release: latest,
            components: components.collect(),
            lock,
        });
    }
    if context.json {
        print_json(&lines)?;
        return Ok(Answer::Yes);
    }
    for line in lines {
        let latest = match line.latest_release {
            0 => "no release yet".to_owned(),
            number => format!("last release {}-{number}", line.channel),
        };
        let lock = if line.lock.is_empty() {
            "lock current".to_owned()
        } else {
            format!("the lock {}", line.lock.join("; "))
        };
        print(format!("{:6} {latest}, {lock}", line.channel))?;
        for component in line.components {
            print(format!("         {component}"))?;
        }
    }
    Ok(Answer::Yes)
}
