//! Which steps and inputs a part of a plan needs. Pure.

use std::collections::BTreeSet;

use kdistro_formats::{
    Digest,
    plan::{Content, Plan, Step, Tree},
};

/// Lists the steps that the wanted components need, in the plan's order. `None` means all components.
pub fn needed<'a>(plan: &'a Plan, components: Option<&BTreeSet<String>>) -> Vec<&'a Step> {
    let mut keys = BTreeSet::new();
    let wanted = |name: &str| components.is_none_or(|components| components.contains(name));
    for component in plan.components.iter().filter(|component| wanted(&component.name)) {
        let outputs = component.assets.iter().flat_map(|asset| asset.content.outputs());
        keys.extend(outputs.map(|output| output.step));
    }
    // Steps come after what they use, so one pass from the end finds everything.
    for step in plan.steps.iter().rev() {
        if keys.contains(&step.key) {
            keys.extend(uses(plan, step));
        }
    }
    plan.steps.iter().filter(|step| keys.contains(&step.key)).collect()
}

/// The keys of the steps whose outputs a step sees.
pub fn uses(plan: &Plan, step: &Step) -> BTreeSet<Digest> {
    let trees = step.body.mounts.values().filter_map(|digest| plan.trees.get(digest));
    let additions = trees.flat_map(|tree| match tree {
        Tree::Source { additions, .. } => additions.as_slice(),
        Tree::Outputs { files } => files.as_slice(),
        _ => &[],
    });
    additions.map(|addition| addition.output.step).collect()
}

/// The inputs that these steps and the assets of the wanted components need.
pub fn inputs_of(
    plan: &Plan,
    steps: &[&Step],
    components: Option<&BTreeSet<String>>,
) -> BTreeSet<Digest> {
    let mut inputs = BTreeSet::new();
    let mut trees: BTreeSet<&Digest> =
        steps.iter().flat_map(|step| step.body.mounts.values().chain([&step.body.root])).collect();
    let wanted = |name: &str| components.is_none_or(|components| components.contains(name));
    for component in plan.components.iter().filter(|component| wanted(&component.name)) {
        let licensing = &component.licensing;
        inputs.extend([licensing.source, licensing.toolchain]);
        inputs.extend(licensing.packages.iter().flat_map(|linked| &linked.packages));
        trees.extend(&licensing.modules);
        for asset in &component.assets {
            if let Content::Image(image) = &asset.content {
                trees.extend(image.platforms.iter().filter_map(|platform| platform.base.as_ref()));
            }
        }
    }
    for tree in trees.into_iter().filter_map(|digest| plan.trees.get(digest)) {
        match tree {
            Tree::Source { archive, .. } => _ = inputs.insert(*archive),
            Tree::Toolchain { zip } => _ = inputs.insert(*zip),
            Tree::Modules { modules } => {
                inputs.extend(modules.iter().flat_map(|m| m.zip.into_iter().chain([m.go_mod])));
            }
            Tree::Root { packages, .. } => inputs.extend(packages),
            Tree::Outputs { .. } => {}
        }
    }
    inputs
}
