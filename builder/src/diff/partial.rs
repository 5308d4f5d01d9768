//! Says when a release holds only a part of its channel: cut for some of its components, or some of its platforms.

use std::{collections::BTreeSet, fmt};

use kdistro_formats::plan::Plan;
use serde::Serialize;

use crate::config::channel::Channel;

/// What a release holds that is not the whole of its channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Partial {
    /// The release.
    pub release: String,
    /// How many components it holds.
    pub components: usize,
    /// How many its channel had, where the published configuration says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<usize>,
    /// Its platforms, where the channel has more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platforms: Option<Vec<String>>,
}

impl Partial {
    /// Reads a plan; none when it is of the whole channel. `channel` is the configuration that it was made from.
    pub fn of_plan(release: &str, plan: &Plan, channel: Option<&Channel>) -> Option<Self> {
        if plan.whole {
            return None;
        }
        let components = plan.components.len();
        let of = channel.map(|channel| channel.components.len());
        let shipped: BTreeSet<_> =
            channel.into_iter().flat_map(|channel| &channel.platforms).collect();
        let lacks_platform = shipped.iter().any(|platform| !plan.platforms.contains(platform));
        // Programs may be for more platforms than the channel names: where every component is there, some of those lack.
        let platforms = (lacks_platform || of == Some(components))
            .then(|| plan.platforms.iter().map(ToString::to_string).collect());
        Some(Self { release: release.to_owned(), components, of, platforms })
    }
}

impl fmt::Display for Partial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { release, components, of, platforms } = self;
        let word = |number: usize| if number == 1 { "component" } else { "components" };
        match of {
            Some(of) => write!(f, "{release} holds {components} of {of} {}", word(*of))?,
            None => write!(
                f,
                "{release} holds {components} {}, a part of its channel",
                word(*components)
            )?,
        }
        match platforms {
            Some(platforms) => write!(f, ", for {} only", platforms.join(" and ")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use kdistro_formats::yaml;

    use super::*;

    fn channel() -> Channel {
        let text = "channel: \"9-1\"\nactive: true\nplatforms: [linux/amd64, linux/arm64]\ncomponents:\n  - {project: a/b, tag: v1.0.0, go: \"1.26\"}\n  - {project: a/c, tag: v1.0.0, go: \"1.26\"}\n";
        yaml::from_str(text).unwrap()
    }

    #[test]
    fn a_part_says_of_what() {
        let mut plan = crate::plan::empty(&"9-1".parse().unwrap());
        plan.whole = true;
        assert_eq!(Partial::of_plan("9-1-1", &plan, Some(&channel())), None);
        plan.whole = false;
        let said = |plan: &Plan, channel: Option<&Channel>| {
            Partial::of_plan("9-1-1", plan, channel).unwrap().to_string()
        };
        plan.platforms = vec!["linux/amd64".parse().unwrap()];
        assert_eq!(
            said(&plan, Some(&channel())),
            "9-1-1 holds 0 of 2 components, for linux/amd64 only"
        );
        assert_eq!(said(&plan, None), "9-1-1 holds 0 components, a part of its channel");
        plan.platforms.push("linux/arm64".parse().unwrap());
        assert_eq!(said(&plan, Some(&channel())), "9-1-1 holds 0 of 2 components");
        let mut none = channel();
        none.components.clear();
        let all = "9-1-1 holds 0 of 0 components, for linux/amd64 and linux/arm64 only";
        assert_eq!(said(&plan, Some(&none)), all);
    }
}
